"""A run in batches, which workers check."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('tom_auto', '0009_origins'),
    ]

    operations = [
        migrations.CreateModel(
            name='Batch',
            fields=[
                (
                    'id',
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name='ID'
                    ),
                ),
                ('facility', models.CharField(max_length=50)),
                ('records', models.JSONField(help_text='Their primary keys.')),
                (
                    'requests',
                    models.PositiveIntegerField(help_text='So many may be in flight to a host.'),
                ),
                (
                    'username',
                    models.CharField(
                        blank=True, help_text='Whose credentials; or each.', max_length=150
                    ),
                ),
                ('ends', models.DateTimeField(help_text='Nothing new is begun after this.')),
                (
                    'state',
                    models.CharField(
                        choices=[
                            ('waiting', 'not given out yet'),
                            ('out', 'given to the workers'),
                            ('done', 'checked'),
                        ],
                        default='waiting',
                        max_length=10,
                    ),
                ),
                (
                    'holder',
                    models.CharField(blank=True, help_text='Who checks it now.', max_length=100),
                ),
                (
                    'until',
                    models.DateTimeField(
                        default=django.utils.timezone.now, help_text='Nobody else takes it before.'
                    ),
                ),
                (
                    'tries',
                    models.PositiveIntegerField(
                        default=0, help_text='How often one has begun with it.'
                    ),
                ),
                ('report', models.JSONField(default=dict, help_text='What came of it.')),
                (
                    'run',
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='batches',
                        to='tom_auto.updaterun',
                    ),
                ),
            ],
        ),
    ]
