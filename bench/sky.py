"""The observatory of the benchmark: a process of its own, so that its work is not ours.

It prints a line of JSON with its address, and then one with the counts since the last one for
each line that it reads; after `late` there are three more frames and one new version. It ends when
there is nothing more to read.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent / '{{cookiecutter.project_slug}}'
TOKEN, SOAR_TOKEN = 'demo-token', 'soar-token'  # each sees proposals of its own
OTHERS = 999_999  # the request of other people
FIRST_FINISHED = 1_000_000  # request number; those below are the records of the TOM


class Sky:
    """An observatory that runs elsewhere."""

    def __init__(self, process: Popen[str]) -> None:
        self._process = process
        self.url = self._told()['url']

    def counts(self) -> dict[str, Any]:
        """What was asked since the last time that this was called."""
        return self._say('')

    def late(self) -> None:
        """Three more frames, and a new version of one."""
        self._say('late')

    def variables(self) -> dict[str, str]:
        """What a TOM needs in its environment to take this for LCO."""
        keys = {'LCO': TOKEN, 'SOAR': SOAR_TOKEN}
        which = ('PORTAL', 'ARCHIVE')
        addresses = {f'{name}_{one}_URL': self.url for name in keys for one in which}
        return addresses | {f'{name}_API_KEY': key for name, key in keys.items()}

    def _say(self, word: str) -> dict[str, Any]:
        self._process.stdin.write(f'{word}\n')
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> dict[str, Any]:
        return json.loads(self._process.stdout.readline())


@contextmanager
def sky(**scene: float) -> Iterator[Sky]:
    """An observatory with this `scene`: the options of `main`."""
    options = [f'--{name}={value}' for name, value in scene.items()]
    command = [sys.executable, '-B', __file__, *options]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            yield Sky(process)
        finally:
            process.stdin.close()
            process.wait(timeout=30)


def main() -> None:
    sys.path.insert(0, str(PROJECT))
    from tom_auto.simulator import Observatory

    options = arguments()
    with Observatory(latency=options.latency, token=TOKEN) as observatory:
        set_the_scene(observatory, options)
        observatory.forget()
        say(url=observatory.url)
        for word in sys.stdin:
            if word.strip() == 'late':
                add_late_frames(observatory, options.size)
            say(
                requests=observatory.questions,
                connections=observatory.connections,
                most_at_once=observatory.most_at_once,
                bytes=observatory.bytes_sent,
            )
            observatory.forget()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add('--latency', type=float, default=0, help='seconds before each answer')
    add('--completed', type=int, default=0, help='requests, from number 1 on')
    add('--frames', type=int, default=2, help='of each completed request')
    add('--size', type=int, default=0, help='bytes of each frame')
    add('--proposals', type=int, default=1, help='which they belong to in turn')
    add('--soar', type=int, default=0, help="more of them, of a proposal that SOAR's token sees")
    add('--others', type=int, default=0, help='frames of other people in the first proposal')
    add('--ago', type=int, default=0, help='days since they were completed')
    add('--over', type=int, default=365, help='days that these were spread over')
    add('--old', type=int, default=1_000_000, help='how many of them: the others ended now')
    add('--pending', type=int, default=0, help='requests, numbered on')
    add('--finished', type=int, default=0, help='request groups of the account, long done')
    return parser.parse_args()


def set_the_scene(observatory: Any, options: argparse.Namespace) -> None:
    """The requests that `options` name, every tenth of the pending ones scheduled."""
    observatory.advance(days=-400)
    for number in range(options.finished):
        observatory.add_request(FIRST_FINISHED + number, state='COMPLETED')
    observatory.advance(days=400)
    proposals = [observatory.proposal, *(f'MORE{number}' for number in range(1, options.proposals))]
    observatory.add_token(TOKEN, proposals=proposals, username='demo')
    observatory.add_token(SOAR_TOKEN, proposals=['SOAR2026'], username='soar')
    for number in range(1, options.completed + options.soar + 1):
        is_old = options.ago and number <= options.old
        days = options.ago + number % options.over if is_old else 0
        proposal = proposals[number % len(proposals)]
        observatory.advance(days=-days)
        observatory.add_request(
            number, proposal=proposal if number <= options.completed else 'SOAR2026'
        )
        made = observatory.complete(number, frames=options.frames, size=options.size)
        observatory.advance(days=days)
        for frame in made:
            _ = frame.md5  # made now, and not while someone waits
    if options.others:
        observatory.add_request(OTHERS)
        observatory.complete(OTHERS, frames=options.others, size=options.size)
    for number in range(options.pending):
        request = observatory.add_request(options.completed + number + 1)
        if not number % 10:
            observatory.schedule(request.id)


def add_late_frames(observatory: Any, size: int) -> None:
    for number in (1, 2, 3):
        observatory.add_frame(number, size=size)
    frame = observatory.frames_of[4][0]
    observatory.add_version(frame, '.fits.fz', None, size * 2)


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == '__main__':
    main()
