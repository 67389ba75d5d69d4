"""What a portal of LCO's kind shows that may be a submission: the request groups of its name."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import requests
from dateutil.parser import parse
from django.db.models import QuerySet
from tom_observations.facilities.ocs import OCSFacility
from tom_observations.models import ObservationRecord

from ..conf import automation
from ..errors import NotFound, SyncError, Uncertain
from ..explain import explained
from ..models import Submission
from ..observatories.facilities import Stock, facility_classes, is_stock
from ..observatories.portal_pages import PAGE, get_from
from .listed_as_sent import agrees
from .portals import portal_of, sharing_a_portal
from .submissions import IN_HAND

AROUND = timedelta(hours=1)  # of the intent: clocks differ, and a portal may be slow
LONGEST_WAIT = 15  # seconds: a run that waits past its deadline still has to say what is open


def stock_of(intent: Submission) -> Stock | None:
    """The portal that can be asked about `intent`: the one that it was sent to, where that is known."""
    own = facility_classes()[0].get(intent.facility)
    can_be_asked = own is not None and is_stock(own) and issubclass(own, OCSFacility)
    if not (can_be_asked and intent.name):
        return None
    is_another = intent.portal and intent.portal != portal_of(intent.facility, own)
    return None if is_another else Stock(intent.facility, own)


@dataclass
class Listed:
    """A request group that a portal lists under the name of a submission.

    `others`: the open submissions besides it that the group may be as well. `holder`: the one that has
    become the group, and whether that was sent like it. `was_here`: a record of it is older than the
    submission, as far as this machine's clock was right.
    """

    numbers: list[str]
    is_as_sent: bool
    others: list[int]
    holder: int | None
    is_as_holder_sent: bool
    was_here: bool

    @property
    def is_free(self) -> bool:
        """Whether nothing says that it is another's."""
        return self.holder is None and not self.was_here

    def sentence(self) -> str:
        numbers = ', '.join(self.numbers)
        if not self.is_as_sent:
            return f'{numbers} has its name, and is not as it was sent'
        if self.holder is not None:
            return f'{numbers} is as it was sent, and is noted as submission {self.holder}'
        if self.was_here:
            return f'{numbers} is as it was sent, and its record here is older'
        others = ''.join(f', or submission {pk}' for pk in self.others)
        return f'it may be {numbers}{others}'


@dataclass
class Shown:
    """The groups at a portal that may be a submission. `at`: when that was, by the portal's clock."""

    groups: list[Listed]
    at: datetime | None


def shown_at(stock: Stock, intent: Submission) -> Shown:
    """What the portal shows that may be `intent`, whenever it was made. Raises Uncertain if it shows too much.

    This machine's clock may have been wrong as it was sent, after a sleep for one. So it counts for
    nothing here: the portal's own says what is older than the observation because of which it was sent.
    """
    query = {'name': intent.name.strip(), 'limit': PAGE}
    if proposal := _proposal(intent):
        query['proposal'] = proposal
    answer = _asked(stock, '/api/requestgroups/', query)
    listed = answer.json()
    if listed['next']:
        raise Uncertain(f'{intent.facility} lists too many requests of its name')
    named = [group for group in listed['results'] if _has_its_name(group, intent)]
    groups = _after_its_trigger(named, intent)
    holders = _holders(intent) if groups else {}
    account = _account(stock).get('username') if groups else None
    shown = [_listed(group, intent, account, holders) for group in groups]
    its = [one for one in shown if one.is_as_sent or one.is_free]
    return Shown(its, _time_of(answer.headers))


def _after_its_trigger(groups: list[dict], intent: Submission) -> list[dict]:
    """Those that are not older than the observation because of which `intent` was sent.

    All others, if that is not among them.
    """
    of_trigger = [group for group in groups if intent.trigger_number in _numbers_of(group)]
    begun = [parse(group['created']) for group in of_trigger]
    others = [group for group in groups if group not in of_trigger]
    return [group for group in others if not begun or parse(group['created']) >= max(begun)]


def _listed(
    group: dict, intent: Submission, account: str | None, holders: dict[str, int]
) -> Listed:
    numbers = _numbers_of(group)
    others = Submission.objects.exclude(pk=intent.pk).filter(
        state__in=IN_HAND, facility__in=sharing_a_portal(intent.facility)
    )
    its = [one.pk for one in others if _is_like(group, one)]
    holder = next((holders[number] for number in numbers if number in holders), None)
    by = group.get('submitter')
    is_of_another = bool(account and by) and by != account
    return Listed(
        numbers,
        not is_of_another and agrees(intent.payload, group),
        its,
        holder,
        any(_is_like(group, one) for one in Submission.objects.filter(pk=holder)),
        was_here(numbers, intent),
    )


