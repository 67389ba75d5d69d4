"""A batch is told what the lists of the observatory say of its records."""

from django.db import migrations, models


def nothing() -> dict:
    """For batches of a run that is at work now: their records are asked for singly."""
    return {'statuses': {}, 'frames': {}, 'having_frames': []}


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0017_missed_submissions')]

    operations = [
        migrations.AddField(
            'batch',
            'lists',
            models.JSONField(
                default=nothing, help_text='What the lists of the observatory say of them.'
            ),
            preserve_default=False,
        ),
    ]
