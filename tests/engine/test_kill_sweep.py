"""A run may be killed at any instant: the next one ends where an undisturbed one would have.

The same rows, the same files bit by bit, the same statuses and rights, every hook called at least
once for each change and each product, and no leftovers: no part file, no unfinished claim, no
orphan. Each kill is a SIGKILL to a real process at work on a real database: over 180 before
numbered steps, 12 in the middle of a download, and KILLS at random, of which every fifth is a
SIGTERM. The records are born as tomtoolkit's form, API and pages bear them, and those who did it
have credentials of their own.

KILLS in the environment asks for more: KILLS=500 takes a quarter of an hour.
"""

import os
import random
import re
import signal
from collections.abc import Callable
from time import monotonic, sleep

import pytest
import requests
from django.conf import settings
from django.core.files.base import ContentFile
from django.db import connection
from tom_dataproducts.models import DataProduct
from tom_observations.facilities.lco import LCOFacility

import faults
import forked
from stage import Stage
from steps import Steps
from tom_auto.models import RecordSync
from unit.facility_classes import Robotic, Saves
from world import differences

pytestmark = pytest.mark.django_db(transaction=True)

KILLED, TERMINATED = -signal.SIGKILL, 128 + signal.SIGTERM
SEED = 20261123
KILLS = int(os.environ.get('KILLS', '50'))
PAGE = b'<!DOCTYPE html><html><body>503 Service Unavailable</body></html>'
DRAWN = 128  # pixels: of smaller images there is no preview


class OwnStatus(LCOFacility):
    """A user's subclass that writes statuses itself."""

    name = 'OwnStatus'

    def update_observation_status(self, observation_id: str) -> None:
        super().update_observation_status(observation_id)


class Lists(Robotic):
    """A class that is not of LCO's kind, and uses the token that each user has at the portal."""

    name = 'Lists'

    def get_observation_status(self, observation_id: str) -> str:
        address = f'{settings.FACILITIES["LCO"]["portal_url"]}/api/requests/{observation_id}/'
        answer = requests.get(address, headers={'Authorization': f"Token {self.user}'s token"})
        answer.raise_for_status()
        return {'PENDING': 'WAITING', 'COMPLETED': 'DONE'}[answer.json()['state']]

    def data_products(self, observation_id: str, product_id: str | None = None) -> list[dict]:
        keys = 'id', 'filename', 'url'
        return [
            {key: frame[key] for key in keys}
            for frame in LCOFacility()._archive_frames(observation_id)
        ]


def a_class_that_lists_by_itself(stage: Stage) -> None:
    stage.settings.TOM_FACILITY_CLASSES = [f'{__name__}.Lists']
    stage.observe('Lists')


def a_class_that_saves_by_itself(stage: Stage) -> None:
    stage.settings.TOM_FACILITY_CLASSES = ['unit.facility_classes.Saves']
    stage.observe('Saves', frames=0)


def a_status_that_the_facility_class_writes(stage: Stage) -> None:
    stage.settings.TOM_FACILITY_CLASSES = [f'{__name__}.OwnStatus']
    stage.observe('OwnStatus')


def a_new_version(stage: Stage, pixels: int = 32) -> None:
    stage.observe(pixels=pixels)
    assert stage.run() == 0
    [frame] = stage.sky.frames.values()
    stage.sky.reprocess(frame)


def a_page_for_a_file(stage: Stage, pixels: int = 32) -> None:
    """What tomtoolkit's own method leaves of a download that failed."""
    record = stage.observe(pixels=pixels)
    frame = stage.sky.frames_of[int(record.observation_id)][0]
    product = DataProduct(product_id=str(frame.id), target=record.target, observation_record=record)
    product.data.save(frame.filename, ContentFile(PAGE))
    product.save()


def a_frame(stage: Stage, pixels: int = 32) -> None:
    stage.observe(pixels=pixels)


def a_preview(stage: Stage) -> None:
    stage.settings.AUTO_THUMBNAILS = True
    a_frame(stage, pixels=DRAWN)


def a_preview_of_a_new_version(stage: Stage) -> None:
    stage.settings.AUTO_THUMBNAILS = True
    a_new_version(stage, pixels=DRAWN)


def all_of_it_at_once(stage: Stage) -> None:
    """Four facilities side by side: one saves by itself, one is not of LCO's kind; two users."""
    a_preview_of_a_new_version(stage)
    stage.settings.TOM_FACILITY_CLASSES = [
        *stage.settings.TOM_FACILITY_CLASSES, f'{__name__}.Lists', 'unit.facility_classes.Saves',
    ]  # fmt: skip
    a_page_for_a_file(stage)
    for user in ('ann', 'bob'):
        stage.observe(frames=2, user=user)
        stage.observe('SOAR', frames=2, user=user)
        stage.observe('Lists', user=user)
    stage.observe('Saves', frames=0, user='bob')
    stage.workers = 4


SCENES = [
    a_status_that_the_facility_class_writes, a_preview_of_a_new_version,
    a_class_that_lists_by_itself,
]  # fmt: skip
if connection.vendor == 'sqlite':  # what more they do is done to files, in the same way
    SCENES += [a_page_for_a_file, a_preview]


@pytest.mark.parametrize('scene', SCENES, ids=lambda scene: scene.__name__)
def test_killed_before_any_step(stage: Stage, scene: Callable[[Stage], None]) -> None:
    scene(stage)
    stage.world.remember()
    expected = stage.play()

    steps = steps_of(stage)
    assert len(steps) >= 25, steps
    troubles = {
        f'killed before step {number}, {step}': trouble
        for number, step in enumerate(steps, 1)
        if (trouble := trouble_after_a_kill(stage, number, expected))
    }
    assert troubles == {}


