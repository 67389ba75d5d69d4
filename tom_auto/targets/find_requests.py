"""One run of `findrequests`: which requests of the account's proposals no record has.

Whatever was submitted on the observatory's own page, or by a script, is not in the TOM until
somebody adds it.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from django.utils import timezone
from tom_observations.models import ObservationRecord

from .. import errors
from ..conf import Automation
from ..explain import explained
from ..models import UpdateRun
from ..running import runs
from ..running.failures import fail
from ..running.outcomes import Outcome, Report
from ..running.recorded_run import recorded_run
from .known_requests import known_among
from .matches import Matches
from .one_record import MadeMeanwhile, recording
from .portal_requests import Account, Accounts
from .portal_rows import OddRequest, PortalRequest
from .report import RequestsReport
from .rights import share

COMMAND = 'findrequests'


@dataclass(frozen=True)
class Search:
    """What a run looks for. `add`: make records of what it finds; `limit`: that many at most."""

    proposals: tuple[str, ...] = ()
    facilities: tuple[str, ...] = ()
    since: timedelta | None = None
    limit: int | None = None
    add: bool = False

    def words(self) -> str:
        """What the run is limited to beside its proposals, which are its job; or empty."""
        limit = [f'{self.limit} requests'] if self.limit else []
        return ', '.join([*self.facilities, *limit])


def find_requests(
    search: Search,
    limits: Automation,
    progress: Callable[[Report], None] = lambda report: None,
    begun: Callable[[], None] = lambda: None,
    job: str = COMMAND,
) -> RequestsReport:
    """Look for requests that no record has; with `search.add` make records of those that match.

    Without it nothing is written. Raises AnotherRun if a run that adds is in progress. Otherwise
    whatever happens to a request, a proposal or an account is in the report.
    """
    report = RequestsReport(adds=search.add)
    recorded = recorded_run(job, COMMAND, report, limits, search.words(), begun, not search.add)
    with recorded as (run, deadline):
        _Run(run, report, limits, deadline, search).go()
    return report


class _Run:
    def __init__(
        self,
        run: UpdateRun | None,
        report: RequestsReport,
        limits: Automation,
        deadline: float,
        search: Search,
    ) -> None:
        self._run, self._report, self._search = run, report, search
        self._limits, self._deadline = limits, deadline
        #: By the facilities of a portal: two accounts may see the same request.
        self._seen: dict[frozenset[str], set[str]] = {}

    def go(self) -> None:
        accounts = Accounts(self._search.facilities, self._seconds)
        with runs.heartbeat(self._run, self._report), closing(accounts):
            for error in accounts.unusable:
                self._not_read(error, '', '')
            proposals = self._proposals_of(accounts.found)
            self._matches = Matches()
            for account, its in proposals:
                if self._report.is_cut:
                    self._report.not_reached += len(its)
                else:
                    self._read_account(account, its)

    def _seconds(self) -> float:
        return max(0.1, min(self._limits.TRANSFER_TIMEOUT, self._deadline - monotonic()))

    def _proposals_of(self, accounts: list[Account]) -> list[tuple[Account, list[str]]]:
        """The proposals to read at each account; those that nobody has are failures."""
        wanted, found = set(self._search.proposals), []
        for account in accounts:
            try:
                its = account.proposals()
            except Exception as error:
                self._not_read(error, account.names[0], str(account.user or ''))
                continue
            known = self._report.proposals.setdefault(account.names[0], [])
            known += [proposal for proposal in its if proposal not in known]
            found.append((account, [one for one in its if one in wanted or not wanted]))
        self._report.due += sum(len(its) for _, its in found)
        there = {proposal for its in self._report.proposals.values() for proposal in its}
        for proposal in sorted(wanted - there):
            choice = ', '.join(sorted(there)) or 'none'
            words = f'no account of this TOM has this proposal. The proposals are: {choice}'
            self._not_read(errors.NoProposal(words), '', proposal)
        return found

    def _read_account(self, account: Account, proposals: list[str]) -> None:
        for number, proposal in enumerate(proposals):
            trouble = self._read(account, proposal)
            if (
                isinstance(trouble, (*errors.OF_THE_SERVICE, errors.OutOfTime))
                or self._report.is_cut
            ):
                self._report.not_reached += len(proposals) - number - 1
                return

    def _read(self, account: Account, proposal: str) -> Exception | None:
        since = timezone.now() - self._search.since if self._search.since else None
        try:
            if monotonic() > self._deadline:
                raise errors.OutOfTime('not reached before the deadline')
            for requests in account.pages(proposal, since):
                self._take(account, requests)
                if self._report.is_cut:
                    break
                if monotonic() > self._deadline:
                    raise errors.OutOfTime('not read to its end before the deadline')
        except errors.AnotherRun:
            raise
        except Exception as error:
            return self._not_read(error, account.names[0], proposal, is_due=True)
        self._report.checked += 1
        return None

    def _take(self, account: Account, requests: Iterable[PortalRequest | OddRequest]) -> None:
        seen = self._seen.setdefault(frozenset(account.sharing), set())
        requests = [request for request in requests if request.number not in seen]
        known = known_among(requests, account.sharing)
        for request in requests:
            seen.add(request.number)
            self._report.found += 1
            if request.number in known:
                self._report.known += 1
            elif isinstance(request, OddRequest):
                words = f'{account.names[0]} lists it in an unusual way: {request.fault}'
                self._cannot_take(errors.BadAnswer(words), account, request)
            else:
                self._take_unknown(account, request)
            if self._search.limit and len(self._report.requests) >= self._search.limit:
                self._report.is_cut = True
                return

    def _take_unknown(self, account: Account, request: PortalRequest) -> None:
        facility = account.facility_of(request)
        try:
            match = self._matches.match(request)
        except Exception as error:  # of the TOM's own match manager
            self._cannot_take(explained(error, facility), account, request)
            return
        if self._search.add and match.target:
            try:
                if not self._add(account, request, facility, match.target):
                    self._report.known += 1
                    return
                self._report.saved += 1
            except errors.AnotherRun:
                raise
            except Exception as error:
                self._report.matched += 1
                self._report.refused += 1
                self._fail(explained(error, facility), facility, request.number)
                return
        self._report.matched += bool(match.target)
        self._report.unmatched += not match.target
        if self._search.add and not match.target:
            return
        self._report.requests.append({
            'facility': facility, 'request': request.number, 'proposal': request.proposal,
            'state': request.state, 'created': request.created, 'name': request.name,
            'points_at': [place.name for place in request.places],
            'target': match.target or None, 'target_name': self._matches.title(match.target),
            'by': match.how,
        })  # fmt: skip

    def _cannot_take(
        self, error: errors.SyncError, account: Account, request: PortalRequest | OddRequest
    ) -> None:
        self._report.odd += 1
        self._fail(error, account.names[0], request.number)

    def _add(self, account: Account, request: PortalRequest, facility: str, target: int) -> bool:
        """Make the record of `request`, unless somebody has meanwhile; whether this has."""
        told = {'name': request.name, 'proposal': request.proposal, **request.window}
        try:
            with recording() as made:
                runs.claim(self._run.pk)
                if known_among([request], account.sharing):
                    return False
                record = ObservationRecord.objects.create(
                    target_id=target, facility=facility, observation_id=request.number,
                    parameters=told, user=account.user,
                )  # fmt: skip
                share(record.target, record)
                made.append(record)
        except MadeMeanwhile:
            return False
        return True

    def _not_read(
        self, error: Exception, facility: str, proposal: str, is_due: bool = False
    ) -> errors.SyncError:
        self._report.due += not is_due
        self._report.not_read += 1
        known = explained(error, facility)
        self._fail(known, facility, '' if isinstance(known, errors.OF_THE_SERVICE) else proposal)
        return known

    def _fail(self, error: errors.SyncError, facility: str, what: str) -> None:
        outcome = Outcome(facility, observation_id=what, error=str(error), kind=error.kind)
        fail(self._run, self._report, outcome)
