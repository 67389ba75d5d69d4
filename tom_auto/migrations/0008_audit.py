"""What the audit of stored files knows, and two more states of a frame."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('tom_auto', '0007_tasks'),
        ('tom_dataproducts', '0020_remove_astrometryreduceddatum_unique_astrometry_and_more'),
        ('tom_observations', '0016_alter_facility_options'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditedFile',
            fields=[
                (
                    'product',
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name='audited',
                        serialize=False,
                        to='tom_dataproducts.dataproduct',
                    ),
                ),
                (
                    'verdict',
                    models.CharField(
                        choices=[
                            ('sound', 'as it was'),
                            ('changed', 'changed by its owner'),
                            ('rotted', 'rotted'),
                            ('damaged', 'damaged'),
                            ('missing', 'missing'),
                            ('renamed', 'renamed'),
                            ('unreadable', 'not readable'),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    'name',
                    models.CharField(
                        blank=True, help_text='The name in the storage.', max_length=255
                    ),
                ),
                (
                    'md5',
                    models.CharField(
                        blank=True, help_text='What its content should have.', max_length=32
                    ),
                ),
                ('size', models.BigIntegerField(default=0, help_text='In bytes, as it should be.')),
                (
                    'right_at',
                    models.DateTimeField(help_text='When its content was last known to be right.'),
                ),
                (
                    'said',
                    models.TextField(blank=True, help_text='What is wrong with it, in words.'),
                ),
            ],
        ),
        migrations.CreateModel(
            name='AuditRound',
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
                        choices=[('open', 'in progress'), ('closed', 'ended')],
                        default='open',
                        max_length=6,
                    ),
                ),
                ('began', models.DateTimeField()),
                ('ended', models.DateTimeField(null=True)),
                (
                    'position',
                    models.BigIntegerField(
                        default=0, help_text='Files of data products up to this one have been read.'
                    ),
                ),
                ('files', models.PositiveIntegerField(default=0, help_text='How many were read.')),
                ('size', models.BigIntegerField(default=0, help_text='Of these files, in bytes.')),
                (
                    'found',
                    models.JSONField(
                        default=dict, help_text='How many files had each verdict at its end.'
                    ),
                ),
            ],
            options={
                'ordering': ('-began', '-pk'),
            },
        ),
        migrations.RemoveConstraint(
            model_name='storedframe',
            name='tom_auto_stored_has_a_product',
        ),
        migrations.AlterField(
            model_name='storedframe',
            name='state',
            field=models.CharField(
                choices=[
                    ('stored', 'stored'),
                    ('broken', 'being fetched anew'),
                    ('rotted', 'rotted, and being fetched anew'),
                    ('cut', 'cut off, and being fetched anew'),
                    ('deleted', 'deleted here'),
                ],
                default='stored',
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name='storedframe',
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ('state', 'deleted'),
                    models.Q(
                        ('product__isnull', False),
                        ('state__in', ['stored', 'broken', 'rotted', 'cut']),
                    ),
                    _connector='OR',
                ),
                name='tom_auto_stored_has_a_product',
            ),
        ),
        migrations.AddConstraint(
            model_name='auditround',
            constraint=models.UniqueConstraint(
                condition=models.Q(('state', 'open')),
                fields=('state',),
                name='tom_auto_one_round_at_a_time',
            ),
        ),
    ]