def _is_like(group: dict, intent: Submission) -> bool:
    return _has_its_name(group, intent) and agrees(intent.payload, group)


def _asked(stock: Stock, path: str, query: dict[str, object]) -> requests.Response:
    limits = automation()
    wait = min(limits.CONNECT_TIMEOUT, LONGEST_WAIT), min(limits.READ_TIMEOUT, LONGEST_WAIT)
    return get_from(stock.ocs, 'portal_url', path, query, timeout=wait)


def _account(stock: Stock) -> dict:
    return _asked(stock, '/api/profile/', {}).json()


def why_an_absence_proves_nothing(stock: Stock, intent: Submission) -> str:
    """Why `intent` may have been accepted although the portal does not list it; empty if it cannot."""
    if not intent.portal:
        words = 'does not list it as the cadence gave it, and its class may have sent it otherwise'
        return f'{intent.facility} {words}'
    return what_the_account_does_not_see(stock, intent)


def what_the_account_does_not_see(stock: Stock, intent: Submission) -> str:
    """That a request of its proposal may be hidden from the account; empty if it cannot be."""
    account = _account(stock)
    sees_its_own_only = (account.get('profile') or {}).get('view_authored_requests_only')
    proposals = {str(proposal['id']) for proposal in account['proposals']}
    if _proposal(intent) in proposals and not sees_its_own_only:
        return ''
    return f'{intent.facility} does not show this account all requests of the proposal'


def why_it_may_be_there(intent: Submission) -> str:
    """Why the portal may have what `intent` was accepted as; empty if it has said that it has not.

    Or if there is no portal that could be asked: then what a person has seen counts.
    """
    if (stock := stock_of(intent)) is None:
        words = f'{intent.facility}, as it is set up now, is not where it was accepted'
        return words if intent.portal else ''
    for number in intent.observation_ids:
        try:
            stock.status(number)
        except NotFound:
            continue
        except SyncError as error:
            return f'nobody can tell whether it is there: {error}'
        return f'{intent.facility} has it as {number}'
    try:
        return what_the_account_does_not_see(stock, intent)
    except Exception as error:
        return f'nobody can tell whether it is there: {explained(error, intent.facility)}'


def _proposal(intent: Submission) -> object:
    return intent.payload.get('proposal') if isinstance(intent.payload, dict) else None


def may_be(intent: Submission, name: str, proposal: object, created: datetime) -> bool:
    """Whether a request of a portal may be what was sent."""
    is_near = abs(created - intent.created) < AROUND
    return is_near and _is_called(name, proposal, intent)


def _is_called(name: str, proposal: object, intent: Submission) -> bool:
    """Whether that is what was sent; a portal takes blanks off the ends of a name."""
    return name.strip() == intent.name.strip() and proposal == _proposal(intent)


def _has_its_name(group: dict, intent: Submission) -> bool:
    return _is_called(group['name'], group.get('proposal'), intent)


def _numbers_of(group: dict) -> list[str]:
    return [str(request['id']) for request in group['requests']]


def was_here(numbers: list[str], intent: Submission) -> bool:
    """Whether one of these requests had a record before `intent` was sent."""
    return records_of(intent.facility, numbers).filter(created__lt=intent.created).exists()


def are_of_another(numbers: list[str], intent: Submission) -> bool:
    """Whether one of these requests is what another submission has become."""
    return not _holders(intent).keys().isdisjoint(numbers)


def _holders(intent: Submission) -> dict[str, int]:
    """The requests of all other submissions to its portal, and whose they are.

    Whenever that was: a person may have settled one with a request that is much older, or newer.
    """
    others = Submission.objects.exclude(pk=intent.pk).exclude(observation_ids=[])
    its = others.filter(facility__in=sharing_a_portal(intent.facility))
    rows = its.values_list('pk', 'observation_ids')
    return {number: pk for pk, numbers in rows.iterator() for number in numbers}


def records_of(facility: str, numbers: list[str]) -> QuerySet[ObservationRecord]:
    facilities = sharing_a_portal(facility)
    return ObservationRecord.objects.filter(facility__in=facilities, observation_id__in=numbers)


def _time_of(headers: dict) -> datetime | None:
    try:
        return parsedate_to_datetime(headers['Date'])
    except (KeyError, TypeError, ValueError):
        return None
