"""Brings home the frames of one record that are wanted and not here yet."""

from fnmatch import fnmatch
from functools import partial
from time import sleep

from django.conf import settings
from django.db import IntegrityError
from django.utils import timezone
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..errors import Clash, NoKey, OutOfTime, SetAside, SyncError
from ..files import storage
from ..models import RecordSync, StoredFrame
from ..observatories.facilities import Stock
from ..observatories.frames import Frame, Listing
from ..running.database_jobs import DatabaseJob, Jobs, one
from ..running.outcomes import Outcome
from ..running.threads import Job
from . import frame_files, products
from .facility_jobs import Facilities
from .frame_plans import Action, Plan, decide, is_preview, plans_for
from .products import Kept

Origin = StoredFrame.Origin
BATCH = 100  # frames that are looked at together


class RecordFrames:
    """The frames of one record, and what came of them: counted in the outcome of its check."""

    def __init__(self, outcome: Outcome, facilities: Facilities, limits: Automation) -> None:
        self._outcome, self._facilities, self._limits = outcome, facilities, limits
        self.saved: list[int] = []  # products that hooks are owed for
        self._troubles: list[SyncError] = []  # of single frames
        self._are_new = False  # nobody had heard of them when the lists were read

    def bring(self, record: ObservationRecord, stock: Stock | None) -> Jobs:
        """Bring them home. Raises the first trouble of a frame, after all have been tried."""
        outcome, name = self._outcome, self._outcome.facility
        listing = yield from self._listed(record, stock)
        if listing is None:
            listing = yield from one(self._facilities.frames_job(name, record))
        if stock and stock.is_success(record.status) and not listing.frames and not stock.key:
            raise NoKey(f'no frames can be seen without an API key. To see them, {stock.wants_key}')
        patterns = self._limits.WANTED_FRAMES.get(name, ['*'])
        wanted = [
            frame
            for frame in listing.frames.values()
            if any(fnmatch(frame.filename, pattern) for pattern in patterns)
        ]
        outcome.filtered = len(listing.frames) - len(wanted)
        outcome.found += len(wanted)
        self._troubles += listing.faults
        archive = self._facilities.archive_of(name)
        for start in range(0, len(wanted), BATCH):
            yield from self._store_alone(record, archive, wanted[start : start + BATCH])
        if count := len(self._troubles):  # what did not go on says less than what went wrong
            first = min(self._troubles, key=lambda error: isinstance(error, OutOfTime | SetAside))
            text = str(first) if count == 1 else f'{count} of {outcome.found} frames: {first}'
            raise type(first)(text) from first

    def _listed(self, record: ObservationRecord, stock: Stock | None) -> Jobs:
        """The frames of `record` that are new, from the lists; None where it has to be asked.

        A check that may settle the record needs lists that tell of all its life, and show frames
        of it; or it asks for the record alone. A list that has not all that is stored is not
        believed, nor where a file is not there, or is another one than was stored.
        """
        ended, window = self._outcome.ended, self._limits.DATA_WINDOW
        lists = self._facilities.frame_lists.get(stock.account, {}) if stock else {}
        listed = lists.get(record.observation_id)
        may_settle = ended and timezone.now() - ended >= window
        if listed is None or (may_settle and not (listed and listed.is_all)):
            return None
        rows = []
        if record.pk in self._facilities.having_frames:
            archive = self._facilities.archive_of(stock.name)
            stored = StoredFrame.objects.filter(record=record, archive=archive)
            rows = list(stored.values_list('frame_id', 'name', 'product', 'product__data'))
        entries = listed.entries()
        changed = set(map(str, entries))
        same = {frame_id for frame_id, *_ in rows if not is_preview(frame_id)} - changed
        if len(set(listed.known)) != len(same):
            return None
        rows = [(name, data) for _, name, product, data in rows if product]
        if any(data != name for name, data in rows):  # as a web page that was slower leaves it
            return None
        if names := [name for name, _ in rows]:
            work = partial(storage.sizes, names)
            sizes = yield from one(self._facilities.disk_job(stock.name, work, 'stored files'))
            if None in sizes.values():
                return None
        self._outcome.found = len(same)
        # Another record may be of the same request, and finds them stored.
        self._are_new, listed.are_new = listed.are_new, False
        listing = Listing()
        listing.add(list(entries.values()), stock.name)
        return listing

    def _store_alone(self, record: ObservationRecord, archive: str, frames: list[Frame]) -> Jobs:
        """Store `frames` while no other record, which may have some of them too, does."""
        keys = {(archive, frame.id) for frame in frames}
        while keys & self._facilities.in_hand:
            yield from one(Job(partial(sleep, 0.1), 'another record', archive))
        self._facilities.in_hand |= keys
        try:
            yield from self._store(record, archive, frames)
        finally:
            self._facilities.in_hand -= keys

    def _store(self, record: ObservationRecord, archive: str, frames: list[Frame]) -> Jobs:
        name = self._outcome.facility
        plans = plans_for(record, archive, frames, self._facilities.archive_of, self._are_new)
        names = [name for plan in plans for name in (plan.name, plan.preview) if name]
        sizes = {}
        if names:
            work = partial(storage.sizes, names)
            sizes = yield from one(self._facilities.disk_job(name, work, 'stored files'))
        todo: list[Plan] = []
        for plan in plans:
            try:
                decide(plan, record, sizes)
            except Clash as clash:
                self._troubles.append(clash)
                continue
            if plan.action is not Action.NOTHING:
                todo.append(plan)
                if plan.is_of_others:
                    is_missing = plan.action is Action.FETCH
                    self._outcome.missing += is_missing
                    plan.origin = Origin.MISSING if is_missing else Origin.WHOLE
            elif plan.stored and plan.product:
                products.share(record, plan.stored)
                if plan.preview and sizes[plan.preview] is None:
                    products.write((yield from self._draw(record, plan)))
        if todo and record.sync.is_settled:  # if this is killed, the next run goes on with it
            RecordSync.objects.filter(pk=record.pk).update(state=RecordSync.State.WAITING)
        while todo:
            todo = yield from self._store_files(record, todo)

    def _store_files(self, record: ObservationRecord, plans: list[Plan]) -> Jobs:
        """Bring the files of `plans` home, and write their rows; which are to be tried again."""
        for plan in plans:
            products.note_broken(record, plan)
        results = yield [self._job_for(plan) for plan in plans]
        again, kept = [], []
        for plan, (received, error) in zip(plans, results, strict=True):
            if received and products.is_anothers(plan, received):
                received = None
            if error is not None:
                self._troubles.append(error)
            elif received and plan.is_of_others and plan.is_outdated(received.md5):
                products.note_outdated(record, plan, received)
                again.append(plan)
            elif received is not None:
                previews = (yield from self._draw(record, plan)) if plan.is_ours else []
                kept.append(Kept(record, plan, received, previews))
                if previews:  # the next one takes a while
                    again += yield from self._write(kept)
                    kept = []
            elif plan.action is Action.ADOPT:
                if plan.is_of_others:
                    self._outcome.damaged += 1
                    plan.origin = Origin.DAMAGED
                plan.action, plan.place = Action.FETCH, plan.name
                again.append(plan)
        return again + (yield from self._write(kept))

    def _write(self, kept: list[Kept]) -> Jobs:
        """Have the rows of files written; which of these frames are to be tried again."""
        written = (yield [DatabaseJob(products.write, each) for each in kept]) if kept else []
        again, failure = [], None
        for each, (stored, error) in zip(kept, written, strict=True):
            was_faster = isinstance(error, IntegrityError) and products.is_taken(each.plan)
            if error is None or was_faster:
                again += self._count(each, stored)
            else:
                failure = failure or error
        if failure:
            raise failure
        return again

    def _job_for(self, plan: Plan) -> Job:
        name = self._outcome.facility
        if plan.action is Action.ADOPT:
            work = partial(frame_files.adopt, plan)
            return self._facilities.disk_job(name, work, f'the file {plan.name}')
        return self._facilities.download_job(name, plan)

    def _count(self, kept: Kept, stored: StoredFrame | None) -> list[Plan]:
        """Count a frame. Its plan if somebody was faster, and it is to be tried again."""
        plan = kept.plan
        if stored is None:
            for preview in kept.previews:
                storage.delete(preview.plan.place)
            if products.found_meanwhile(plan):
                return [plan]
            if plan.stored and plan.product:
                products.share(kept.record, plan.stored)
        elif not plan.is_ours:
            self._outcome.adopted += plan.is_of_others
        else:
            is_new = plan.product is None or plan.action is Action.RENEW
            self.saved.append(stored.product_id)
            self._outcome.saved += is_new
            self._outcome.repaired += not is_new
        return []

    def _draw(self, record: ObservationRecord, plan: Plan) -> Jobs:
        """The JPEG of a frame, where there is to be one: a list of one, or of none."""
        if not getattr(settings, 'AUTO_THUMBNAILS', False):
            return []
        from . import previews  # here: without previews it is not needed, and takes half a second

        frame = previews.preview_of(plan)
        [preview] = plans_for(record, plan.archive, [frame], self._facilities.archive_of)
        if not previews.may_be_drawn(preview):
            return []
        beside = f'{storage.relative(plan.place).rpartition("/")[0]}/{frame.filename}'.lstrip('/')
        preview.place = preview.name or beside
        preview.action = Action.FETCH
        name, work = self._outcome.facility, partial(previews.draw, plan.place, preview)
        [(drawn, _)] = yield [self._facilities.disk_job(name, work, f'a preview of {plan.place}')]
        return [Kept(record, preview, drawn, [])] if drawn else []
