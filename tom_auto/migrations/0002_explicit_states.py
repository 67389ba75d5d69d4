"""States get names, and what the first version left is rescued.

A run that was stopped could make records look settled that nobody had ever asked about: each that
was never checked is due again. What is known of the stored frames is kept.
"""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from tom_observations.facility import get_service_class

import tom_auto.models


def name_states(apps, schema_editor):
    states = apps.get_model('tom_auto', 'RecordSync').objects
    owing = states.exclude(hook_owed=None)
    owing.update(owes_hook=True, status_before=F('hook_owed'))
    settled = Q(next_check=None, failures=0) & ~Q(checked_at=None) & ~Q(settled_at=None)
    states.filter(settled).update(state='settled')
    rest = states.exclude(state='settled')
    rest.update(state='waiting', next_check=Coalesce('next_check', Now()))
    rest.filter(failures__gt=0).update(state='backing off')
    rest.filter(checked_at=None, failures=0).update(state='new')
    states.filter(next_check=None).update(next_check=Now())


def keep_frames(apps, schema_editor):
    frames = apps.get_model('tom_auto', 'StoredFrame').objects
    # A place that was reserved, and where nothing was stored.
    frames.filter(
        Q(stored_at=None) | Q(product=None) | Q(product__observation_record=None)
    ).delete()
    archives = {}
    kept = frames.select_related('product__observation_record')
    while some := list(kept.filter(record=None)[:500]):
        for frame in some:
            record = frame.product.observation_record
            if record.facility not in archives:
                archives[record.facility] = archive_of(record.facility)
            frame.record_id, frame.archive = record.pk, archives[record.facility]
            frame.filename, frame.archive_md5 = PurePosixPath(frame.name).name, frame.md5
        frames.bulk_update(some, ['record', 'archive', 'filename', 'archive_md5'])
    # PostgreSQL alters no table for which checks of foreign keys are still to come.
    schema_editor.connection.check_constraints()


