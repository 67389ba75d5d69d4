"""What became of many observation requests at once, from the lists of a portal of LCO's kind.

Measured on observation portal 4.18.9: the lists of request groups tell the states, those of
observations the schedule, which changes without the request's `modified` doing so, also after the
request has ended. A filter that the portal does not know is ignored in silence, pages shift while
they are read, and what another group owns is not there. tomtoolkit takes the times of the first
observation that was completed, otherwise of the last that is pending: so an answer needs all of a
request's observations, or those that changed since the last check found what the record has.

Nothing is concluded from what a list does not have, but that a request has no more observations
than the list shows, and only where that list was read whole. Where this would be news of a request
that has ended, and for every other record, the observatory is asked singly.
"""

import logging
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dateutil.parser import parse
from django.utils import timezone
from tom_observations.facilities.ocs import OCSFacility
from tom_observations.models import ObservationRecord

from .facilities import TIMES, moment
from .portal_pages import Rows

logger = logging.getLogger(__name__)

FEWEST = 5  # records: for fewer than these, single calls cost the observatory less
MARGIN = timedelta(days=1)  # for clocks, and for what happened between two runs
CHUNK = 1000  # records in one question to the database
PENDING, COMPLETED = 'PENDING', 'COMPLETED'
UNTOUCHED = {PENDING, 'NOT_ATTEMPTED', 'CANCELED'}  # observations that took nothing, in time
#: Observations that give a request its times, or that may have taken a frame. Of those that were
#: canceled there may be dozens to a request.
TELLING = [PENDING, COMPLETED, 'IN_PROGRESS', 'ABORTED', 'FAILED', 'BAD_DATA']


@dataclass
class News:
    """What the lists say of one request."""

    answer: dict  # as `get_observation_status` would have it
    begun: bool = True  # whether it may have frames that are not known
    then: tuple = ()  # status and times of the record, when the lists were read
    proposal: str = ''  # empty where no list names it


@dataclass
class _Wanted:
    """A record that is due: what it has, and what the lists say of its request."""

    since: datetime  # before its status was last asked for
    then: tuple  # its status and times
    checked: str  # its status, if the last check left that; otherwise empty
    #: What was observed before this has its frames here; None where they were not asked for since
    #: the request ended, or will be for the last time.
    complete_until: datetime | None
    state: str = ''
    proposal: str = ''
    created: datetime | None = None
    blocks: list[dict] = field(default_factory=list)


Wanted = dict[str, _Wanted]  # by request number
Found = dict[str, News]


def read_lists(facility: OCSFacility, wanted: Wanted) -> Found:
    """What the lists say of each wanted record; nothing where they cannot be had."""
    found: Found = {}
    if len(wanted) < FEWEST:
        return found
    try:
        _read_states(facility, wanted, state=PENDING)
        _find_pending(facility, _in_state(wanted, PENDING), found)
        _read_ended(facility, wanted)
        ended = {number: one for number, one in wanted.items() if one.state not in ('', PENDING)}
        _find_ended(facility, ended, found)
    except Exception as error:  # the single calls will say what is wrong, record by record
        portal = facility.facility_settings.get_setting('portal_url')
        logger.warning('%s has no lists for us (%s)', portal, type(error).__name__)
    for number, news in found.items():
        news.then, news.proposal = wanted[number].then, wanted[number].proposal
    return found


def wanted_of(due: Collection[int], window_began: datetime) -> Wanted:
    """What there is to ask about these records, by request number.

    `window_began`: a record that ended before that is checked for the last time.
    """
    wanted, keys = {}, list(due)
    for start in range(0, len(keys), CHUNK):
        some = keys[start : start + CHUNK]
        rows = ObservationRecord.objects.filter(pk__in=some).values_list(
            'observation_id', 'created', 'sync__status', 'sync__terminal_since',
            'sync__checked_at', 'status', *TIMES,
        )  # fmt: skip
        for observation_id, created, checked, terminal_since, checked_at, *then in rows:
            if not observation_id.isdecimal():
                continue  # and no request
            asked_since_its_end = (
                terminal_since and checked_at and window_began < terminal_since <= checked_at
            )
            one = _Wanted(
                since=(terminal_since or checked_at or created) - MARGIN,
                then=tuple(then),
                checked=checked if checked == then[0] else '',
                complete_until=window_began if asked_since_its_end else None,
            )
            twin = wanted.get(observation_id)
            if twin is not None and twin != one:  # what one of them knows, the other may not
                one.checked, one.complete_until, one.since = '', None, min(one.since, twin.since)
            wanted[observation_id] = one
    return wanted


def _in_state(wanted: Wanted, state: str) -> Wanted:
    return {number: one for number, one in wanted.items() if one.state == state}


