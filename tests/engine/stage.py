"""A TOM and an observatory, on which runs are played again and again from the same beginning."""

import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from django.contrib.auth.models import Group
from guardian.shortcuts import assign_perm
from tom_observations.models import ObservationRecord

import forked
from simulated import Observatory
from world import World, differences


class Stage:
    """Starts runs in separate processes, and reads their results."""

    def __init__(self, sky: Observatory, add_record: Callable, settings: object, root: Path):
        self.sky = sky
        self.settings = settings
        self.world = World(root)
        self.workers = 1
        self.printed = root / 'printed'
        self._add_record = add_record
        self._group = Group.objects.create(name='Observers')
        settings.TARGET_PERMISSIONS_ONLY = False

    def observe(self, facility: str = 'LCO', frames: int = 1, pixels: int = 32):
        """A record whose request has been observed since it was last looked at."""
        record: ObservationRecord = self._add_record(facility, status='')
        assign_perm('tom_observations.view_observationrecord', self._group, record)
        self.sky.add_request(int(record.observation_id))
        self.sky.complete(int(record.observation_id), frames=frames, pixels=pixels)
        return record

    def start(self, *arguments: str, first: Callable[[], object] = forked.nothing) -> BaseProcess:
        """Start a run; `first` is called in its process before it begins."""

        def prepare() -> None:
            tempfile.tempdir = str(self.world.temporary)
            first()

        options = ('--json', '--workers', str(self.workers), *arguments)
        return forked.updatedata(self.printed, *options, first=prepare)

    def run(self, *arguments: str, first: Callable[[], object] = forked.nothing) -> int:
        """The exit status of a whole run."""
        return forked.ended(self.start(*arguments, first=first))

    def play(self, *arguments: str) -> dict:
        """The state that a run leaves which nothing disturbs."""
        self.world.restore()
        assert self.run(*arguments) == 0, self.printed.read_text()
        return self.world.state()

    def trouble(self, expected: dict, *arguments: str) -> dict:
        """In what the state that the next run leaves is not as `expected`."""
        status = self.run(*arguments)
        found = differences(self.world.state(), expected)
        if status:
            found['exit status'] = status, self.printed.read_text()[-2000:]
        return found