def archive_of(facility):
    """The host of the archive of a facility of LCO's kind; any other has ids of its own."""
    try:
        settings = get_service_class(facility)().facility_settings
        return urlsplit(settings.get_setting('archive_url')).netloc or facility
    except Exception:  # whatever a class does that somebody has written, or that is gone
        return facility


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0001_initial')]

    operations = [
        migrations.CreateModel(
            name='StorageMark',
            fields=[
                (
                    'id',
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name='ID'
                    ),
                ),
                ('mark', models.CharField(max_length=32)),
                (
                    'pending',
                    models.BooleanField(
                        default=False, help_text='The storage does not carry it yet.'
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name='SharedFrame',
            fields=[
                (
                    'id',
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name='ID'
                    ),
                ),
                ('archive', models.CharField(max_length=100)),
                ('frame_id', models.CharField(max_length=255)),
                (
                    'record',
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        to='tom_observations.observationrecord',
                    ),
                ),
            ],
            options={
                'constraints': [
                    models.UniqueConstraint(
                        fields=('record', 'archive', 'frame_id'), name='tom_auto_shared_once'
                    )
                ]
            },
        ),
        migrations.RemoveIndex(
            model_name='storedframe',
            name='tom_auto_frame_not_whole',
        ),
        migrations.RemoveIndex(
            model_name='storedframe',
            name='tom_auto_hooks_owed',
        ),
        migrations.AddField(
            model_name='recordsync',
            name='newest_product',
            field=models.BigIntegerField(
                default=0, help_text='The newest data product of the TOM before that began.'
            ),
        ),
        migrations.AddField(
            model_name='recordsync',
            name='owes_hook',
            field=models.BooleanField(
                default=False, help_text='The observation_change_state hook has not ended.'
            ),
        ),
        migrations.AddField(
            model_name='recordsync',
            name='saving',
            field=models.BooleanField(
                default=False,
                help_text="The facility class's own save_data_products has not ended.",
            ),
        ),
        migrations.AddField(
            model_name='recordsync',
            name='state',
            field=models.CharField(
                choices=[
                    ('new', 'never checked'),
                    ('waiting', 'waiting for its next check'),
                    ('backing off', 'backing off after a failure'),
                    ('settled', 'settled'),
                ],
                default='new',
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name='recordsync',
            name='status_before',
            field=models.CharField(
                blank=True,
                help_text='The status before the change that the hook is for.',
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name='storedframe',
            name='archive',
            field=models.CharField(default='', help_text='Whose ids these are.', max_length=100),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='storedframe',
            name='archive_md5',
            field=models.CharField(blank=True, help_text='As the archive gives it.', max_length=32),
        ),
        migrations.AddField(
            model_name='storedframe',
            name='filename',
            field=models.CharField(
                default='', help_text="The archive's name for the file.", max_length=255
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='storedframe',
            name='record',
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name='stored_frames',
                to='tom_observations.observationrecord',
            ),
        ),
        migrations.AddField(
            model_name='storedframe',
            name='state',
            field=models.CharField(
                choices=[
                    ('stored', 'stored'),
                    ('broken', 'being fetched anew'),
                    ('deleted', 'deleted here'),
                ],
                default='stored',
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name='updaterun',
            name='filtered',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='updaterun',
            name='gone',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='updaterun',
            name='not_reached',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='updaterun',
            name='set_aside',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.RunPython(name_states, migrations.RunPython.noop),
        migrations.RunPython(keep_frames, migrations.RunPython.noop),
        migrations.RemoveField(
            model_name='recordsync',
            name='settled_at',
        ),
        migrations.RemoveField(
            model_name='recordsync',
            name='hook_owed',
        ),
        migrations.AlterField(
            model_name='recordsync',
            name='error',
            field=models.TextField(
                blank=True,
                help_text='Why the last check failed, or what is not supported: no failure.',
            ),
        ),
        migrations.AlterField(
            model_name='recordsync',
            name='failing_since',
            field=models.DateTimeField(
                db_index=True,
                help_text='When the first of the failed checks in a row began.',
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name='recordsync',
            name='asked_at',
            field=models.DateTimeField(
                db_index=True, help_text='When it was last asked.', null=True
            ),
        ),
        migrations.AlterField(
            model_name='recordsync',
            name='checked_at',
            field=models.DateTimeField(help_text='When a check last succeeded.', null=True),
        ),
        migrations.AlterField(
            model_name='recordsync',
            name='next_check',
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text='Due from then on, unless it is settled.',
            ),
        ),
        migrations.AlterField(
            model_name='recordsync',
            name='status',
            field=models.CharField(
                blank=True, help_text='The status that the last check left.', max_length=200
            ),
        ),
        migrations.AlterField(
            model_name='runfailure',
            name='record',
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to='tom_observations.observationrecord',
            ),
        ),
        migrations.AlterField(
            model_name='storedframe',
            name='record',
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name='stored_frames',
                to='tom_observations.observationrecord',
            ),
        ),
        migrations.AlterField(
            model_name='storedframe',
            name='frame_id',
            field=models.CharField(help_text="The archive's id.", max_length=255),
        ),
        migrations.AlterField(
            model_name='storedframe',
            name='md5',
            field=models.CharField(help_text='Of the file as it was stored.', max_length=32),
        ),
        migrations.AlterField(
            model_name='storedframe',
            name='name',
            field=models.CharField(help_text='The name in the storage.', max_length=255),
        ),
        migrations.AlterField(
            model_name='storedframe',
            name='product',
            field=models.OneToOneField(
                null=True,
                on_delete=tom_auto.models.remember_deleted,
                related_name='stored_frame',
                to='tom_dataproducts.dataproduct',
            ),
        ),
        migrations.AlterField(
            model_name='storedframe',
            name='size',
            field=models.BigIntegerField(help_text='Of the file as it was stored, in bytes.'),
        ),
        migrations.AlterField(
            model_name='storedframe',
            name='stored_at',
            field=models.DateTimeField(db_index=True),
        ),
        migrations.AlterField(
            model_name='updaterun',
            name='lock',
            field=models.CharField(
                blank=True, help_text='Which file of the host it has locked, if any.', max_length=50
            ),
        ),
        migrations.AddIndex(
            model_name='recordsync',
            index=models.Index(
                condition=models.Q(('state', 'settled'), _negated=True),
                fields=['next_check'],
                name='tom_auto_next_checks',
            ),
        ),
        migrations.AddIndex(
            model_name='storedframe',
            index=models.Index(
                condition=models.Q(('hooks_owed', True)),
                fields=['record'],
                name='tom_auto_hooks_owed',
            ),
        ),
        migrations.AddConstraint(
            model_name='recordsync',
            constraint=models.CheckConstraint(
                condition=models.Q(('state__in', ['new', 'waiting', 'backing off', 'settled'])),
                name='tom_auto_state_has_a_name',
            ),
        ),
        migrations.AddConstraint(
            model_name='recordsync',
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(('state', 'settled'), _negated=True), ('failures', 0), _connector='OR'
                ),
                name='tom_auto_settled_is_well',
            ),
        ),
        migrations.AddConstraint(
            model_name='storedframe',
            constraint=models.UniqueConstraint(
                fields=('archive', 'frame_id'), name='tom_auto_one_frame'
            ),
        ),
        migrations.AddConstraint(
            model_name='storedframe',
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ('state', 'deleted'),
                    models.Q(('product__isnull', False), ('state__in', ['stored', 'broken'])),
                    _connector='OR',
                ),
                name='tom_auto_stored_has_a_product',
            ),
        ),
    ]