def _find_pending(facility: OCSFacility, pending: Wanted, found: Found) -> None:
    if not pending:
        return
    filters = {'request_state': PENDING, 'modified_after': _ever(pending).isoformat()}
    if _read_blocks(facility, pending, **filters):
        for number, one in pending.items():
            with suppress(Exception):  # the time is not valid: the record is asked singly
                if _is_consistent(one):
                    found[number] = News(_answer(one), _begun(one.blocks))


def _read_ended(facility: OCSFacility, wanted: Wanted) -> None:
    """Give the requests that have ended their states: those of late, then, if need be, all."""
    unknown = _in_state(wanted, '')
    if len(unknown) < FEWEST:
        return
    since = min(one.since for one in unknown.values()).isoformat()
    whole = _read_states(facility, unknown, exclude_state=PENDING, modified_after=since)
    unknown = _in_state(unknown, '')
    if whole and len(unknown) >= FEWEST:
        _read_states(facility, unknown, exclude_state=PENDING)


def _find_ended(facility: OCSFacility, ended: Wanted, found: Found) -> None:
    """What is known of requests that have ended.

    First by all that their observations ever were. Where that is too long a list, by what changed
    since the last check.
    """
    if len(ended) < FEWEST:
        return
    states = sorted({one.state for one in ended.values()})
    of_late = min(one.since for one in ended.values())
    for since in (_ever(ended), of_late):
        filters = {'state': TELLING, 'request_state': states, 'modified_after': since.isoformat()}
        if _read_blocks(facility, ended, **filters):
            for number, one in ended.items():
                with suppress(Exception):  # as above
                    _note_ended(number, one, since, found)
            return


def _ever(wanted: Wanted) -> datetime:
    """Before any of the observations of these requests was last modified."""
    return min(one.created for one in wanted.values()) - MARGIN


def _note_ended(number: str, one: _Wanted, since: datetime, found: Found) -> None:
    """What the observations that changed after `since` say, where that is certain."""
    all_known = one.created >= since
    as_before = one.checked == one.state and one.complete_until is not None
    if not one.blocks and not (as_before and one.then[1:] == (None, None)):
        return  # an absence would be news
    if _is_consistent(one) and (all_known or _starts_from_last_check(one)):
        begun = not (all_known and as_before) or any(
            moment(block['end']) > one.complete_until for block in one.blocks
        )
        found[number] = News(_answer(one), begun)


def _starts_from_last_check(one: _Wanted) -> bool:
    """Whether what changed since the last check, and what that found, are all that matters.

    It found no times: then nothing was completed or pending. Or it found those of an observation
    that is completed and has changed since: then no earlier one was completed.
    """
    if not one.checked:
        return False
    done = [[moment(block['start']), moment(block['end'])] for block in _completed(one)]
    return one.then[1:] == (None, None) or list(one.then[1:]) in done


def _is_consistent(one: _Wanted) -> bool:
    """Whether its observations make sense, and it did not change its state between two lists."""
    return all(
        block['request'] == one.state and block['state'] in UNTOUCHED.union(TELLING)
        for block in one.blocks
    )


def _read_states(facility: OCSFacility, wanted: Wanted, **filters: str) -> bool:
    """Give the wanted requests whose groups pass `filters` their states; whether that is all."""
    rows = Rows(facility, '/api/requestgroups/', len(wanted), filters)
    for group in rows:
        for request in group['requests']:
            if (one := wanted.get(str(request['id']))) is not None:
                one.state, one.proposal = request['state'], group.get('proposal', '')
                one.created = moment(group['created'])
    return rows.whole


def _read_blocks(facility: OCSFacility, wanted: Wanted, **filters: str | list[str]) -> bool:
    """Give the wanted requests their observations that pass `filters`; whether that is all."""
    for _ in range(2):  # once more where it has shifted
        for one in wanted.values():
            one.blocks.clear()
        rows = Rows(facility, '/api/observations/', len(wanted), filters)
        for block in rows:
            if (one := wanted.get(str(block['request']['id']))) is not None:
                kept = {key: block[key] for key in ('id', 'state', 'start', 'end')}
                one.blocks.append(kept | {'request': block['request']['state']})
        if not rows.shifted:
            break
    return rows.whole


def _completed(one: _Wanted) -> list[dict]:
    return [block for block in one.blocks if block['state'] == COMPLETED]


def _answer(one: _Wanted) -> dict:
    """State and schedule as tomtoolkit finds them: what was completed, or else is to come."""
    pending = [block for block in one.blocks if block['state'] == PENDING]
    chosen = min(_completed(one), key=lambda block: block['id'], default=None)
    chosen = chosen or max(pending, key=lambda block: block['id'], default={})
    times = {f'scheduled_{edge}': chosen.get(edge) for edge in ('start', 'end')}
    return {'state': one.state, **times}


def _begun(blocks: list[dict]) -> bool:
    """Whether any of these observations may have taken a frame."""
    now = timezone.now()
    return any(block['state'] not in UNTOUCHED or parse(block['start']) <= now for block in blocks)
