"""The edit of the crontab: a project's block comes and goes, and no other byte ever changes."""

import random
import re
import shutil
from pathlib import Path

import pytest

from tom_auto.scheduling.cron_block import abandoned, find_block, with_block, without_block
from tom_auto.scheduling.cron_line import quoted
from tom_auto.scheduling.definition import ScheduleError
from tom_auto.scheduling.moved import NOTE, remember
from wild_crontabs import random_line, random_table


def job(project: Path, minute: int = 17) -> bytes:
    manage = quoted(bytes(project / 'manage.py'))
    return b'%d * * * * /usr/bin/python3 %s updatedata' % (minute, manage)


def put(table: bytes, project: Path, minute: int = 17, slug: str = 'my_tom') -> bytes:
    old = find_block(table, project)
    return with_block(table, project, slug, [job(project, minute)], old)


def take(table: bytes, project: Path) -> bytes:
    old = find_block(table, project)
    return without_block(table, old) if old else table


def foreign(table: bytes, *projects: Path) -> list[bytes]:
    """The lines of `table` that are in no block of `projects`: another way to say what is ours."""
    for project in projects:
        path = re.escape(bytes(project))
        block = rb'(?m)^# >>> tom-auto my_tom %s >>>\n(.*\n)*?# <<< tom-auto my_tom %s <<<\n'
        table = re.sub(block % (path, path), b'', table)
    lines = [line for line in table.split(b'\n') if b'This goes with the block below' not in line]
    return lines if lines[-1:] != [b''] else lines[:-1]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory for projects; those of the names a, b and c are there."""
    for name in 'abc':
        (tmp_path / name).mkdir()
    return tmp_path


def test_in_and_out_again_leaves_every_byte(home: Path) -> None:
    chance = random.Random(1)
    for _ in range(3000):
        before = random_table(chance)
        after = put(before, home / 'a')
        assert after.startswith(before)
        assert job(home / 'a') in after.split(b'\n')
        assert put(after, home / 'a') == after
        assert take(put(after, home / 'a', minute=18), home / 'a') == before


def test_several_projects_leave_in_any_order(home: Path) -> None:
    chance = random.Random(2)
    projects = [home / 'a', home / 'b', home / 'c']
    for _ in range(1500):
        before = table = random_table(chance)
        for project in chance.sample(projects, k=3):
            table = put(table, project)
        for project in chance.sample(projects, k=3):
            table = put(table, project, minute=chance.randrange(60))
        for project in chance.sample(projects, k=3):
            table = take(table, project)
        assert table == before


def test_any_order_of_install_edit_move_and_remove(home: Path) -> None:
    chance = random.Random(3)
    for _ in range(400):
        table, here = random_table(chance), [home / 'a', home / 'b']
        for step in range(12):
            lines = foreign(table, *here)
            match chance.choice(['put', 'take', 'move', 'add', 'add', 'delete']):
                case 'put':
                    table = put(table, chance.choice(here), minute=step)
                case 'take':
                    table = take(table, chance.choice(here))
                case 'move':
                    table, here[0] = moved(table, here[0], home / f'a{step}')
                case 'add':  # before or behind everything, by hand
                    new = random_line(chance) + b'\n'
                    ending = b'' if table.endswith(b'\n') or not table else b'\n'
                    at_start = chance.random() < 0.5
                    table = new + table if at_start else table + ending + new
                    lines = foreign(table, *here)
                case 'delete':
                    table = table.split(b'\n', 1)[-1] if not table.startswith(b'# >>>') else table
                    lines = foreign(table, *here)
            assert foreign(table, *here) == lines
        for project in here:
            table = take(table, project)
        assert foreign(table) == lines
        assert b'my_tom ' + bytes(home) not in table
        here[0].rename(home / 'a')


def moved(table: bytes, old: Path, new: Path) -> tuple[bytes, Path]:
    """The table and the place after a project went from `old` to `new` and installed again."""
    move(old, new)
    return put(table, new), new


def move(old: Path, new: Path) -> None:
    """Move a project whose jobs are installed."""
    remember(old, changed=True)
    old.rename(new)


def test_a_block_stays_where_its_user_has_put_it(home: Path) -> None:
    table = put(b'1 1 * * * one\n', home / 'a') + b'2 2 * * * two\n'
    changed = put(table, home / 'a', minute=59)
    assert changed == table.replace(b'17 * * * *', b'59 * * * *')


def test_a_job_of_ones_own_inside_the_block_survives(home: Path) -> None:
    table = put(b'# mine\n', home / 'a')
    end = table.index(b'# <<<')
    own = b'0 3 * * * /usr/bin/backup\r\n# a note\n'
    table = table[:end] + own + table[end:]
    assert put(table, home / 'a') == put(b'# mine\n', home / 'a') + own
    assert take(table, home / 'a') == b'# mine\n' + own


def test_a_job_that_was_commented_out_comes_back(home: Path) -> None:
    table = put(b'', home / 'a')
    assert put(table.replace(b'17 * *', b'#17 * *'), home / 'a') == table


def test_a_job_is_never_glued_to_a_last_line_without_newline(home: Path) -> None:
    table = put(b'# no newline', home / 'a')
    assert table.startswith(b'# no newline\n#')
    assert take(table, home / 'a') == b'# no newline'
    longer = table + b'1 1 * * * one\n'
    assert take(longer, home / 'a') == b'# no newline\n1 1 * * * one\n'


def test_markers_are_known_with_blanks_and_carriage_returns_around_them(home: Path) -> None:
    table = put(b'', home / 'a')
    for other in (table.replace(b'\n', b'\r\n'), table.replace(b'#', b'  #'), table.rstrip()):
        assert put(other, home / 'a') == table


@pytest.mark.parametrize(
    'damage',
    [
        lambda begin, end: begin,
        lambda begin, end: end,
        lambda begin, end: end + begin,
        lambda begin, end: begin + begin + end,
        lambda begin, end: begin + end + end,
        lambda begin, end: begin + end + begin + end,
        lambda begin, end: begin + end.strip() + b'5 * * * * glued\n',
        lambda begin, end: begin + b'# >>> tom-auto x /other >>>\n' + end,
        lambda begin, end: begin + b'# <<< tom-auto x /other <<<\n' + end,
    ],
)
def test_damaged_markers_stop_everything(home: Path, damage: object) -> None:
    block = put(b'', home / 'a')
    begin, end = block[: block.index(b'# From')], block[block.index(b'# <<<') :]
    table = b'1 1 * * * one\n' + damage(begin, end)
    with pytest.raises(ScheduleError, match=r'damaged \(line 2.*crontab -e'):
        put(table, home / 'a')
    with pytest.raises(ScheduleError, match='damaged'):
        take(table, home / 'a')
    assert put(table, home / 'b').startswith(table)  # another project is not held up


def test_a_moved_project_takes_its_block_along(home: Path) -> None:
    table = put(b'1 1 * * * one\n', home / 'a') + b'2 2 * * * two\n'
    move(home / 'a', home / 'new place')
    after = put(table, home / 'new place')
    assert bytes(home / 'a') + b'/' not in after
    assert take(after, home / 'new place') == b'1 1 * * * one\n2 2 * * * two\n'
    assert take(table, home / 'new place') == b'1 1 * * * one\n2 2 * * * two\n'


def test_a_copy_of_a_project_leaves_the_block_of_the_original(home: Path) -> None:
    table = put(b'', home / 'a')
    assert put(table, home / 'b').startswith(table)


def test_a_moved_project_is_known_under_a_new_name(home: Path) -> None:
    table = put(b'# mine\n', home / 'a')
    move(home / 'a', home / 'our_tom')
    after = put(table, home / 'our_tom', slug='our_tom')
    assert after.count(b'# >>> tom-auto') == 1
    assert take(after, home / 'our_tom') == b'# mine\n'


@pytest.mark.parametrize('slug', ['my_tom', 'other_tom'])
def test_the_block_of_another_project_that_is_gone_is_never_taken_over(
    home: Path, slug: str
) -> None:
    """It may have been moved, or its disk may not be mounted, and most TOMs are called my_tom."""
    table = put(b'# mine\n', home / 'gone', slug=slug)
    remember(home / 'a', changed=True)  # installed before, at another place
    assert put(table, home / 'a').startswith(table)
    assert take(table, home / 'a') == table
    assert abandoned(table, home / 'a') == {2: bytes(home / 'gone')}


def test_a_copy_that_was_installed_keeps_off_the_block_of_the_original(home: Path) -> None:
    table = put(put(b'', home / 'a'), home / 'b')
    remember(home / 'a', changed=True)
    shutil.copytree(home / 'a', home / 'b', dirs_exist_ok=True)
    remember(home / 'b', changed=True)
    (home / 'a').rename(home / 'moved')
    assert take(table, home / 'b') == put(b'', home / 'a')
    assert take(table, home / 'moved') == put(b'', home / 'b')


def test_a_link_that_a_move_left_behind_leads_to_the_block(home: Path) -> None:
    table = put(b'', home / 'a')
    (home / 'a').rename(home / 'moved')
    (home / 'a').symlink_to(home / 'moved')
    assert put(table, home / 'moved') == put(b'', home / 'moved')
    assert take(table, home / 'moved') == b''
    assert abandoned(table, home / 'moved') == {}


def test_a_place_that_may_not_be_looked_into_is_not_gone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = put(b'', home / 'locked' / 'tom')
    (home / 'a' / '.cache').mkdir()
    (home / 'a' / NOTE).write_bytes(bytes(home / 'locked' / 'tom'))

    def refuse(self: Path) -> None:
        raise PermissionError(self)

    monkeypatch.setattr(Path, 'stat', refuse)
    assert put(table, home / 'a').startswith(table)
