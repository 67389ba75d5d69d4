"""What a coordinator does with very many due records, in the TOM in whose directory this runs.

Chooses them, cuts them into batches, and writes an outcome for each. Prints how many there were, the
seconds of each step, and by how many MiB the process grew.
"""

import json
import os
import resource
import sys
from itertools import islice
from pathlib import Path
from time import monotonic

import django

BATCH = 100  # outcomes that are written together


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    os.environ['DJANGO_SETTINGS_MODULE'] = 'my_tom.settings'
    django.setup()
    from django.utils import timezone

    from tom_auto.celery_tasks.coordinator import Coordinator, part_of
    from tom_auto.conf import automation
    from tom_auto.models import Batch
    from tom_auto.running.outcomes import Ending, Outcome, Report
    from tom_auto.running.recorded_run import recorded_run
    from tom_auto.sync.due import Selection, due_by_facility, enrol
    from tom_auto.sync.facility_jobs import Facilities
    from tom_auto.sync.record_outcomes import record_outcomes

    limits, before, clock = automation(), memory(), [monotonic()]
    with recorded_run('updatedata', 'updatedata', Report(), limits, '', lambda: None) as (run, end):
        enrol()
        due, _ = due_by_facility(timezone.now(), Selection())
        count = sum(map(len, due.values()))
        clock.append(monotonic())
        coordinator, facilities = Coordinator(limits, None), Facilities(due, limits, None)
        while part := part_of(due):
            for _ in coordinator.cut(run, part, facilities, end):
                pass
        clock.append(monotonic())
        outcomes = (
            Outcome(batch.facility, pk, ending=Ending.CHECKED, status='PENDING')
            for batch in Batch.objects.defer('lists').iterator()
            for pk in batch.records
        )
        while some := list(islice(outcomes, BATCH)):
            record_outcomes(run, some, limits)
        clock.append(monotonic())
        Batch.objects.all().delete()
    steps = [after - first for first, after in zip(clock, clock[1:], strict=False)]
    names = ('choose', 'cut', 'write')
    print(json.dumps(dict(zip(names, steps, strict=True)) | {'due': count, 'memory': memory() - before}))  # fmt: skip


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == '__main__':
    main()
