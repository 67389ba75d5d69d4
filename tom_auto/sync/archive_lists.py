"""Which frames many requests have, from the lists of an archive of LCO's kind: rule 17.

Measured on science archive 2.7.2. A list by proposal and time counts exactly over nine weeks at
most. In its default order, which is not unique, frames are lost between two pages; ordered by id
they are not. A filter that it does not know is ignored in silence. So each row is held against the
question, and a list that repeats an id, shows another number than it counts, or only estimates
that number is not believed: its records are asked singly, as are those of which it shows less
than is stored. No record is settled by a list: its last check asks for it alone.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from threading import Lock
from urllib.parse import urlencode, urljoin

from tom_observations.facilities.ocs import OCSFacility, make_request
from tom_observations.models import ObservationRecord

from ..models import StoredFrame
from .errors import BadAnswer
from .facilities import moment
from .frames import PAGE, checksums
from .portal_lists import A_PAGE_IS_WORTH, CHUNK, FEWEST, News

logger = logging.getLogger(__name__)

LONGEST = timedelta(weeks=9)  # the longest time of which the archive counts the frames exactly
MARGIN = timedelta(hours=1)  # around an observation
Span = tuple[str, datetime, datetime, set[str]]  # proposal, start and end, requests
KEPT = 'id', 'filename', 'url', 'version_set'  # of an entry: of 200,000 no more has room


@dataclass(frozen=True)
class Wanted:
    """When one request was observed, and for which proposal."""

    proposal: str
    start: datetime
    end: datetime


@dataclass
class Listed:
    """What the archive lists for one request."""

    known: int = 0  # frames that are listed as they were stored, or deleted, here
    entries: list[dict] = field(default_factory=list)  # all others


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
        url = urljoin(self._facility.facility_settings.get_setting('archive_url'), '/profile/')
        try:
            answer = make_request('GET', url, headers=self._facility._portal_headers()).json()
            return frozenset(answer['profile']['proposals'])
        except Exception as error:  # the lists will say what is wrong
            logger.warning('The archive does not say what it shows (%s)', type(error).__name__)
            return None


def wanted_of(due: Collection[int], news: dict[str, News], since: datetime) -> dict[str, Wanted]:
    """The requests of these records, by number, that a list can tell of.

    Those that began, whose proposal and times are known, and that ended after `since`: a check
    that may settle a record is a single one.
    """
    wanted, keys = {}, list(due)
    for begin in range(0, len(keys), CHUNK):
        rows = ObservationRecord.objects.filter(pk__in=keys[begin : begin + CHUNK]).values_list(
            'observation_id', 'scheduled_start', 'scheduled_end', 'parameters__proposal'
        )
        for request, start, end, proposal in rows:
            said = news.get(request, News({}))
            with suppress(Exception):  # of a time that is none: the record is asked singly
                start = moment(said.answer.get('scheduled_start')) or start
                end = moment(said.answer.get('scheduled_end')) or end
                proposal = said.proposal or proposal
                if said.begun and start and end and end > since and isinstance(proposal, str):
                    wanted[request] = Wanted(proposal, start - MARGIN, end + MARGIN)
    return wanted


def known_frames(due: Collection[int], archive: str) -> set[int]:
    """A number for each frame that these records have: its id and its checksum at the archive."""
    known, keys = set(), list(due)
    states = (StoredFrame.State.STORED, StoredFrame.State.DELETED)
    for begin in range(0, len(keys), CHUNK):
        frames = StoredFrame.objects.filter(
            record__in=keys[begin : begin + CHUNK], archive=archive, state__in=states
        )
        known.update(map(hash, frames.values_list('frame_id', 'archive_md5').iterator()))
    return known


def read_frames(
    facility: OCSFacility, spans: list[Span], known: set[int], sight: Sight
) -> dict[str, Listed]:
    """What the archive lists for the requests of these spans.

    Nothing for proposals that it does not show: the single calls say so.
    """
    found: dict[str, Listed] = {}
    shown = sight.proposals()
    for proposal, start, end, requests in spans:
        if shown is not None and proposal not in shown:
            continue
        question = {
            'proposal_id': proposal, 'start': start.isoformat(), 'end': end.isoformat(),
            'ordering': 'id', 'limit': PAGE, 'include_related_frames': 'false',
        }  # fmt: skip
        try:
            try:
                found |= _read_list(facility, question, requests, known)
            except ShiftedList:  # while it was read
                found |= _read_list(facility, question, requests, known)
        except Exception as error:  # the single calls will say what is wrong, record by record
            logger.warning('The archive has no lists for us (%s: %s)', type(error).__name__, error)
            break
    return found


class ShiftedList(Exception):
    """The pages of a list do not fit together."""


def spans_of(wanted: dict[str, Wanted]) -> Iterator[Span]:
    """The lists that cost less than the single calls for their requests."""
    proposals: dict[str, list[tuple[datetime, datetime, str]]] = {}
    for request, one in wanted.items():
        proposals.setdefault(one.proposal, []).append((one.start, one.end, request))
    for proposal, rows in proposals.items():
        rows.sort()
        while rows:
            first = rows[0][0]
            span = [row for row in rows if row[1] - first <= LONGEST]
            rows = [row for row in rows[1:] if row[1] - first > LONGEST]
            if len(span) >= FEWEST:
                yield proposal, first, max(row[1] for row in span), {row[2] for row in span}


def _read_list(
    facility: OCSFacility, question: dict, requests: set[str], known: set[int]
) -> dict[str, Listed]:
    listed = {request: Listed() for request in requests}
    url = urljoin(facility.facility_settings.get_setting('archive_url'), '/frames/')
    last, seen, count = -1, 0, 1
    start, end = map(datetime.fromisoformat, (question['start'], question['end']))
    while seen < count:
        query = urlencode(question | {'offset': seen})
        page = make_request('GET', f'{url}?{query}', headers=facility._portal_headers()).json()
        count, entries = int(page['count']), page['results']
        if page.get('count_estimated') is not False:
            raise BadAnswer('its counts are estimates')
        if count > PAGE * (1 + len(requests) // A_PAGE_IS_WORTH):
            return {}  # the single calls cost less
        for entry in entries:
            if not entry['id'] > last:
                raise ShiftedList('it repeats frames')
            date = datetime.fromisoformat(entry['observation_date'])
            if entry['proposal_id'] != question['proposal_id'] or not start <= date <= end:
                raise BadAnswer('it ignores the question')
            last = entry['id']
            if (one := listed.get(str(entry['request_id']))) is None:
                continue
            if hash((str(last), checksums(entry)[0])) in known:
                one.known += 1
            else:
                one.entries.append({key: entry[key] for key in KEPT})
        seen += len(entries)
        if seen < count and not entries:
            raise ShiftedList('it shows fewer frames than it counts')
    if seen != count:
        raise ShiftedList('it shows more frames than it counts')
    return listed
