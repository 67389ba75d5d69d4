"""Whatever is done to a project's block in a crontab, no byte of anyone else's changes."""

import random
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from baking import Bake
from real_cron import NAME_SPACES, in_name_spaces, small_project
from wild_crontabs import LINES, random_table

TABLES = 100_000
FOREIGN = b'MAILTO=me@example.org\n# mine\n0 * * * * /usr/bin/backup --all\n'


@pytest.fixture(scope='module')
def block(default_bake: Bake) -> Iterator[SimpleNamespace]:
    """The functions that edit, of a project as it was generated; they know only text."""
    before, writes = sys.path[:], sys.dont_write_bytecode
    sys.path.insert(0, str(default_bake.project))
    sys.dont_write_bytecode = True
    from tom_auto.scheduling.cron_block import find_block, with_block, without_block
    from tom_auto.scheduling.cron_line import quoted
    from tom_auto.scheduling.definition import ScheduleError

    yield SimpleNamespace(
        find=find_block, put=with_block, take=without_block, quoted=quoted, error=ScheduleError
    )
    sys.path[:], sys.dont_write_bytecode = before, writes
    for name in [name for name in sys.modules if name.partition('.')[0] == 'tom_auto']:
        del sys.modules[name]


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the projects `a` and `b` are."""
    home = tmp_path_factory.mktemp("It's 100% home")
    for name in 'ab':
        (home / name).mkdir()
    return home


def job(block: SimpleNamespace, project: Path, minute: int) -> bytes:
    """A line as `schedule install` writes it."""
    return b'%d * * * * /usr/bin/python3 %s x' % (
        minute,
        block.quoted(bytes(project / 'manage.py')),
    )


def assert_comes_and_goes(
    block: SimpleNamespace, home: Path, before: bytes, chance: random.Random
) -> None:
    """Install, maybe another's install, a change, a foreign line below, and both removed."""
    one, other = home / 'a', home / 'b'
    table = block.put(before, one, 'my_tom', [job(block, one, 17)], None)
    assert table.startswith(before)
    if chance.random() < 0.5:
        table = block.put(table, other, 'my_tom', [job(block, other, 18)], None)
    changed = [job(block, one, 4), job(block, one, 5)]
    table = block.put(table, one, 'my_tom', changed, block.find(table, one))
    assert table.startswith(before)
    assert set(changed) <= set(table.split(b'\n'))
    below = b'7 7 * * * below\n' if chance.random() < 0.3 else b''
    table += below
    for project in chance.sample([one, other], k=2):
        found = block.find(table, project)
        table = block.take(table, found) if found else table
    glue = b'\n' if below and before and not before.endswith(b'\n') else b''
    assert table == before + glue + below


def test_a_hundred_thousand_crontabs(block: SimpleNamespace, home: Path) -> None:
    chance = random.Random(20260105)
    for _ in range(TABLES):
        assert_comes_and_goes(block, home, random_table(chance), chance)


@settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    before=st.lists(st.sampled_from(LINES) | st.binary(max_size=40)).map(b'\n'.join),
    seed=st.integers(0, 9),
)
@example(before=b'no newline', seed=1)
@example(before=b'\n', seed=2)
def test_any_bytes_at_all(block: SimpleNamespace, home: Path, before: bytes, seed: int) -> None:
    assert_comes_and_goes(block, home, before, random.Random(seed))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_block_is_repaired_or_refused(
    block: SimpleNamespace, home: Path, data: st.DataObject
) -> None:
    """With any of its lines gone, doubled or moved: foreign lines stay, or nothing is done."""
    project = home / 'a'
    table = block.put(FOREIGN, project, 'my_tom', [job(block, project, 17)], None)
    lines = table.splitlines(keepends=True)
    own = lines[FOREIGN.count(b'\n') :]
    damaged = data.draw(st.lists(st.sampled_from([*own, b'9 9 * * * mine too\n']), max_size=7))
    mine = damaged.count(b'9 9 * * * mine too\n')
    table = FOREIGN + b''.join(damaged)
    try:
        found = block.find(table, project)
    except block.error:
        return
    after = block.put(table, project, 'my_tom', [job(block, project, 5)], found)
    assert after.startswith(FOREIGN)
    assert after.count(b'mine too') == mine
    assert after.count(b'>>> tom-auto my_tom') == 1
    gone = block.take(after, block.find(after, project))
    assert gone.startswith(FOREIGN)
    assert gone.count(b'mine too') == mine


# --- With the real crontab command --------------------------------------------------------------

INSTALL = f'{shlex.quote(sys.executable)} -B -S -m tom_auto.scheduling install'

FULL = f"""
{NAME_SPACES}
mount -t tmpfs -o size=64k none /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs
chgrp crontab /var/spool/cron/crontabs
crontab ../foreign
dd if=/dev/zero of=/var/spool/cron/filler bs=1k 2>/dev/null || true  # until the disk is full
{INSTALL} && echo WENT || echo "refused with $?"
crontab -l | cmp - ../foreign && echo SAME
rm /var/spool/cron/filler
{INSTALL}
"""

#: Killed ever later, together with the crontab command that it started, and once not at all.
INTERRUPTED = f"""
{NAME_SPACES}
crontab ../foreign
for tenths in 00 02 04 06 08 10 12 14 16 18 20 22 24 26 28 30; do
    setsid {INSTALL} >/dev/null 2>&1 &
    sleep 0.$tenths
    kill -9 -$! 2>/dev/null || true  # it may have ended by itself
    wait $! || true  # its status is that of a killed program
    crontab -l > ../table
    if cmp -s ../table ../foreign; then echo old
    elif head -n 3 ../table | cmp -s - ../foreign && [ $(wc -l < ../table) = 7 ]; then echo new
    else echo BROKEN; cat ../table; fi
    crontab ../foreign
done
{INSTALL} >/dev/null && echo LAST
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small project; the table of someone else is in the file `foreign` beside it."""
    (tmp_path / 'foreign').write_bytes(FOREIGN)
    return small_project(bytes(tmp_path / 'tom'))


@pytest.mark.xdist_group('cron')
def test_a_full_disk_leaves_the_old_table(cron_machine: None, small: Path) -> None:
    said = in_name_spaces(small, FULL)
    assert 'refused with 1' in said
    assert 'The old one is unchanged' in said
    assert 'SAME' in said
    assert 'Installed in your crontab' in said, 'and with room again it goes in'


@pytest.mark.xdist_group('cron')
def test_an_interrupted_write_leaves_one_table_or_the_other(
    cron_machine: None, small: Path
) -> None:
    said = in_name_spaces(small, INTERRUPTED).splitlines()[1:]
    assert 'BROKEN' not in said, said
    assert said[-1] == 'LAST', 'nothing that was killed keeps the next one out'
    assert said.count('old') >= 3, said
    assert said.count('old') + said.count('new') == 16, said
