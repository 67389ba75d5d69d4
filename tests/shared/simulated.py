"""The simulated observatory as the tests use it: things go wrong, and somebody changes their mind."""

import re
from dataclasses import dataclass

from faults import Fault
from tom_auto import simulator
from tom_auto.simulator.messages import Call, Reply, html_reply
from tom_auto.simulator.model import Frame, Version


@dataclass
class Break:
    """A fault in place: how often it may still happen (None: always), and how often it has."""

    where: re.Pattern[str]
    fault: Fault
    times: int | None
    arrives: bool
    happened: int = 0


class Observatory(simulator.Observatory):
    """An observatory that can be broken.

    with Observatory() as sky:
        sky.add_request(1234, target='M 31')
        sky.break_('/frames/', faults.status(503, retry_after=30), times=2)
        assert len(sky.requests_seen) == 7
    """

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.breaks: list[Break] = []

    def break_(
        self, where: str, fault: Fault, times: int | None = None, arrives: bool = True
    ) -> Break:
        """From now on, the next `times` requests (None: all) for `where` meet `fault`.

        If it `arrives`, a request that changes something has changed it before the fault.

        `where` is matched against path and query from their beginning, as a regular expression:
        '/api/', '/frames/', '/store/.*-e91'. Of several breaks the oldest that still holds wins.
        """
        broken = Break(re.compile(where), fault, times, arrives)
        with self.lock:
            self.breaks.append(broken)
        return broken

    def mend(self) -> None:
        """Remove all faults."""
        with self.lock:
            self.breaks.clear()

    def answer(self, call: Call) -> Reply:
        """The right answer, or what a fault makes of it."""
        with self.lock:
            broken = self._broken(call)
        if broken and not broken.arrives:
            return broken.fault(call, html_reply('It did not arrive.'))
        reply = super().answer(call)
        return broken.fault(call, reply) if broken else reply

    def _broken(self, call: Call) -> Break | None:
        for broken in self.breaks:
            if broken.times != broken.happened and broken.where.match(call.target):
                broken.happened += 1
                return broken
        return None

    def revoke(self, token: str) -> None:
        """From now on the portal refuses `token`, and the archive takes it for nobody's."""
        self.accounts[token] = None

    def unschedule(self, request_id: int) -> None:
        """Delete the pending observations of a request, as each new schedule does."""
        with self.lock:
            request = self.requests[request_id]
            for observation in [one for one in request.observations if one.state == 'PENDING']:
                request.observations.remove(observation)
                del self.observations[observation.id]

    def set_observation(self, number: int, state: str) -> None:
        """Move an observation to `state`: its request stays as it is, and so does its `modified`."""
        with self.lock:
            observation = self.observations[number]
            observation.state, observation.modified = state, self.now()

    def reject(self, request_id: int) -> None:
        """Judge the data bad: what was COMPLETED goes back to PENDING."""
        with self.lock:
            for observation in self.requests[request_id].observations:
                if observation.state == 'COMPLETED':
                    observation.state, observation.modified = 'BAD_DATA', self.now()
            self.set_state(request_id, 'PENDING')

    def reprocess(self, frame: Frame, *, content: bytes | None = None) -> Version:
        """Run the pipeline on `frame` again: same id, a new version with other bytes."""
        with self.lock:
            return self.add_version(frame, frame.versions[0].extension, content)
