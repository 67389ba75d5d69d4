"""Frames that came in, who wants to be told of them, and what was sent."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

#: Frames of the time before this table: they came in when they were stored, and JPEGs of ours, whose
#: number has this ending, are no frames.
KNOWN_FRAMES = """
    INSERT INTO tom_auto_arrival
        (product_id, target_id, facility, at, picture, trouble, taken, "filter", exposure, level)
    SELECT f.product_id, r.target_id, r.facility, f.stored_at, 'waiting', '', '', '', '', ''
    FROM tom_auto_storedframe f
    JOIN tom_observations_observationrecord r ON r.id = f.record_id
    WHERE f.product_id IS NOT NULL AND f.frame_id NOT LIKE '%_jpeg'
    ORDER BY f.stored_at, f.id
"""


class Migration(migrations.Migration):
    dependencies = [
        ('tom_auto', '0005_targets_and_submissions'),
        ('tom_dataproducts', '0020_remove_astrometryreduceddatum_unique_astrometry_and_more'),
        ('tom_targets', '0031_basetarget_shared_by_basetarget_shared_from'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='FeedKey',
            fields=[
                (
                    'id',
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name='ID'
                    ),
                ),
                (
                    'digest',
                    models.CharField(help_text='SHA-256 of the key.', max_length=64, unique=True),
                ),
                ('made', models.DateTimeField()),
                (
                    'user',
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='feed_key',
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name='Wish',
            fields=[
                (
                    'id',
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name='ID'
                    ),
                ),
                (
                    'receiver',
                    models.CharField(
                        choices=[
                            ('user', 'a user, by mail'),
                            ('webhook', 'the webhook of this TOM'),
                        ],
                        default='user',
                        max_length=10,
                    ),
                ),
                (
                    'when',
                    models.CharField(
                        choices=[
                            ('never', 'never'),
                            ('at once', 'at once: one mail after each run that brought some'),
                            ('daily', 'once a day'),
                        ],
                        default='never',
                        max_length=10,
                    ),
                ),
                (
                    'about',
                    models.CharField(
                        choices=[
                            ('all', 'all targets that I may see'),
                            ('own', 'my own observations, and the targets that I chose'),
                            ('chosen', 'the targets that I chose'),
                        ],
                        default='own',
                        max_length=10,
                    ),
                ),
                (
                    'hour',
                    models.PositiveSmallIntegerField(default=8, help_text='Of the daily mail.'),
                ),
                (
                    'zone',
                    models.CharField(
                        default='UTC', help_text='The time zone of the hour.', max_length=60
                    ),
                ),
                (
                    'told_up_to',
                    models.BigIntegerField(
                        default=0, help_text='The newest frame that was told, or was not to be.'
                    ),
                ),
                (
                    'told_at',
                    models.DateTimeField(
                        help_text='When the daily mail was last due, or this was made.'
                    ),
                ),
                (
                    'targets',
                    models.ManyToManyField(
                        help_text='Those chosen.', related_name='+', to='tom_targets.basetarget'
                    ),
                ),
                (
                    'user',
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='wish',
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name='Notice',
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
                            ('prepared', 'being prepared'),
                            ('sending', 'being sent'),
                            ('sent', 'sent'),
                            ('failed', 'not sent: the next run tries again'),
                            ('uncertain', 'perhaps sent: the program was stopped meanwhile'),
                        ],
                        default='prepared',
                        max_length=10,
                    ),
                ),
                ('message_id', models.CharField(help_text='Its Message-ID.', max_length=100)),
                ('address', models.CharField(blank=True, max_length=254)),
                ('after', models.BigIntegerField(help_text='It is about frames after this one,')),
                ('up_to', models.BigIntegerField(help_text='up to this one.')),
                ('frames', models.PositiveIntegerField(default=0, help_text='How many it names.')),
                ('at', models.DateTimeField(db_index=True)),
                (
                    'claimed_until',
                    models.DateTimeField(help_text='Its process is taken for dead after this.'),
                ),
                ('error', models.CharField(blank=True, max_length=200)),
                (
                    'wish',
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='notices',
                        to='tom_auto.wish',
                    ),
                ),
            ],
            options={
                'ordering': ('-at', '-pk'),
            },
        ),
        migrations.CreateModel(
            name='Arrival',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('facility', models.CharField(max_length=50)),
                ('at', models.DateTimeField(db_index=True, help_text='When it was stored.')),
                (
                    'picture',
                    models.CharField(
                        choices=[
                            ('waiting', 'not drawn yet'),
                            ('drawn', 'drawn'),
                            ('no image', 'not an image'),
                            ('broken', 'cannot be drawn'),
                        ],
                        default='waiting',
                        max_length=10,
                    ),
                ),
                (
                    'trouble',
                    models.CharField(
                        blank=True, help_text='Why it cannot be drawn.', max_length=200
                    ),
                ),
                (
                    'taken',
                    models.CharField(
                        blank=True, help_text='When it was taken, in UTC.', max_length=30
                    ),
                ),
                ('filter', models.CharField(blank=True, max_length=30)),
                ('exposure', models.CharField(blank=True, help_text='In seconds.', max_length=20)),
                (
                    'level',
                    models.CharField(blank=True, help_text='The reduction level.', max_length=20),
                ),
                (
                    'product',
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='arrival',
                        to='tom_dataproducts.dataproduct',
                    ),
                ),
                (
                    'target',
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='+',
                        to='tom_targets.basetarget',
                    ),
                ),
            ],
            options={
                'ordering': ('-id',),
                'indexes': [
                    models.Index(fields=['target', '-id'], name='tom_auto_came_of_target'),
                    models.Index(fields=['facility', '-id'], name='tom_auto_came_of_facility'),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name='wish',
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(('receiver', 'user'), ('user__isnull', False)),
                    models.Q(('receiver', 'webhook'), ('user__isnull', True)),
                    _connector='OR',
                ),
                name='tom_auto_wish_of_somebody',
            ),
        ),
        migrations.AddConstraint(
            model_name='wish',
            constraint=models.UniqueConstraint(
                condition=models.Q(('receiver', 'webhook')),
                fields=('receiver',),
                name='tom_auto_one_webhook',
            ),
        ),
        migrations.AddConstraint(
            model_name='notice',
            constraint=models.UniqueConstraint(
                condition=models.Q(('state__in', ['prepared', 'sending'])),
                fields=('wish',),
                name='tom_auto_one_notice_at_a_time',
            ),
        ),
        migrations.RunSQL(KNOWN_FRAMES, migrations.RunSQL.noop),
    ]