def test_a_class_that_saves_by_itself_killed_before_any_step(stage: Stage) -> None:
    """What it left half done is taken over or saved anew; a file without a row is for its authors."""
    a_class_that_saves_by_itself(stage)
    stage.world.remember()
    expected = without_files(stage.play())
    assert expected['frames'] != '[]'

    for number, step in enumerate(steps_of(stage), 1):
        killed_before(stage, number)
        status = stage.run()
        if status:  # a row without a file is told
            assert 'there is no file' in stage.printed.read_text().splitlines()[-1]
            assert stage.run() == 0
        found = without_files(stage.world.state())
        assert differences(found, expected) == {}, f'killed before step {number}, {step}'
        [product] = DataProduct.objects.all()
        assert product.data.read() == Saves.content


def without_files(state: dict) -> dict:
    """`state` with names as they were before Django made them unique.

    What a class that saves by itself left half done, a file without a row, is for its authors.
    """
    kept = {path: content for path, content in state['files'].items() if 'spectrum' not in path}
    return {
        name: re.sub(r'(spectrum)_[A-Za-z0-9]{7}', r'\1', repr(value))
        for name, value in {
            **state,
            'files': kept,
            'hooks called': sorted(state['hooks called']),
        }.items()
    }


def test_a_killed_recheck_is_finished_by_runs_that_recheck_nothing(stage: Stage) -> None:
    """A record that is settled is due again as soon as there is something left to do for it."""
    a_new_version(stage)
    RecordSync.objects.update(state=RecordSync.State.SETTLED)
    stage.world.remember()
    before, after = stage.play(), stage.play('--recheck')
    assert before != after

    for number, step in enumerate(steps_of(stage, '--recheck'), 1):
        killed_before(stage, number, '--recheck')
        assert stage.run() == stage.run() == 0
        # Either it had not begun to replace the file, or all is done that belongs to it.
        assert stage.world.state() in (before, after), f'killed before step {number}, {step}'


def steps_of(stage: Stage, *arguments: str) -> list[str]:
    """The steps that a whole run takes, by name."""
    steps = Steps(stage.world.root)
    stage.world.restore()
    assert stage.run(*arguments, first=steps.watch) == 0, stage.printed.read_text()
    return steps.log.read_text().splitlines()


def killed_before(stage: Stage, number: int, *arguments: str) -> None:
    """Start a run from the beginning, which is killed before its step `number`."""
    stage.world.restore()
    steps = Steps(stage.world.root, last=number)
    assert stage.run(*arguments, first=steps.watch) == KILLED, stage.printed.read_text()


def trouble_after_a_kill(stage: Stage, number: int, expected: dict) -> dict:
    killed_before(stage, number)
    return stage.trouble(expected)


@pytest.mark.parametrize('scene', [a_frame, a_new_version, a_page_for_a_file])
def test_killed_in_the_middle_of_a_download(stage: Stage, scene: Callable[..., None]) -> None:
    scene(stage, pixels=DRAWN)
    stage.world.remember()
    expected = stage.play()
    [frame] = stage.sky.frames.values()
    size = len(frame.content)

    for arrived in (0, 1, size // 2, size - 1):
        stage.world.restore()
        stage.sky.forget()
        stage.sky.break_('/store/', faults.hang(after=arrived), times=1)
        run = stage.start()
        forked.wait_until(lambda: asked_for_a_file(stage))
        sleep(0.05)  # for what was sent to arrive
        run.kill()
        assert forked.ended(run) == KILLED, stage.printed.read_text()
        assert stage.trouble(expected) == {}, f'killed after {arrived} of {size} bytes'


def asked_for_a_file(stage: Stage) -> bool:
    return any(seen.path.startswith('/store/') for seen in stage.sky.requests_seen)


def test_killed_at_random(stage: Stage) -> None:
    """Four workers at work on everything at once, killed up to three times in a row."""
    all_of_it_at_once(stage)
    stage.world.remember()
    begun = monotonic()
    expected = without_files(stage.play())
    duration = monotonic() - begun
    chance = random.Random(SEED)

    ended = attempts = 0
    while ended < KILLS:
        attempts += 1
        assert attempts < 3 * KILLS, f'only {ended} runs could be ended in time'
        stage.world.restore()
        delays = [chance.uniform(0, duration) for _ in range(chance.randint(1, 3))]
        for delay in delays:
            ended += ended_after(stage, delay, signal.SIGTERM if ended % 5 == 4 else signal.SIGKILL)
        where = f'seed {SEED}, attempt {attempts}, after {delays} s'
        trouble = stage.trouble(expected, without=without_files)
        if 'there is no file' in str(trouble.get('exit status')):
            trouble = stage.trouble(expected, without=without_files)
        assert trouble == {}, where


def ended_after(stage: Stage, seconds: float, number: int) -> bool:
    """Whether a run could be ended by this signal after `seconds`, or had ended by then."""
    run = stage.start()
    run.join(seconds)
    if run.is_alive():
        os.kill(run.pid, number)
    status = forked.ended(run)
    assert status in (0, 1, KILLED, TERMINATED, -signal.SIGTERM), stage.printed.read_text()
    return status in (KILLED, TERMINATED, -signal.SIGTERM)
