"""What data services last said of targets, and when they were asked for data."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('tom_auto', '0003_run_requests'),
        ('tom_targets', '0031_basetarget_shared_by_basetarget_shared_from'),
    ]

    operations = [
        migrations.CreateModel(
            name='ServiceTarget',
            fields=[
                (
                    'id',
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name='ID'
                    ),
                ),
                (
                    'service',
                    models.CharField(help_text='The name of the data service.', max_length=50),
                ),
                (
                    'told',
                    models.JSONField(
                        default=dict, help_text='Fields and extras as the service last gave them.'
                    ),
                ),
                (
                    'asked_at',
                    models.DateTimeField(
                        help_text='When its reduced data were last asked for; empty: never.',
                        null=True,
                    ),
                ),
                (
                    'answered_at',
                    models.DateTimeField(help_text='When they were last stored.', null=True),
                ),
                (
                    'target',
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='+',
                        to='tom_targets.basetarget',
                    ),
                ),
            ],
            options={
                'indexes': [
                    models.Index(fields=['service', 'asked_at'], name='tom_auto_data_asked')
                ],
                'constraints': [
                    models.UniqueConstraint(fields=('target', 'service'), name='tom_auto_told_once')
                ],
            },
        ),
    ]
