"""A TOM and an observatory, on which runs are played again and again from the same beginning."""

import json
import tempfile
from collections.abc import Callable
from itertools import cycle
from multiprocessing.process import BaseProcess
from pathlib import Path

from django.contrib.auth.models import Group, User
from django.test import Client
from guardian.shortcuts import assign_perm
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

import forked
import submitting
from simulated import Observatory
from tom_auto.running.outcomes import Ending
from world import World, differences


class Stage:
    """Starts runs in separate processes, and reads their results."""

    def __init__(self, sky: Observatory, target: Target, settings: object, root: Path):
        self.sky = sky
        self.settings = settings
        self.world = World(root)
        self.workers = 1
        self.printed = root / 'printed'
        self._target = target
        self._group = Group.objects.create(name='Observers')
        self._ways = cycle((submitting.by_number, submitting.by_form, submitting.by_api))
        settings.TARGET_PERMISSIONS_ONLY = False
        submitting.forget()
        self._clients = {name: self._person(name) for name in ('ann', 'bob')}

    def _person(self, name: str) -> Client:
        """Somebody of the group, at a browser, who has an account at the observatory as well."""
        user = User.objects.create_superuser(name)
        user.groups.add(self._group)
        self.sky.add_token(f"{name}'s token", proposals=[name, self.sky.proposal], username=name)
        client = Client()
        client.force_login(user)
        return client

    def observe(self, facility: str = 'LCO', frames: int = 1, pixels: int = 32, user: str = 'ann'):
        """A record made by tomtoolkit's own pages, whose request has been observed since."""
        client = self._clients[user]
        way = next(self._ways) if facility in submitting.INSTRUMENT else submitting.by_number
        record: ObservationRecord = way(client, self.sky, self._target, facility)
        if record.user is None:  # the page that adds existing ones does not note who did it
            record.user = User.objects.get(username=user)
            record.save()
        assign_perm('tom_observations.view_observationrecord', self._group, record)
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

    def trouble(
        self, expected: dict, *arguments: str, without: Callable[[dict], dict] = dict
    ) -> dict:
        """In what the state that the next run leaves, `without` something, is not as `expected`."""
        status = self.run(*arguments)
        found = differences(without(self.world.state()), expected)
        printed = self.printed.read_text()
        if status:
            found['exit status'] = status, printed[-2000:]
        elif unaccounted := _unaccounted(printed.splitlines()[-1]):
            found['records that went nowhere'] = unaccounted
        return found


def _unaccounted(line: str) -> int:
    """How many of the due records of this report went nowhere: rule 16."""
    report = json.loads(line)
    return int(report['due'] - sum(report[ending] for ending in Ending))
