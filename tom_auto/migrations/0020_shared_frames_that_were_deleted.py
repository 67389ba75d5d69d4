"""A shared frame that was deleted here stays so, also when the record goes that it was stored for."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Exists, OuterRef


def note_deleted(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Note those whose product was deleted before this version."""
    frames = apps.get_model('tom_auto', 'StoredFrame').objects.using(editor.connection.alias)
    shared = apps.get_model('tom_auto', 'SharedFrame').objects.using(editor.connection.alias)
    its = {'archive': OuterRef('archive'), 'frame_id': OuterRef('frame_id'), 'state': 'deleted'}
    shared.filter(Exists(frames.filter(**its))).update(deleted=True)


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0019_triggers_of_a_facility')]

    operations = [
        migrations.AddField(
            'sharedframe',
            'deleted',
            models.BooleanField(default=False, help_text='Its product was deleted here.'),
        ),
        migrations.RunPython(note_deleted, migrations.RunPython.noop, elidable=True),
    ]
