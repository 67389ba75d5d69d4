"""What is measured: each piece of work once for every contender that can do it."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from json import load
from pathlib import Path
from urllib.request import Request, urlopen

import postgres
from sky import TOKEN, Sky, sky
from stage import HERE, Cost, Stage, cost_of, measured
from workers import batches, cluster, hooks

FITS_BLOCK = 2880  # bytes: sizes of files are multiples of it
ROUNDS = 3  # of what is over soon
FEW = 10  # records that are due among the settled ones
NOT_WANTED = """
from my_tom.settings import TOM_AUTO
TOM_AUTO['WANTED_FRAMES'] = {'LCO': ['wanted-*']}
"""
Costs = dict[str, Cost]


def idle(stage: Stage, sizes: Namespace) -> Costs:
    """A TOM without records: the least of three, in turns, as other programs only add to it."""
    commands = {'setup': 'setup', 'ours': 'updatedata', 'T': 'tutorial', 'U': 'downloaddata'}
    with stage.tom() as tom:
        rounds = [
            {name: cost_of(tom, command) for name, command in commands.items()}
            for _ in range(ROUNDS)
        ]
    return {name: _least(one[name] for one in rounds) for name in commands}


def completed(stage: Stage, sizes: Namespace) -> Costs:
    """Every record has been completed since it was last looked at, and has frames.

    T and U have `few` of them only: they take one after another, so what they need for all can
    be told from that.
    """
    frames = {'latency': sizes.latency, 'frames': sizes.frames, 'size': sizes.size}
    scene, few = frames | {'completed': sizes.records}, frames | {'completed': sizes.few}
    return {
        'ours': _once(stage, scene, 'updatedata'),
        'ours, 32 workers': _once(stage, scene, 'updatedata', '--workers=32'),
        'T': _once(stage, few, 'tutorial'),
        'U': _both(stage, few),
    }


def cpu(stage: Stage, sizes: Namespace) -> Costs:
    """The same work without latency: what is left is what the machine has to do."""
    scene = {'frames': sizes.frames, 'size': sizes.size}
    every, few = scene | {'completed': sizes.records}, scene | {'completed': sizes.few}
    return {
        f'ours, {workers} at once': _once(stage, every, 'updatedata', f'--workers={workers}')
        for workers in (1, 8, 32)
    } | {'T': _once(stage, few, 'tutorial')}


def hourly(stage: Stage, sizes: Namespace) -> Costs:
    """An hour later: every frame is here. Then a few frames come late."""
    scene = {'completed': sizes.records, 'frames': sizes.frames, 'size': sizes.size}
    with stage.tom(due=sizes.records) as tom, sky(latency=sizes.latency, **scene) as observatory:
        cost_of(tom, 'updatedata', sky=observatory)
        nothing_new = cost_of(tom, 'updatedata', sky=observatory)
        observatory.late()
        late = cost_of(tom, 'updatedata', sky=observatory)
    return {'ours': nothing_new, 'ours, late frames': late}


def two_proposals(stage: Stage, sizes: Namespace) -> Costs:
    """Records of two proposals, three fifths of which ended 40 days ago, an hour later."""
    scene = {'completed': sizes.mixed, 'proposals': 2, 'frames': 1, 'size': FITS_BLOCK}
    old = {'old': sizes.mixed * 3 // 5, 'ago': 40, 'over': 1}
    return {'ours': _again(stage, scene | old)}


def two_accounts(stage: Stage, sizes: Namespace) -> Costs:
    """Two proposals of one account and one of another, an hour later."""
    soar = sizes.shared // 3
    scene = {'completed': sizes.shared - soar, 'soar': soar, 'proposals': 2}
    return {'ours': _again(stage, scene | {'frames': 1, 'size': FITS_BLOCK})}


def few_among_many(stage: Stage, sizes: Namespace) -> Costs:
    """Three records in a proposal with very many frames of other people, an hour later."""
    scene = {'completed': 3, 'frames': 2, 'size': FITS_BLOCK, 'others': sizes.others}
    return {'ours': _again(stage, scene)}


def long_lists(stage: Stage, sizes: Namespace) -> Costs:
    """Records with very many frames, which the lists show and nobody wants."""
    frames = 20  # with more of each, single calls would cost less
    records = sizes.listed // frames
    scene = {'completed': records, 'frames': frames, 'size': FITS_BLOCK}
    with stage.tom(due=records) as tom, sky(**scene) as observatory:
        (tom / 'local_settings.py').write_text(NOT_WANTED)
        return {'ours': cost_of(tom, 'updatedata', sky=observatory)}


def adopted(stage: Stage, sizes: Namespace) -> Costs:
    """Records that ended long ago, in a TOM that tomtoolkit's own commands have kept for years."""
    scene = {'completed': sizes.adopted, 'frames': 2, 'size': FITS_BLOCK, 'ago': 40}
    with stage.tom(due=sizes.adopted) as tom, sky(**scene) as observatory:
        cost_of(tom, 'updatedata', sky=observatory)
        stage.manage(tom, HERE / 'forget.py')
        return {
            'ours, first run': cost_of(tom, 'updatedata', sky=observatory),
            'ours, second run': cost_of(tom, 'updatedata', sky=observatory),
        }


