"""A message that may have arrived is not sent again as often as one that certainly has not."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0020_shared_frames_that_were_deleted')]

    operations = [
        migrations.AddField(
            'told',
            'is_unsure',
            models.BooleanField(default=False, help_text='It may have arrived all the same.'),
        ),
    ]
