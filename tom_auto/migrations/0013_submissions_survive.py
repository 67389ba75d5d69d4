"""A submission stays when its cadence or its trigger is deleted: it may have been accepted."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def take_numbers(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Note the number of each trigger, by which it is known once it is deleted."""
    rows = apps.get_model('tom_auto', 'Submission').objects.using(editor.connection.alias)
    for pk, number in rows.values_list('pk', 'trigger__observation_id'):
        rows.filter(pk=pk).update(trigger_number=number)


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0012_arrivals_follow_products')]

    operations = [
        migrations.AlterField(
            'submission',
            'cadence',
            models.ForeignKey(
                'tom_observations.DynamicCadence',
                on_delete=models.SET_NULL,
                null=True,
                related_name='+',
                help_text='Empty: it was deleted.',
            ),
        ),
        migrations.AlterField(
            'submission',
            'trigger',
            models.ForeignKey(
                'tom_observations.ObservationRecord',
                on_delete=models.SET_NULL,
                null=True,
                related_name='+',
                help_text='The observation because of which this was submitted. '
                'Empty: it was deleted.',
            ),
        ),
        migrations.AddField(
            'submission',
            'trigger_number',
            models.CharField(
                max_length=255,
                default='',
                help_text='The number of that observation at its facility.',
            ),
            preserve_default=False,
        ),
        migrations.RunPython(take_numbers, migrations.RunPython.noop, elidable=True),
    ]