def pending(stage: Stage, sizes: Namespace) -> Costs:
    """Every record is pending, as it was an hour ago. T and U have `few` records only."""
    scene = {'latency': sizes.latency, 'pending': sizes.records}
    few = {'latency': sizes.latency, 'pending': sizes.few}
    return {
        'ours': _again(stage, scene),
        'T': _once(stage, few, 'tutorial'),
        'U': _both(stage, few),
    }


def huge_account(stage: Stage, sizes: Namespace) -> Costs:
    """The same, on an account with many request groups that have ended."""
    scene = {'latency': sizes.latency, 'pending': sizes.records, 'finished': sizes.finished}
    return {'ours': _again(stage, scene)}


def history(stage: Stage, sizes: Namespace) -> Costs:
    """A few due records among very many settled ones, on each database; beside it, no records."""
    with postgres.server() as server:
        found = _history(stage, sizes, 'SQLite')
        for name in ('idle', 'full'):
            server.run('createdb', *server.where, name)
        return found | _history(stage, sizes, 'PostgreSQL', server.url.removesuffix('/postgres'))


def _history(stage: Stage, sizes: Namespace, name: str, server: str = '') -> Costs:
    def database(which: str) -> dict[str, str]:
        return {'DATABASE_URL': f'{server}/{which}'} if server else {}

    with (
        stage.tom(**database('idle')) as empty,
        stage.tom(due=FEW, settled=sizes.settled, **database('full')) as full,
        sky(pending=FEW) as observatory,
    ):
        rounds = [
            (
                cost_of(empty, 'updatedata', **database('idle')),
                cost_of(full, 'updatedata', sky=observatory, **database('full')),
            )
            for _ in range(ROUNDS)
        ]
    idle, ours = (min(costs, key=lambda cost: cost.seconds) for costs in zip(*rounds, strict=True))
    return {f'idle, {name}': idle, f'ours, {name}': ours}


def big_file(stage: Stage, sizes: Namespace) -> Costs:
    """One file: how much memory it takes, and how fast it comes beside curl."""
    size = sizes.big // FITS_BLOCK * FITS_BLOCK
    scene = {'completed': 1, 'frames': 1, 'size': size}
    with stage.tom(due=1) as tom, sky(**scene) as observatory:
        return {
            'idle': cost_of(tom, 'updatedata', '--facility=SOAR'),
            **_curl(tom, observatory),
            'ours': cost_of(tom, 'updatedata', sky=observatory),
        }


def many(stage: Stage, sizes: Namespace) -> Costs:
    """Very many due records in one run, every tenth with a frame: does memory grow with them?"""
    done = sizes.many // 10
    scene = {'completed': done, 'pending': sizes.many - done, 'frames': 1, 'size': FITS_BLOCK}
    return {'ours': _once(stage, scene, 'updatedata')}


def _least(costs: Iterable[Cost]) -> Cost:
    """The best of several: what else runs on this machine only ever adds."""
    return min(costs, key=lambda cost: cost.cpu)


def _once(stage: Stage, scene: dict, *command: str) -> Cost:
    """The cost of one command for a TOM whose records are those of the scene."""
    due = scene.get('completed', 0) + scene.get('pending', 0)
    with stage.tom(due=due) as tom, sky(**scene) as observatory:
        return cost_of(tom, *command, sky=observatory)


def _again(stage: Stage, scene: dict) -> Cost:
    """The cost of the second run of two, when the first has seen all there is."""
    due = scene.get('completed', 0) + scene.get('pending', 0)
    with stage.tom(due=due, soar=scene.get('soar', 0)) as tom, sky(**scene) as observatory:
        cost_of(tom, 'updatedata', sky=observatory)
        return cost_of(tom, 'updatedata', sky=observatory)


def _both(stage: Stage, scene: dict) -> Cost:
    """The cost of tomtoolkit's two commands, one after the other."""
    due = scene.get('completed', 0) + scene.get('pending', 0)
    with stage.tom(due=due) as tom, sky(**scene) as observatory:
        first = cost_of(tom, 'updatestatus', sky=observatory)
        return first + cost_of(tom, 'downloaddata', sky=observatory)


def _curl(directory: Path, observatory: Sky) -> Costs:
    """What curl needs for the only file, and what it needs to have it on the disk as well."""
    found = {}
    for name, after in (('curl', ''), ('curl, flushed', ' && sync -d file')):
        command = f"curl -sSf -o file '{_address(observatory)}'{after}"
        found[name], _ = measured(['sh', '-c', command], directory)
        (directory / 'file').unlink()
    return found


def _address(observatory: Sky) -> str:
    question = Request(
        f'{observatory.url}/frames/?request_id=1', headers={'Authorization': f'Token {TOKEN}'}
    )
    with urlopen(question, timeout=60) as answer:
        return load(answer)['results'][0]['url']


WORKS: dict[str, Callable[[Stage, object], Costs]] = {
    work.__name__: work
    for work in (
        idle, completed, cpu, hourly, two_proposals, two_accounts, few_among_many, long_lists,
        adopted, pending, huge_account, history, big_file, many, hooks, cluster, batches,
    )
}  # fmt: skip
