"""One run of `auditdata`: reads the files whose turn it is, and those in trouble once more.

Nothing but rows of the audit is written here. Before a file counts as missing, the storage must be
the one that was there: rule 7.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from time import monotonic, sleep
from typing import IO

from django.db import transaction
from django.utils import timezone
from tom_dataproducts.models import DataProduct

from .. import errors
from ..conf import Automation
from ..files.storage_id import insist_on_storage
from ..files.whole_file import CHUNK
from ..models import AuditedFile, AuditRound, UpdateRun
from ..running import runs
from ..running.failures import fail
from ..running.outcomes import Outcome
from ..running.recorded_run import recorded_run
from ..running.threads import ENOUGH
from . import rounds
from .known import Known, known_files
from .look import Found, Verdict, look
from .report import BAD, AuditReport

COMMAND = 'auditdata'
BATCH = 200  # files whose verdicts are written together
LONGEST_SLEEP = 1.0  # seconds, between two looks at the clock
KINDS = {
    Verdict.ROTTED: errors.FileRotted,
    Verdict.DAMAGED: errors.FileDamaged,
    Verdict.MISSING: errors.FileMissing,
    Verdict.RENAMED: errors.FileRenamed,
    Verdict.UNREADABLE: errors.FileUnreadable,
}


def audit_files(
    limits: Automation,
    at_once: bool = False,
    only_in_trouble: bool = False,
    progress: Callable[[AuditReport], None] = lambda report: None,
    begun: Callable[[], None] = lambda: None,
    job: str = COMMAND,
) -> tuple[AuditReport, list[Found]]:
    """Read a share of the files; gives the report, and those that are not as they should be.

    `at_once`: a whole round. `only_in_trouble`: none but those that were not right when they were
    last read, which every run reads. Raises Paused, and AnotherRun where a run is in progress.
    """
    report = AuditReport()
    with recorded_run(job, COMMAND, report, limits, begun=begun) as (run, deadline):
        work = _Run(run, report, limits, deadline, progress)
        work.go(at_once, only_in_trouble)
    return report, work.bad


@dataclass
class Pace:
    """Gives the content of files no faster than `rate` bytes a second, and not after the deadline."""

    rate: int
    deadline: float

    def __post_init__(self) -> None:
        self.read, self._began = 0, monotonic()

    def chunks(self, file: IO[bytes]) -> Iterator[bytes]:
        """The content of `file`. Raises OutOfTime where that takes too long."""
        while chunk := file.read(CHUNK):
            self.read += len(chunk)
            yield chunk
            self._wait()

    def _wait(self) -> None:
        while (now := monotonic()) < self.deadline:
            ahead = self.read / self.rate - (now - self._began) if self.rate else 0
            if ahead <= 0:
                return
            sleep(min(ahead, LONGEST_SLEEP))
        raise errors.OutOfTime('not read before the deadline')


class _Run:
    def __init__(
        self,
        run: UpdateRun,
        report: AuditReport,
        limits: Automation,
        deadline: float,
        progress: Callable[[AuditReport], None],
    ) -> None:
        self._run, self._report, self._limits, self._progress = run, report, limits, progress
        self._pace = Pace(limits.AUDIT_RATE, deadline)
        self._verdicts: Counter[str] = Counter()
        self._away = 0  # files in a row that the storage did not give
        self.bad: list[Found] = []

    def go(self, at_once: bool, only_in_trouble: bool) -> None:
        length = self._limits.AUDIT_ROUND
        current = None
        if not only_in_trouble:
            current = rounds.round_to_go_on_with(self._run.started, length, at_once)
        in_trouble = DataProduct.objects.filter(audited__verdict__in=BAD)
        before = rounds.round_before(current)
        with ExitStack() as at_the_end:
            self._heart = at_the_end.enter_context(runs.heartbeat(self._run, self._report))
            try:
                insist_on_storage()
                if current is not None:
                    rounds.begin(current)
                again = list(known_files(in_trouble, before))
                number = rounds.share(current, self._run, length, at_once) if current else 0
                self._report.due = len(again) + number
                self._read_all(again, None)
                if number:
                    left = rounds.left_in(current).exclude(pk__in=[one.product for one in again])
                    self._read_all(islice(known_files(left, before), number), current)
                if current is not None:
                    self._note_round(current, {one.product for one in again})
            except errors.OutOfTime:
                self._report.not_reached = self._report.due - self._report.checked
            except errors.StorageAway as error:
                self._report.not_reached = self._report.due - self._report.checked
                fail(self._run, self._report, Outcome('', error=str(error), kind=error.kind))
        self._tell(current)

    def _read_all(self, files: Iterable[Known], current: AuditRound | None) -> None:
        files = iter(files)
        while batch := list(islice(files, BATCH)):
            found: list[Found] = []
            try:
                for known in batch:
                    found.append(self._look(known))
            except errors.StorageAway:
                del found[len(found) - self._away + 1 :]  # nothing is known of these
                raise
            finally:  # what was read counts, whatever came after it
                self._take(found, current)

    def _look(self, known: Known) -> Found:
        self._heart.insist()
        before = self._pace.read
        try:
            found = look(known, self._pace.chunks)
            self._away = 0
        except errors.StorageAway as error:
            self._away += 1
            if self._away >= ENOUGH:
                raise
            found = Found(known, Verdict.UNREADABLE, str(error))
        self._report.checked += 1
        self._report.bytes += self._pace.read - before
        self._progress(self._report)
        return found

    def _take(self, batch: list[Found], current: AuditRound | None) -> None:
        if any(found.verdict in BAD for found in batch):
            insist_on_storage()
        if batch:
            self._write(batch, current)
        fail(self._run, self._report, *filter(None, map(self._count, batch)))

    @transaction.atomic
    def _write(self, batch: list[Found], current: AuditRound | None) -> None:
        """Write the verdicts, but for products that were deleted meanwhile."""
        runs.claim(self._run.pk)
        rows = {found.known.product: _row(found) for found in batch if _needs_row(found)}
        there = DataProduct.objects.filter(pk__in=rows).values_list('pk', flat=True)
        AuditedFile.objects.bulk_create(
            [rows[pk] for pk in there],
            update_conflicts=True,
            unique_fields=['product'],
            update_fields=['verdict', 'name', 'md5', 'size', 'right_at', 'said'],
        )
        well = {found.known.product for found in batch if found.known.was} - set(rows)
        AuditedFile.objects.filter(pk__in=well).delete()
        if current is not None:
            current.position = batch[-1].known.product
            current.files += len(batch)
            current.size += sum(found.size for found in batch)
            current.save()

    def _count(self, found: Found) -> Outcome | None:
        """Count a file; gives the failure that it is, if it is one."""
        self._verdicts[found.verdict] += 1
        name = found.known.name or f'data product {found.known.product}'
        if found.verdict in BAD:
            self.bad.append(found)
            facility, kind = found.known.facility or 'Data', KINDS[found.verdict].kind
            return Outcome(facility, observation_id=name[-255:], error=found.said, kind=kind)
        if found.verdict == Verdict.CHANGED and found.said:
            self._report.changed_files.append(name)
        return None

    def _note_round(self, current: AuditRound, again: set[int]) -> None:
        """Close the round if nothing is left in it. Files in trouble have been read already."""
        if rounds.left_in(current).exclude(pk__in=again).exists():
            return
        verdicts = AuditedFile.objects.exclude(verdict=Verdict.SOUND).order_by()
        current.found = Counter(verdicts.values_list('verdict', flat=True))
        current.files = DataProduct.objects.count()
        current.state, current.ended = AuditRound.State.CLOSED, timezone.now()
        current.save()

    def _tell(self, current: AuditRound | None) -> None:
        report = self._report
        report.verdicts = {verdict: self._verdicts[verdict] for verdict in Verdict.values}
        if current is not None and current.pk:
            report.round_began = current.began.isoformat()
            report.round_ended = current.ended.isoformat() if current.ended else None
            report.round_files = current.files
            report.left = 0 if current.ended else rounds.left_in(current).count()


def _needs_row(found: Found) -> bool:
    """Whether there is more to record than the frame's own row can hold."""
    if found.verdict != Verdict.SOUND:
        return True
    return not found.known.is_archives


def _row(found: Found) -> AuditedFile:
    known, is_right = found.known, found.verdict in (Verdict.SOUND, Verdict.CHANGED)
    return AuditedFile(
        product_id=known.product,
        verdict=found.verdict,
        name=known.name,
        md5=found.md5 if is_right else known.md5,
        size=found.size if is_right else known.size,
        right_at=timezone.now() if is_right else min(known.right_at, timezone.now()),
        said=found.said,
    )
