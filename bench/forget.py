"""Lets the TOM in whose directory this runs forget all that the library knows of its records.

What is left is what tomtoolkit's own form and commands leave: records with their proposal, the
time from which they might be observed, status and times, and data products with their files.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path

import django

PROPOSAL = 'DEMO2026'
BATCH = 1000


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    os.environ['DJANGO_SETTINGS_MODULE'] = 'my_tom.settings'
    django.setup()
    from tom_observations.models import ObservationRecord

    from tom_auto import models

    for model in (models.StoredFrame, models.RecordSync, models.UpdateRun):
        model.objects.all().delete()
    records = list(ObservationRecord.objects.all())
    for record in records:
        opened = record.scheduled_start - timedelta(days=10)
        record.parameters = {'proposal': PROPOSAL, 'start': f'{opened:%Y-%m-%dT%H:%M}'}
    ObservationRecord.objects.bulk_update(records, ['parameters'], batch_size=BATCH)


if __name__ == '__main__':
    main()
