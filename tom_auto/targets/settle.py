"""What became of submissions that have no clear end, and the records that they lack.

A portal of LCO's kind is asked for the request groups of that name and time. What it does not
settle is for a person to settle.
"""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urljoin

from dateutil.parser import parse
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from guardian.shortcuts import assign_perm, get_groups_with_perms
from tom_observations.facilities.ocs import OCSFacility, make_request
from tom_observations.facility import get_service_class
from tom_observations.models import ObservationRecord

from ..models import Submission
from ..sync.facilities import Stock, facility_classes, is_stock
from .submissions import IN_HAND

AROUND = timedelta(hours=1)  # of the intent: clocks differ, and a portal may be slow
SURE_AFTER = timedelta(minutes=5)  # what a portal does not show by then, it has not accepted
SKEW = timedelta(minutes=10)  # clocks that differ by more settle nothing
MOST_GROUPS = 200
State = Submission.State


def open_submissions() -> list[Submission]:
    """Those of earlier runs that have no clear end. No other run is at work."""
    Submission.objects.filter(state=State.INTENDED).update(state=State.UNCERTAIN)
    found = Submission.objects.filter(state__in=IN_HAND).order_by('pk')
    return list(found.select_related('cadence__observation_group', 'trigger'))


def look_up(intent: Submission) -> bool:
    """Settle `intent` by what its portal shows; whether that was possible."""
    facility_class = facility_classes()[0].get(intent.facility)
    if facility_class is None or not is_stock(facility_class):
        return False
    if not issubclass(facility_class, OCSFacility) or not intent.name:
        return False
    numbers = _numbers_at(Stock(intent.facility, facility_class), intent)
    if numbers:
        accept(intent, numbers)
    elif numbers == []:
        reject(intent, 'the portal does not know it')
    return numbers is not None


def accept(intent: Submission, numbers: list[str]) -> None:
    """It was accepted, under these numbers."""
    intent.state, intent.observation_ids, intent.error = State.SUBMITTED, numbers, ''
    intent.save(update_fields=['state', 'observation_ids', 'error'])
    complete(intent)


def reject(intent: Submission, reason: str) -> None:
    """It was not accepted: its trigger is free again."""
    intent.state, intent.error = State.REFUSED, reason
    intent.save(update_fields=['state', 'error'])


def _numbers_at(stock: Stock, intent: Submission) -> list[str] | None:
    """The request numbers that the portal shows for `intent`; None if it settles nothing."""
    filters = {
        'name': intent.name, 'limit': MOST_GROUPS,
        'created_after': (intent.created - AROUND).isoformat(),
        'created_before': (intent.created + AROUND).isoformat(),
    }  # fmt: skip
    url = f'{urljoin(stock.portal, "/api/requestgroups/")}?{urlencode(filters)}'
    answer = make_request('GET', url, headers=stock.ocs._portal_headers())
    listed, now = answer.json(), timezone.now()
    if listed['next'] or abs(_time_of(answer.headers, now) - now) > SKEW:
        return None
    groups = [_new_numbers(group, intent) for group in listed['results']]
    groups = [numbers for numbers in groups if numbers]
    if len(groups) == 1:
        return groups[0]
    is_sure = not groups and now - intent.created > SURE_AFTER
    return [] if is_sure else None


def _new_numbers(group: dict, intent: Submission) -> list[str]:
    """The requests of `group`, if it may be what was sent: no record of this TOM has one."""
    proposal = intent.payload.get('proposal') if isinstance(intent.payload, dict) else None
    near = abs(parse(group['created']) - intent.created) < AROUND
    if group['name'] != intent.name or group.get('proposal') != proposal or not near:
        return []
    numbers = [str(request['id']) for request in group['requests']]
    known = ObservationRecord.objects.filter(facility=intent.facility, observation_id__in=numbers)
    return [] if known.exists() else numbers


def _time_of(headers: dict, now: datetime) -> datetime:
    try:
        return parsedate_to_datetime(headers['Date'])
    except (KeyError, TypeError, ValueError):
        return now


def complete(intent: Submission) -> None:
    """Make the records that an accepted submission lacks, and give all of them their rights."""
    group, trigger = intent.cadence.observation_group, intent.trigger
    with transaction.atomic():
        for number in intent.observation_ids:
            record, _ = ObservationRecord.objects.get_or_create(
                facility=intent.facility,
                observation_id=number,
                defaults={'target_id': trigger.target_id, 'parameters': _parameters(intent)},
            )
            group.observation_records.add(record)
            if record.user_id is None and trigger.user_id is not None:
                ObservationRecord.objects.filter(pk=record.pk).update(user=trigger.user_id)
            _copy_rights(trigger, record)
        intent.state = State.RECORDED
        intent.save(update_fields=['state'])


def _parameters(intent: Submission) -> dict:
    """What the form was filled in with: as for the trigger, in the window that was sent."""
    start, end = get_service_class(intent.facility)().get_start_end_keywords()
    parameters = dict(intent.trigger.parameters)
    try:
        window = intent.payload['requests'][0]['windows'][0]
        return parameters | {start: window['start'], end: window['end']}
    except (KeyError, IndexError, TypeError):
        return parameters


def _copy_rights(trigger: ObservationRecord, record: ObservationRecord) -> None:
    if getattr(settings, 'TARGET_PERMISSIONS_ONLY', True):
        return
    for group, given in get_groups_with_perms(trigger, attach_perms=True).items():
        for right in given:
            assign_perm(f'tom_observations.{right}', group, record)
