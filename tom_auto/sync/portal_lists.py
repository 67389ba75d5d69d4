"""What became of many observation requests at once, from the lists of a portal of LCO's kind.

Measured on observation portal 4.18.9: the lists of request groups tell the states, that
of observations the schedule, which changes without the request's `modified` doing so. A filter
that the portal does not know is ignored in silence, pages shift while they are read, and what
another group owns is not there. So nothing is concluded from what a list does not have, but that
a pending request has no observations, and only where that list was read whole: for every other
record the observatory is asked singly.
"""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode, urljoin

from dateutil.parser import parse
from django.db.models import Q
from django.utils import timezone
from tom_observations.facilities.ocs import OCSFacility, make_request
from tom_observations.models import ObservationRecord

logger = logging.getLogger(__name__)

FEWEST = 5  # records: for fewer than these, single calls cost the observatory less
PAGE = 500  # rows: half a second of the portal's time
A_PAGE_IS_WORTH = 50  # records: what a page costs compared to their single calls
MARGIN = timedelta(days=1)  # for clocks, and for what happened between two runs
CHUNK = 1000  # records in one question to the database
PENDING = 'PENDING'
UNTOUCHED = {'PENDING', 'NOT_ATTEMPTED', 'CANCELED'}  # observations that took nothing, in time


@dataclass
class News:
    """What the lists say of one request."""

    answer: dict  # as `get_observation_status` would have it; without times: they are as before
    begun: bool = True  # whether it may have frames
    status_then: str = ''  # of the record, when the lists were read
    proposal: str = ''  # empty where no list names it


@dataclass
class _Wanted:
    """A record that is due: since when it may have changed, and what the last check left."""

    since: datetime
    status_before: str
    status_then: str
    proposal: str = ''
    blocks: list[dict] = field(default_factory=list)


Portal = tuple[str, dict]  # address and headers
Wanted = dict[str, _Wanted]  # by request number
Found = dict[str, News]


def read_lists(facility: OCSFacility, wanted: Wanted) -> Found:
    """What the lists say of each wanted record; nothing where they cannot be had."""
    found: Found = {}
    if len(wanted) < FEWEST:
        return found
    all_of_them = dict(wanted)
    portal = facility.facility_settings.get_setting('portal_url'), facility._portal_headers()
    try:
        _find_pending(portal, wanted, found)
        _find_ended(portal, wanted, found)
    except Exception as error:  # the single calls will say what is wrong, record by record
        logger.warning('%s has no lists for us (%s)', portal[0], type(error).__name__)
    for observation_id, news in found.items():
        one = all_of_them[observation_id]
        news.status_then, news.proposal = one.status_then, one.proposal
    return found


def wanted_of(
    due: Collection[int], success: Collection[str], final_before: datetime | None
) -> Wanted:
    """What there is to ask about these records, by request number.

    Nothing where an observation has ended before that moment with a state of `success`.
    """
    wanted, keys = {}, list(due)
    for start in range(0, len(keys), CHUNK):
        some = keys[start : start + CHUNK]
        records = ObservationRecord.objects.filter(pk__in=some)
        if final_before is not None:
            final = Q(status__in=success, scheduled_end__lte=final_before)
            records = records.exclude(final)
        rows = records.values_list(
            'observation_id', 'status', 'created',
            'sync__status', 'sync__terminal_since', 'sync__checked_at',
        )  # fmt: skip
        for observation_id, status, created, checked, terminal_since, checked_at in rows:
            if not observation_id.isdecimal():
                continue  # and no request
            since = terminal_since or checked_at or created
            before = status if status == checked else ''
            twin = wanted.get(observation_id)
            if twin is not None and twin.status_before != before:
                before = ''  # what one of two records knows, the other may not
            wanted[observation_id] = _Wanted(since - MARGIN, before, status)
    return wanted


def _find_pending(portal: Portal, wanted: Wanted, found: Found) -> None:
    states = _states(portal, wanted, state=PENDING)
    if not states:
        return
    whole = _read_blocks(portal, wanted, len(states), request_state=PENDING)
    for observation_id, state in states.items():
        one = wanted.pop(observation_id)
        if state == PENDING and (whole or one.blocks):
            found[observation_id] = News(_answer(state, one.blocks), _begun(one.blocks))
        else:
            _note_ended(observation_id, state, one, found)


