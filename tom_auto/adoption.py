"""What older commands had lost or damaged when the automation came to this TOM, and what it brought home.

tomtoolkit's own commands, and those of tutorials, leave rows without files, error pages and stumps as
data, and observations whose frames were never fetched.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Exists, Min, OuterRef
from tom_observations.models import ObservationRecord

from .models import RecordSync, StoredFrame
from .sync.frame_plans import JPEG, unread_files

Origin = StoredFrame.Origin
State = StoredFrame.State


@dataclass(frozen=True)
class Adoption:
    """The counts. `since`: when the library's tables were made. Records: those older than that."""

    since: datetime | None
    records: int  # observation records of before
    unchecked: int  # of these, never checked yet
    failing: int  # of these, in trouble at the last check
    without_data: int  # of these, with frames that nobody had fetched, and that came home
    whole: int  # files of other commands that are whole
    damaged: int  # that were not, and were fetched again
    missing: int  # that were not there, and were fetched
    never_fetched: int  # frames of these records that nobody had fetched
    not_home: int  # of the damaged and missing, those that are still to be fetched
    unread: int  # files of other commands that nobody has looked at yet

    def sentences(self) -> list[str]:
        """The report, for a person."""
        if not self.records:
            return ['This TOM had no observations when tom_auto was installed.']
        since = f'{self.since:%Y-%m-%d}' if self.since else 'date not recorded'
        lines = [
            f'When tom_auto was installed ({since}), this TOM had {self.records} observations.',
            f'Files that other commands had stored: {self.whole} whole, {self.damaged} damaged, '
            f'{self.missing} missing.',
        ]
        if self.never_fetched:
            frames, have = (
                ('frame', 'it has') if self.never_fetched == 1 else ('frames', 'they have')
            )
            records = 'observation' if self.without_data == 1 else 'observations'
            lines.append(
                f'{self.never_fetched} {frames} of {self.without_data} {records} had never been '
                f'downloaded; {have} been since.'
            )
        if brought := self.damaged + self.missing - self.not_home:
            lines.append(f'{brought} damaged or missing files were fetched again.')
        if self.not_home:
            lines.append(f'{self.not_home} damaged or missing files are still to be fetched.')
        if self.unchecked or self.unread:
            lines.append(
                f'Not looked at yet: {self.unchecked} observations, with {self.unread} stored files.'
            )
        if self.failing:
            lines.append(f'{self.failing} observations could not be checked: see /automation/.')
        if not (self.not_home or self.unchecked or self.failing):
            lines.append('Nothing is left to do.')
        return lines


def adoption() -> Adoption:
    """What there is to say. Asks nobody, and changes nothing."""
    since = MigrationRecorder(connection).migration_qs.filter(app='tom_auto')
    since = since.aggregate(first=Min('applied'))['first']
    older = ObservationRecord.objects.order_by()
    if since is not None:
        older = older.filter(created__lt=since)
    syncs = RecordSync.objects.filter(record__in=older.values('pk'))
    frames = StoredFrame.objects.filter(record__in=older.values('pk')).exclude(
        frame_id__endswith=JPEG
    )
    origins = Counter(frames.order_by().values_list('origin', flat=True))
    of_record = frames.filter(record=OuterRef('pk'), origin=Origin.NOTHING)
    lost = frames.filter(origin__in=[Origin.DAMAGED, Origin.MISSING])
    records = older.count()
    return Adoption(
        since=since,
        records=records,
        unchecked=records - syncs.exclude(state=RecordSync.State.NEW).count(),
        failing=syncs.filter(failing_since__isnull=False).count(),
        without_data=older.filter(Exists(of_record)).count(),
        whole=origins[Origin.WHOLE],
        damaged=origins[Origin.DAMAGED],
        missing=origins[Origin.MISSING],
        never_fetched=origins[Origin.NOTHING],
        not_home=lost.exclude(state__in=[State.STORED, State.DELETED]).count(),
        unread=unread_files(),
    )
