"""A frame that cannot be read for a moment is drawn later."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0015_files_that_are_gone')]

    operations = [
        migrations.AddField(
            'arrival',
            'not_before',
            models.DateTimeField(
                blank=True,
                help_text='It could not be read: not to be tried before this.',
                null=True,
            ),
        ),
        migrations.AlterField(
            'arrival',
            'trouble',
            models.CharField(blank=True, help_text='Why it is not drawn.', max_length=200),
        ),
    ]
