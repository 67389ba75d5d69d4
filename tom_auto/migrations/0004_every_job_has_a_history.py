"""Runs of every job are recorded, whatever its command, with exit status and output."""

from django.db import migrations, models
from django.db.models import Q


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
        migrations.AddConstraint(
            'updaterun',
            models.UniqueConstraint(
                condition=Q(status='running'),
                fields=['command'],
                name='tom_auto_one_run_at_a_time',
            ),
        ),
    ]
