"""Brings home the frames of one record that are wanted and not here yet."""

from fnmatch import fnmatch
from functools import partial
from time import sleep

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from tom_observations.models import ObservationRecord

from ..conf import Automation
from ..models import RecordSync, StoredFrame
from . import products, storage
from .errors import Clash, NoKey, OutOfTime, SetAside, SyncError
from .facilities import Stock
from .facility_jobs import Facilities, Jobs, one
from .frame_plans import Action, Plan, decide, is_preview, plans_for
from .frames import Frame, Listing
from .outcomes import Outcome
from .threads import Job
from .whole_file import Received

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
            rows = list(stored.values_list('frame_id', 'name', 'product__data'))
        entries = listed.entries()
        changed = set(map(str, entries))
        same = {frame_id for frame_id, *_ in rows if not is_preview(frame_id)} - changed
        if len(set(listed.known)) != len(same):
            return None
        rows = [(name, data) for _, name, data in rows if data is not None]
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
                    for preview, drawn in (yield from self._draw(record, plan)):
                        products.write(record, preview, drawn)
        if todo and record.sync.is_settled:  # if this is killed, the next run goes on with it
            RecordSync.objects.filter(pk=record.pk).update(state=RecordSync.State.WAITING)
        while todo:
            todo = yield from self._store_files(record, todo)

    def _store_files(self, record: ObservationRecord, plans: list[Plan]) -> Jobs:
        """Bring the files of `plans` home, and write their rows; which are to be tried again."""
        for plan in plans:
            products.note_broken(record, plan)
        results = yield [self._job_for(plan) for plan in plans]
        again = []
        for plan, (received, error) in zip(plans, results, strict=True):
            if error is not None:
                self._troubles.append(error)
            elif received is not None:
                kept = yield from self._keep(record, plan, received)
                if not kept and products.found_meanwhile(plan):
                    again.append(plan)
                elif not kept and plan.stored and plan.product:
                    products.share(record, plan.stored)
            elif plan.action is Action.ADOPT:
                if plan.is_of_others:
                    self._outcome.damaged += 1
                    plan.origin = Origin.DAMAGED
                plan.action, plan.place = Action.FETCH, plan.name
                again.append(plan)
        return again

    def _job_for(self, plan: Plan) -> Job:
        name = self._outcome.facility
        if plan.action is Action.ADOPT:
            work = partial(products.adopt, plan)
            return self._facilities.disk_job(name, work, f'the file {plan.name}')
        return self._facilities.download_job(name, plan)

    def _keep(self, record: ObservationRecord, plan: Plan, received: Received) -> Jobs:
        """Have a preview made, and write the rows of one frame; whether they are written."""
        is_ours, is_new = plan.is_ours, plan.product is None or plan.action is Action.RENEW
        is_of_others = plan.is_of_others
        previews = (yield from self._draw(record, plan)) if is_ours else []
        stored = None
        try:
            with transaction.atomic():
                stored = products.write(record, plan, received)
                for preview, drawn in previews if stored else ():
                    products.write(record, preview, drawn)
        except IntegrityError:
            if not products.is_taken(plan):
                raise
        if stored is None:
            for preview, _ in previews:
                storage.delete(preview.place)
        elif not is_ours:
            self._outcome.adopted += is_of_others
        else:
            self.saved.append(stored.product_id)
            self._outcome.saved += is_new
            self._outcome.repaired += not is_new
        return stored is not None

    def _draw(self, record: ObservationRecord, plan: Plan) -> Jobs:
        """The JPEG of a frame, where there is to be one: its plan, and what is known of its file."""
        if not getattr(settings, 'AUTO_THUMBNAILS', False):
            return []
        from . import previews  # here: without previews it is not needed, and takes half a second

        frame = previews.preview_of(plan)
        [preview] = plans_for(record, plan.archive, [frame], self._facilities.archive_of)
        preview.place = f'{plan.place.rpartition("/")[0]}/{frame.filename}'.lstrip('/')
        preview.action = Action.FETCH
        name, work = self._outcome.facility, partial(previews.draw, plan.place, preview.place)
        [(drawn, _)] = yield [self._facilities.disk_job(name, work, f'a preview of {plan.place}')]
        return [(preview, drawn)] if drawn else []