def _find_ended(portal: Portal, wanted: Wanted, found: Found) -> None:
    if len(wanted) < FEWEST:
        return
    since = min(one.since for one in wanted.values()).isoformat()
    states = _states(portal, wanted, exclude_state=PENDING, modified_after=since)
    new = {key for key, state in states.items() if state != wanted[key].status_before}
    if len(new) >= FEWEST:
        done = {'state': 'COMPLETED', 'request_state': 'COMPLETED', 'modified_after': since}
        _read_blocks(portal, wanted, len(new), **done)
    for observation_id, state in states.items():
        _note_ended(observation_id, state, wanted[observation_id], found)


def _note_ended(observation_id: str, state: str, one: _Wanted, found: Found) -> None:
    """What is known of a request that has ended: unchanged, or observed, or to be asked for."""
    if state == one.status_before != PENDING:
        found[observation_id] = News({'state': state})
    elif state == 'COMPLETED' and any(block['state'] == 'COMPLETED' for block in one.blocks):
        found[observation_id] = News(_answer(state, one.blocks))


def _states(portal: Portal, wanted: Wanted, **filters: str) -> dict[str, str]:
    """The states of those wanted requests whose groups pass `filters`."""
    states = {}
    for group in _Rows(portal, '/api/requestgroups/', len(wanted), filters):
        for request in group['requests']:
            if (one := wanted.get(number := str(request['id']))) is not None:
                states[number], one.proposal = request['state'], group.get('proposal', '')
    return states


def _read_blocks(portal: Portal, wanted: Wanted, count: int, **filters: str) -> bool:
    """Give the wanted requests their observations that pass `filters`; whether that is all."""
    rows = _Rows(portal, '/api/observations/', count, filters)
    for block in rows:
        one = wanted.get(str(block['request']['id']))
        if one is not None:
            one.blocks.append({key: block[key] for key in ('id', 'state', 'start', 'end')})
    return rows.whole


def _answer(state: str, blocks: list[dict]) -> dict:
    """State and schedule as tomtoolkit finds them: what was completed, or else is to come."""
    blocks = sorted(blocks, key=lambda block: block['id'])
    chosen = [block for block in blocks if block['state'] == 'COMPLETED'][:1]
    chosen = chosen or [block for block in blocks if block['state'] == PENDING][-1:]
    start, end = (chosen[0]['start'], chosen[0]['end']) if chosen else (None, None)
    return {'state': state, 'scheduled_start': start, 'scheduled_end': end}


def _begun(blocks: list[dict]) -> bool:
    """Whether any of these observations may have taken a frame."""
    now = timezone.now()
    return any(block['state'] not in UNTOUCHED or parse(block['start']) <= now for block in blocks)


class _Rows:
    """The rows of a list, as far as they are worth their pages. `whole`: all of them were read."""

    def __init__(self, portal: Portal, path: str, sought: int, filters: dict[str, str]) -> None:
        """`sought`: how many records want them, and so how many pages they are worth."""
        address, self._headers = portal
        self._url, self._filters = urljoin(address, path), filters
        self._limit = min(PAGE, 20 * sought)
        self._most = 1 + sought // A_PAGE_IS_WORTH
        self.whole = False

    def __iter__(self) -> Iterator[dict]:
        seen: set[object] = set()
        for number in range(self._most):
            page = self._page(number * self._limit)
            rows = page['results']
            seen.update(row['id'] for row in rows)
            yield from rows
            if not page['next'] or not rows:
                # A row that slipped from one page to another is missing, or counted twice.
                self.whole = page['count'] == len(seen)
                return
            if page['count'] > self._most * self._limit:
                return  # the rest would not be worth it

    def _page(self, offset: int) -> dict:
        query = urlencode({**self._filters, 'limit': self._limit, 'offset': offset})
        return make_request('GET', f'{self._url}?{query}', headers=self._headers).json()
