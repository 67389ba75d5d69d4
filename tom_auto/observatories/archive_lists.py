"""Which frames many requests have, from the lists of an archive of LCO's kind: rule 17.

Measured on science archive 2.7.2. A list by proposal and time counts exactly over nine weeks at
most. In its default order, which is not unique, frames are lost between two pages; ordered by id
they are not. A filter that it does not know is ignored in silence. So each row is held against the
question, and a list that repeats an id, shows another number than it counts, or only estimates
that number is not believed: its records are asked singly, as are those of which it shows less
than is stored. A record is settled by lists only where they tell of its whole life, from the first
moment at which it might be observed to the end of its observation, and show frames of it: see
decision 20. Otherwise its last check asks for it alone.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from threading import Lock

from tom_observations.facilities.ocs import OCSFacility
from tom_observations.models import ObservationRecord

from ..errors import BadAnswer
from ..models import StoredFrame
from .facilities import TIMES, moment
from .frames import PAGE, Listed, Shelf, checksums
from .portal_lists import CHUNK, FEWEST, News
from .portal_pages import A_PAGE_IS_WORTH, get_from

logger = logging.getLogger(__name__)

LONGEST = timedelta(weeks=9)  # the longest time of which the archive counts the frames exactly
PART = LONGEST / 3  # of the life of a request, so that those of many fit into one list
MARGIN = timedelta(hours=1)  # around an observation
A_DAY = timedelta(days=1)
LONGEST_LIFE = timedelta(days=5 * 365)  # no request is open for so long: one of its times is wrong
KEPT = 'id', 'filename', 'url', 'version_set'  # of an entry


@dataclass(frozen=True)
class Wanted:
    """For which proposal a request was observed, and when it has its frames."""

    proposal: str
    start: datetime
    end: datetime
    is_all_its_life: bool = False


@dataclass
class Span:
    """A list that is worth its price: a time, and the requests that it is to tell of."""

    proposal: str
    start: datetime
    end: datetime
    requests: set[str]


class Sight:
    """The proposals of which an archive shows an account the frames.

    Without this, silently absent data looks like none: an archive that cannot ask the portal whose
    a token is answers each list with nothing, and 200.
    """

    def __init__(self, facility: OCSFacility) -> None:
        self._facility, self._lock = facility, Lock()

    def proposals(self) -> frozenset[str] | None:
        """What the archive says, when somebody first wants to know; None: it does not say."""
        with self._lock:
            return self._proposals

    @cached_property
    def _proposals(self) -> frozenset[str] | None:
        try:
            answer = get_from(self._facility, 'archive_url', '/profile/').json()
            return frozenset(answer['profile']['proposals'])
        except Exception as error:  # the lists will say what is wrong
            logger.warning('The archive does not say what it shows (%s)', type(error).__name__)
            return None


def wanted_of(
    due: Collection[int], news: dict[str, News], since: datetime, success: Collection[str]
) -> dict[str, Wanted]:
    """The requests of these records, by number, that a list can tell of.

    Those that began, whose proposal and times are known and make sense. One that ended before
    `since` may be settled by this check: then all its life is wanted, which is known of those with
    a state of `success` alone. No other observation follows.
    """
    wanted, keys = {}, list(due)
    for begin in range(0, len(keys), CHUNK):
        rows = ObservationRecord.objects.filter(pk__in=keys[begin : begin + CHUNK]).values_list(
            'observation_id', 'status', *TIMES, 'parameters__proposal', 'parameters__start'
        )
        for request, status, start, end, proposal, opened in rows:
            said = news.get(request, News({}))
            with suppress(Exception):  # the time is not valid: the record is asked singly
                start = moment(said.answer.get('scheduled_start')) or start
                end = moment(said.answer.get('scheduled_end')) or end
                proposal, is_old = said.proposal or proposal, end <= since
                if is_old:
                    start = min(start, moment(opened) - A_DAY)  # in whatever zone that was
                done = said.answer.get('state', status) in success
                if not timedelta(0) <= end - start <= LONGEST_LIFE:
                    continue
                if said.begun and isinstance(proposal, str) and (done or not is_old):
                    wanted[request] = Wanted(proposal, start - MARGIN, end + MARGIN, is_old)
    return wanted


def known_frames(due: Collection[int], archive: str) -> tuple[set[int], set[int]]:
    """A number for the id and checksum of each frame that is known, and the records that have any."""
    known, having, keys = set(), set(), list(due)
    for begin in range(0, len(keys), CHUNK):
        frames = StoredFrame.objects.filter(record__in=keys[begin : begin + CHUNK], archive=archive)
        rows = frames.values_list('record', 'state', 'frame_id', 'archive_md5')
        for record, state, *told in rows.iterator():
            having.add(record)
            if state in (StoredFrame.State.STORED, StoredFrame.State.DELETED):
                known.add(hash(tuple(told)))
    return known, having


def read_frames(
    facility: OCSFacility,
    wanted: dict[str, Wanted],
    spans: list[Span],
    known: set[int],
    sight: Sight,
) -> dict[str, Listed]:
    """What the archive lists for the wanted requests, as far as all of their lists can be had.

    Nothing for proposals that it does not show: the single calls say so.
    """
    shown, failed, shelf = sight.proposals(), False, Shelf()
    listed = {request: Listed(shelf, one.is_all_its_life) for request, one in wanted.items()}
    for span in spans:
        asked = span.requests & listed.keys()
        is_read = False
        if asked and not failed and (shown is None or span.proposal in shown):
            try:
                is_read = _read_again(facility, span, listed, known)
            except Exception as error:  # the single calls will say what is wrong, one by one
                logger.warning(
                    'The archive has no lists for us (%s: %s)', type(error).__name__, error
                )
                failed = True
        if not is_read:
            for request in asked:
                del listed[request]
    return listed


def _read_again(
    facility: OCSFacility, span: Span, listed: dict[str, Listed], known: set[int]
) -> bool:
    """Read a list, and once more if it shifts meanwhile; whether it could be had."""
    try:
        return _read_list(facility, span, listed, known)
    except ShiftedList:
        return _read_list(facility, span, listed, known)


class ShiftedList(Exception):
    """The pages of a list do not fit together."""


def spans_of(wanted: dict[str, Wanted]) -> tuple[dict[str, Wanted], list[Span]]:
    """The requests for which lists cost less than single calls, and these lists."""
    while True:
        spans = list(_all_spans(wanted))
        alone = {
            request for span in spans if len(span.requests) < FEWEST for request in span.requests
        }
        if not alone:
            return wanted, spans
        wanted = {request: one for request, one in wanted.items() if request not in alone}


def _all_spans(wanted: dict[str, Wanted]) -> Iterator[Span]:
    proposals: dict[str, list[tuple[datetime, datetime, str]]] = {}
    for request, one in wanted.items():
        start = one.start
        while start < one.end:
            end = start + min(PART, one.end - start)  # `start + PART` may be beyond the year 9999
            proposals.setdefault(one.proposal, []).append((start, end, request))
            start = end
    for proposal, rows in proposals.items():
        rows.sort()
        while rows:
            first = rows[0][0]
            ends = [row for row in rows if row[1] - first <= LONGEST]
            rows = [row for row in rows if row[1] - first > LONGEST]
            yield Span(proposal, first, max(row[1] for row in ends), {row[2] for row in ends})


def _read_list(
    facility: OCSFacility, span: Span, listed: dict[str, Listed], known: set[int]
) -> bool:
    """Put into `listed` what the archive lists for a span; whether that is worth its price."""
    question = {
        'proposal_id': span.proposal, 'start': span.start.isoformat(), 'end': span.end.isoformat(),
        'ordering': 'id', 'limit': PAGE, 'include_related_frames': 'false',
    }  # fmt: skip
    last, seen, count = -1, 0, 1
    while seen < count:
        query = question | {'offset': seen}
        page = get_from(facility, 'archive_url', '/frames/', query).json()
        count, entries = int(page['count']), page['results']
        if page.get('count_estimated') is not False:
            raise BadAnswer('its counts are estimates')
        if count > PAGE * (1 + len(span.requests) // A_PAGE_IS_WORTH):
            return False  # the single calls cost less
        for entry in entries:
            if not entry['id'] > last:
                raise ShiftedList('it repeats frames')
            date = datetime.fromisoformat(entry['observation_date'])
            if entry['proposal_id'] != span.proposal or not span.start <= date <= span.end:
                raise BadAnswer('it ignores the question')
            last = entry['id']
            if (one := listed.get(str(entry['request_id']))) is None:
                continue
            if hash((str(last), checksums(entry)[0])) in known:
                one.known.append(last)
            else:
                one.new.append(last)
                one.places.append(one.shelf.put({key: entry[key] for key in KEPT}))
        seen += len(entries)
        if seen < count and not entries:
            raise ShiftedList('it shows fewer frames than it counts')
    if seen != count:
        raise ShiftedList('it shows more frames than it counts')
    return True
