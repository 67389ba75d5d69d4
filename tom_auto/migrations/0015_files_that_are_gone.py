"""A frame whose file is gone has a state of its own: it is drawn when the file is there again."""

from django.db import migrations, models

GONE = """
    UPDATE tom_auto_arrival SET picture = 'gone', trouble = ''
    WHERE picture = 'broken' AND trouble = 'its file is gone'
"""
BACK = """
    UPDATE tom_auto_arrival SET picture = 'broken', trouble = 'its file is gone' WHERE picture = 'gone'
"""


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0014_submissions_as_given')]

    operations = [
        migrations.AlterField(
            'arrival',
            'picture',
            models.CharField(
                choices=[
                    ('waiting', 'not drawn yet'),
                    ('drawn', 'drawn'),
                    ('no image', 'not an image'),
                    ('broken', 'cannot be drawn'),
                    ('gone', 'its file is gone'),
                ],
                default='waiting',
                max_length=10,
            ),
        ),
        migrations.RunSQL(GONE, BACK),
    ]
