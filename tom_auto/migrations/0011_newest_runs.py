"""The page lists the newest runs: without this, it works out how each of 10,000 went, and takes the first five."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0010_batches')]

    operations = [
        migrations.AddIndex(
            'updaterun', models.Index(fields=['-started'], name='tom_auto_newest_runs')
        ),
    ]
