"""A submission notes which portal is sent its payload as it is, so that its absence there counts."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0013_submissions_survive')]

    operations = [
        migrations.AddField(
            'submission',
            'portal',
            models.TextField(
                blank=True,
                default='',
                help_text='Where that is sent as it is. Empty: its class may send something else.',
            ),
            preserve_default=False,
        ),
        migrations.AlterField(
            'submission',
            'payload',
            models.JSONField(encoder=DjangoJSONEncoder, help_text='What the cadence gave to send.'),
        ),
    ]
