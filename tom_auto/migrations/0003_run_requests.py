"""A request for a run is noted before its process starts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0002_explicit_states')]

    operations = [
        migrations.CreateModel(
            name='RunRequest',
            fields=[
                ('job', models.CharField(max_length=255, primary_key=True, serialize=False)),
                ('by', models.CharField(max_length=150)),
                (
                    'alive_at',
                    models.DateTimeField(help_text='When the web server last saw the process.'),
                ),
            ],
        ),
    ]
