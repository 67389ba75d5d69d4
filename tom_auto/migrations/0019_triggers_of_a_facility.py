"""What is known of a trigger once it is deleted is its number, and at which facility that is."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def take_facilities(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Note the facility of each trigger. Of one that is deleted it was, almost surely, the same."""
    rows = apps.get_model('tom_auto', 'Submission').objects.using(editor.connection.alias)
    for pk, own, its in rows.values_list('pk', 'facility', 'trigger__facility'):
        rows.filter(pk=pk).update(trigger_facility=its or own)


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0018_lists_of_batches')]

    operations = [
        migrations.AddField(
            'submission',
            'trigger_facility',
            models.CharField(
                max_length=50, default='', help_text='The facility of that observation.'
            ),
            preserve_default=False,
        ),
        migrations.RunPython(take_facilities, migrations.RunPython.noop, elidable=True),
    ]
