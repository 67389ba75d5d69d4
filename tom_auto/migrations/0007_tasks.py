"""Hooks as tasks of workers: leases, and who is at work."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('tom_auto', '0006_arrivals'),
        ('tom_dataproducts', '0020_remove_astrometryreduceddatum_unique_astrometry_and_more'),
        ('tom_observations', '0016_alter_facility_options'),
    ]

    operations = [
        migrations.CreateModel(
            name='Lease',
            fields=[
                ('name', models.CharField(max_length=50, primary_key=True, serialize=False)),
                ('holder', models.CharField(help_text='Host and process.', max_length=300)),
                ('since', models.DateTimeField(help_text='When it began.')),
                ('until', models.DateTimeField(help_text='Nobody else does it before this.')),
            ],
        ),
        migrations.CreateModel(
            name='TaskWorker',
            fields=[
                ('name', models.CharField(max_length=255, primary_key=True, serialize=False)),
                ('host', models.CharField(max_length=255)),
                (
                    'processes',
                    models.PositiveIntegerField(help_text='How many tasks it does at a time.'),
                ),
                ('queues', models.CharField(max_length=500)),
                ('started', models.DateTimeField()),
                ('alive_at', models.DateTimeField(help_text='When it last said that it is alive.')),
                (
                    'refused',
                    models.TextField(blank=True, help_text='Why it could not start, if so.'),
                ),
            ],
        ),
        migrations.AddField(
            model_name='storedframe',
            name='hooks_due',
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text='Nobody else begins the hooks before this.',
            ),
        ),
        migrations.AddField(
            model_name='storedframe',
            name='hooks_error',
            field=models.TextField(blank=True, help_text='Why they failed last.'),
        ),
        migrations.AddField(
            model_name='storedframe',
            name='hooks_failures',
            field=models.PositiveIntegerField(default=0, help_text='In a row.'),
        ),
        migrations.AddField(
            model_name='storedframe',
            name='hooks_holder',
            field=models.CharField(
                blank=True, help_text='Who runs them now, until they are due.', max_length=100
            ),
        ),
        migrations.AddIndex(
            model_name='storedframe',
            index=models.Index(
                condition=models.Q(('hooks_owed', True)),
                fields=['hooks_due'],
                name='tom_auto_hooks_due',
            ),
        ),
    ]
