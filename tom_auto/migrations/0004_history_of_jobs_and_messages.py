"""Runs of every job are recorded, whatever its command. What was told is kept; people can mute."""

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F, Q


def end_all_but_the_newest(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Two jobs could run at a time before, and a run that was killed looks like one that runs."""
    running = apps.get_model('tom_auto', 'UpdateRun').objects.filter(status='running')
    if newest := running.order_by('-heartbeat', '-pk').first():
        running.exclude(pk=newest.pk).update(status='died', finished=F('heartbeat'))


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0003_run_requests')]

    operations = [
        migrations.RemoveConstraint('updaterun', 'tom_auto_one_run_at_a_time'),
        migrations.AddField(
            'updaterun',
            'command',
            models.CharField(
                default='updatedata', help_text='What it runs: one at a time.', max_length=255
            ),
        ),
        migrations.AddField(
            'updaterun',
            'exit_status',
            models.IntegerField(
                help_text='Below zero: the signal that ended it. Empty: not known.', null=True
            ),
        ),
        migrations.AddField(
            'updaterun',
            'output',
            models.TextField(blank=True, help_text='The end of what it printed.'),
        ),
        migrations.AlterField(
            'updaterun',
            'job',
            models.CharField(help_text='Its name in schedule.toml.', max_length=50),
        ),
        migrations.RunPython(end_all_but_the_newest, migrations.RunPython.noop),
        migrations.AddConstraint(
            'updaterun',
            models.UniqueConstraint(
                condition=Q(status='running'),
                fields=['command'],
                name='tom_auto_one_run_at_a_time',
            ),
        ),
        migrations.CreateModel(
            name='Told',
            fields=[
                (
                    'id',
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name='ID'
                    ),
                ),
                ('at', models.DateTimeField(db_index=True)),
                ('channel', models.CharField(max_length=10)),
                ('whom', models.CharField(blank=True, max_length=500)),
                (
                    'job',
                    models.CharField(blank=True, help_text='Empty: a test message.', max_length=50),
                ),
                ('subject', models.CharField(max_length=200)),
                (
                    'error',
                    models.CharField(
                        blank=True, help_text='Why it did not arrive.', max_length=200
                    ),
                ),
            ],
            options={
                'ordering': ('-at', '-pk'),
            },
        ),
        migrations.AddField(
            model_name='alert',
            name='troubles',
            field=models.JSONField(default=list, help_text='What was told to be in trouble.'),
        ),
        migrations.CreateModel(
            name='Mute',
            fields=[
                (
                    'id',
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name='ID'
                    ),
                ),
                (
                    'facility',
                    models.CharField(
                        blank=True,
                        help_text='Without a record and a facility: everything.',
                        max_length=50,
                    ),
                ),
                ('until', models.DateTimeField()),
                ('by', models.CharField(max_length=150)),
                ('why', models.CharField(max_length=200)),
                (
                    'record',
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to='tom_observations.observationrecord',
                    ),
                ),
            ],
            options={
                'ordering': ('until',),
            },
        ),
    ]
