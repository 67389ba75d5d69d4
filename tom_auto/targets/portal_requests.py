"""What the portals of LCO's kind list for each account: its proposals, and their requests.

Measured: the list is ordered by number, newest first, so what is added meanwhile moves the rest
down; it shows the requests of public proposals as well, so each proposal is asked for by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial

from django.contrib.auth.models import User
from tom_observations.models import ObservationRecord

from ..errors import BadAnswer, NoKey, SyncError, Unsupported
from ..explain import explained
from ..observatories.asked_class import Asked
from ..observatories.facilities import Stock, is_stock, overrides
from ..observatories.facility_process import ClassProcess
from ..observatories.portal_pages import PAGE, get_from
from .portal_rows import OddRequest, PortalRequest, key_of, rows_of
from .portals import sharing_a_portal, with_lists

#: What the methods of `AtPortal` ask for.
CALLS = {'proposals': 'proposals', 'page': 'requests'}


@dataclass(frozen=True)
class Page:
    """A page of request groups: what tells each from the others, newest first, and their requests."""

    groups: list[str]
    requests: list[list[PortalRequest | OddRequest]]
    is_last: bool


class AtPortal(Asked):
    """The portal of a facility class of LCO's kind."""

    def proposals(self, user: User | None) -> list[str]:
        """The proposals of the account."""
        profile = self._get(user, '/api/profile/', {})
        return [str(proposal['id']) for proposal in profile['proposals']]

    def page(self, user: User | None, proposal: str, since: datetime | None, offset: int) -> Page:
        """The groups of `proposal` that were created after `since`, from `offset` on."""
        query = {'proposal': proposal, 'limit': PAGE, 'offset': offset}
        if since:
            query['created_after'] = since.isoformat()
        answer = self._get(user, '/api/requestgroups/', query)
        # A filter that the portal does not know is ignored in silence.
        groups = answer['results']
        its = [group.get('proposal') or proposal for group in groups if isinstance(group, dict)]
        if set(map(str, its)) - {proposal}:
            raise BadAnswer(f'{self.name} lists requests of other proposals than {proposal}')
        return Page(list(map(key_of, groups)), list(map(rows_of, groups)), not answer['next'])

    def _get(self, user: User | None, path: str, query: dict) -> dict:
        facility = self._facility(user)
        ocs = getattr(facility, 'lco_facility', facility)
        return get_from(ocs, 'portal_url', path, query).json()


@dataclass(frozen=True)
class Account:
    """One account at a portal. `names`: the facilities of this TOM that use it, the first of which
    asks; `ask` calls a method of `AtPortal`.
    """

    names: tuple[str, ...]
    ask: Callable[..., object]
    user: User | None = None

    @cached_property
    def sharing(self) -> tuple[str, ...]:
        """All facilities of its portal, with whatever account: a request there is one request."""
        return sharing_a_portal(self.names[0])

    def proposals(self) -> list[str]:
        """Its proposals. Raises SyncError, as does `pages`."""
        return self._asked('proposals')

    def pages(
        self, proposal: str, since: datetime | None
    ) -> Iterator[list[PortalRequest | OddRequest]]:
        """All its requests of `proposal` created after `since`, a page at a time, newest first.

        Each page begins with the last group of the one before, which shows that none was missed.
        """
        page, offset = self._asked('page', proposal, since, 0), 0
        yield [one for group in page.requests for one in group]
        while not page.is_last:
            last, offset = page.groups[-1], offset + len(page.groups) - 1
            page = self._asked('page', proposal, since, offset)
            if last not in page.groups:
                raise BadAnswer(f'{self.names[0]} took requests off the list while it was read')
            new = page.groups.index(last) + 1
            if not page.groups[new:]:
                return
            yield [one for group in page.requests[new:] for one in group]

    def facility_of(self, request: PortalRequest) -> str:
        """Which of its facilities `request` is for: SOAR and BLANCO name their instruments so."""
        instrument = request.instrument.upper()
        its_own = (name for name in self.names if instrument.startswith(name.upper()))
        return next(its_own, self.names[0])

    def _asked(self, method: str, *arguments: object) -> object:
        try:
            return self.ask(method, self.user, *arguments)
        except SyncError:
            raise
        except Exception as error:
            raise explained(error, self.names[0]) from error


class Accounts:
    """The accounts that this TOM has at portals of LCO's kind, by what the settings say.

    One key is one account, whatever the facilities that share it. A class that has credentials for
    each user has an account for each who has observed with it, and works in a process of its own.
    """

    def __init__(self, facilities: tuple[str, ...], seconds: Callable[[], float]) -> None:
        """`facilities`: only these, unless empty; `seconds`: how long a call may take."""
        self.found: list[Account] = []
        self.unusable: list[SyncError] = []  # why no account can be had
        self._processes: list[ClassProcess] = []
        classes = with_lists()
        chosen = [name for name in classes if name in facilities or not facilities]
        stock = {name: own for name, own in classes.items() if is_stock(own)}
        self._find_stock(stock, chosen)
        for name in chosen:
            if not is_stock(classes[name]):
                self._put_to_work(name, classes[name], seconds)

    def _find_stock(self, classes: dict[str, type], chosen: list[str]) -> None:
        """Whichever facilities are chosen, a request may be for any of its account."""
        shared: dict[tuple[str, str], list[Stock]] = {}
        for name, own in classes.items():
            try:
                stock = Stock(name, own)
            except Unsupported as error:
                self.unusable.append(error)
            else:
                shared.setdefault((stock.portal, stock.key), []).append(stock)
        for (_, key), stocks in shared.items():
            first = next((stock for stock in stocks if stock.name in chosen), None)
            if first is None:
                continue
            if not key:
                words = f'{first.name} shows its requests only to their owner: {first.wants_key}'
                self.unusable.append(NoKey(words))
                continue
            portal = AtPortal(first.name, classes[first.name])
            ask = partial(_ask_here, portal)
            self.found.append(Account(tuple(stock.name for stock in stocks), ask))
        if self.found:  # one that nobody uses is no failure
            self.unusable.clear()

    def _put_to_work(self, name: str, own: type, seconds: Callable[[], float]) -> None:
        process = ClassProcess(name, own, AtPortal, CALLS)
        process.start()
        self._processes.append(process)
        users: list[User | None] = [None]
        if overrides(own, 'set_user'):
            records = ObservationRecord.objects.filter(facility=name, user__isnull=False)
            its = User.objects.filter(pk__in=records.values('user')).order_by('pk')
            users = list(its) or users
        ask = partial(_ask_there, process, seconds)
        self.found += [Account((name,), ask, user) for user in users]

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()


def _ask_here(portal: AtPortal, method: str, *arguments: object) -> object:
    return getattr(portal, method)(*arguments)


def _ask_there(
    process: ClassProcess, seconds: Callable[[], float], method: str, *arguments: object
) -> object:
    process.restart_if_dead()
    return process.call(method, *arguments, seconds=seconds())
