"""What data services last said of targets, and what cadences have submitted."""

import django.core.serializers.json
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('tom_auto', '0004_history_of_jobs_and_messages'),
        ('tom_observations', '0016_alter_facility_options'),
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
        migrations.CreateModel(
            name='Submission',
            fields=[
                (
                    'id',
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name='ID'
                    ),
                ),
                (
                    'state',
                    models.CharField(
                        choices=[
                            ('intended', 'being submitted'),
                            ('submitted', 'accepted, not recorded yet'),
                            ('recorded', 'accepted, with its observation records'),
                            ('refused', 'not accepted'),
                            ('uncertain', 'perhaps accepted: somebody has to look'),
                        ],
                        default='intended',
                        max_length=10,
                    ),
                ),
                ('facility', models.CharField(max_length=50)),
                (
                    'name',
                    models.CharField(help_text='What the observatory knows it by.', max_length=255),
                ),
                (
                    'payload',
                    models.JSONField(
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        help_text='What was sent.',
                    ),
                ),
                (
                    'observation_ids',
                    models.JSONField(default=list, help_text='What the observatory answered.'),
                ),
                ('error', models.TextField(blank=True)),
                ('created', models.DateTimeField(help_text='When it was about to be sent.')),
                (
                    'cadence',
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='+',
                        to='tom_observations.dynamiccadence',
                    ),
                ),
                (
                    'trigger',
                    models.ForeignKey(
                        help_text='The observation because of which this was submitted.',
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='+',
                        to='tom_observations.observationrecord',
                    ),
                ),
            ],
            options={
                'constraints': [
                    models.UniqueConstraint(
                        condition=models.Q(('state', 'refused'), _negated=True),
                        fields=('cadence', 'trigger'),
                        name='tom_auto_one_submission_a_trigger',
                    )
                ],
            },
        ),
    ]
