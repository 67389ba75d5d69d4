"""That a portal does not list a submission is told by the portal's clock."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0016_pictures_put_off')]

    operations = [
        migrations.AddField(
            'submission',
            'missed_since',
            models.DateTimeField(
                blank=True,
                help_text="Since when its portal does not list it, by the portal's clock. Empty: not known.",
                null=True,
            ),
        ),
    ]
