"""Frames follow the target of their product, and a receiver has one message at most that is not at its end."""

import django.db.models.deletion
from django.db import migrations, models

FOLLOW = """
    UPDATE tom_auto_arrival SET target_id =
        (SELECT p.target_id FROM tom_dataproducts_dataproduct p WHERE p.id = tom_auto_arrival.product_id)
    WHERE EXISTS (SELECT 1 FROM tom_dataproducts_dataproduct p
        WHERE p.id = tom_auto_arrival.product_id AND p.target_id <> tom_auto_arrival.target_id)
"""
#: Of several that failed, the newest stays; of one that is being tried again, none.
ONE_MESSAGE = """
    DELETE FROM tom_auto_notice WHERE state = 'failed' AND EXISTS (
        SELECT 1 FROM tom_auto_notice n WHERE n.wish_id = tom_auto_notice.wish_id
        AND (n.state IN ('prepared', 'sending') OR n.state = 'failed' AND n.id > tom_auto_notice.id))
"""


class Migration(migrations.Migration):
    dependencies = [('tom_auto', '0011_newest_runs')]

    operations = [
        migrations.AlterField(
            'arrival',
            'target',
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name='+',
                to='tom_targets.basetarget',
            ),
        ),
        migrations.RunSQL(FOLLOW, migrations.RunSQL.noop),
        migrations.RunSQL(ONE_MESSAGE, migrations.RunSQL.noop),
        migrations.RemoveConstraint('notice', 'tom_auto_one_notice_at_a_time'),
        migrations.AddConstraint(
            'notice',
            models.UniqueConstraint(
                fields=['wish'],
                condition=models.Q(('state__in', ['prepared', 'sending', 'failed'])),
                name='tom_auto_one_notice_at_a_time',
            ),
        ),
    ]
