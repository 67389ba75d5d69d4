"""People, requests, and the schedule of observations."""

import itertools
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

from .model import REQUEST_STATES, TELESCOPES, Account, Observation, Request, RequestGroup

PROPOSAL = 'DEMO2026'
TOKEN = 'demo-token'

Window = tuple[datetime, datetime]


class Timetable:
    """People, requests and observations; one lock guards them all.

    Time is `clock()` plus whatever `advance` added. Nothing happens by itself, so no request
    expires. `token` belongs to a member of `proposal`.
    """

    def __init__(
        self,
        *,
        token: str = TOKEN,
        proposal: str = PROPOSAL,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.token = token
        self.proposal = proposal
        self.accounts: dict[str, Account] = {}
        self.public: set[str] = set()  # proposals that everyone sees
        self.groups: dict[int, RequestGroup] = {}
        self.requests: dict[int, Request] = {}
        self.observations: dict[int, Observation] = {}
        self._clock = clock or (lambda: datetime.now(UTC))
        self._ahead = timedelta(0)
        self._ids = itertools.count(1)
        self.add_token(token, proposals=[proposal], username='demo')

    # --- time ---

    def now(self) -> datetime:
        """The time at the observatory."""
        return self._clock() + self._ahead

    def advance(self, **time: float) -> None:
        """Let time pass: `advance(hours=49)`, with the words of timedelta."""
        self._ahead += timedelta(**time)

    # --- people ---

    def add_token(self, token: str, *, proposals: Collection[str], username: str) -> Account:
        """A token of a person who belongs to `proposals`."""
        self.accounts[token] = Account(username, set(proposals))
        return self.accounts[token]

    def revoke(self, token: str) -> None:
        """From now on the portal refuses `token`, and the archive takes it for nobody's."""
        self.accounts[token].revoked = True

    def account(self, token: str | None) -> Account | None:
        """Whose `token` this is, if it still is anyone's."""
        account = self.accounts.get(token) if token is not None else None
        return account if account and not account.revoked else None

    def may_see(self, account: Account | None, proposal: str) -> bool:
        """Whether `account` (None: nobody) may see what belongs to `proposal`."""
        return proposal in self.public or (account is not None and proposal in account.proposals)

    # --- requests and their observations ---

    def add_request(
        self,
        request_id: int | None = None,
        *,
        state: str = 'PENDING',
        proposal: str | None = None,
        group: int | None = None,
        name: str | None = None,
        submitter: str = 'demo',
        target: str = 'M 31',
        ra: float = 10.6847,
        dec: float = 41.269,
        site: str = 'coj',
        instrument_type: str = '1M0-SCICAM-SINISTRO',
        filter: str = 'rp',
        exposure: float = 60.0,
        windows: Sequence[Window] = (),
    ) -> Request:
        """A request for `target` (degrees, seconds), in a request group of its own or in `group`.

        Without `windows` it may be observed from now on, for a week.
        """
        with self.lock:
            now = self.now()
            request_id = self._unused(self.requests) if request_id is None else request_id
            if request_id in self.requests:
                raise ValueError(f'There is already a request {request_id}.')
            group_id = self._unused(self.groups) if group is None else group
            its_group = self.groups.get(group_id) or RequestGroup(
                id=group_id,
                name=name or f'{target} {request_id}',
                proposal=proposal or self.proposal,
                submitter=submitter,
                created=now,
            )
            request = Request(
                id=request_id,
                group=its_group,
                state=_known(state),
                target=target,
                ra=ra,
                dec=dec,
                instrument_type=instrument_type,
                telescope=TELESCOPES[site],
                filter=filter,
                exposure=exposure,
                windows=list(windows) or [(now, now + timedelta(days=7))],
                created=now,
                modified=now,
            )
            its_group.requests.append(request)
            self.groups[group_id] = its_group
            self.requests[request_id] = request
            return request

    def set_state(self, request_id: int, state: str) -> None:
        """Move a request to `state`, from any other: none of them is final."""
        with self.lock:
            request = self.requests[request_id]
            request.state, request.modified = _known(state), self.now()

    def schedule(
        self, request_id: int, start: datetime | None = None, minutes: float = 5
    ) -> Observation:
        """Give a request a place in the schedule.

        Measured: this leaves the `modified` of the request as it was.
        """
        with self.lock:
            request, now = self.requests[request_id], self.now()
            start = start or now + timedelta(hours=1)
            end = start + timedelta(minutes=minutes)
            number = self._unused(self.observations)
            observation = Observation(
                number, request_id, request.telescope, start, end, 'PENDING', now, now
            )
            request.observations.append(observation)
            self.observations[number] = observation
            return observation

    def unschedule(self, request_id: int) -> None:
        """Delete the pending observations of a request, as each new schedule does."""
        with self.lock:
            request = self.requests[request_id]
            gone = [one for one in request.observations if one.state == 'PENDING']
            request.observations = [one for one in request.observations if one not in gone]
            for observation in gone:
                del self.observations[observation.id]

    def reject(self, request_id: int) -> None:
        """Judge the data bad: what was COMPLETED goes back to PENDING."""
        with self.lock:
            for observation in self.requests[request_id].observations:
                if observation.state == 'COMPLETED':
                    observation.state, observation.modified = 'BAD_DATA', self.now()
            self.set_state(request_id, 'PENDING')

    def observe(self, request_id: int, at: datetime) -> Observation:
        """The pending observation of a request, or a new one, ran at `at` and was COMPLETED."""
        with self.lock:
            pending = [
                one for one in self.requests[request_id].observations if one.state == 'PENDING'
            ]
            observation = pending[-1] if pending else self.schedule(request_id)
            length = observation.end - observation.start
            observation.start, observation.end = at, at + length
            observation.state, observation.modified = 'COMPLETED', self.now()
            self.set_state(request_id, 'COMPLETED')
            return observation

    def _unused(self, taken: Collection[int]) -> int:
        return next(number for number in self._ids if number not in taken)


def _known(state: str) -> str:
    if state not in REQUEST_STATES:
        raise ValueError(f'{state!r} is no state of a request: {", ".join(REQUEST_STATES)}.')
    return state
