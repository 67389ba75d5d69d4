"""The line for cron: its form, and that every word of it survives cron and the shell."""

import random
import subprocess
from pathlib import Path

import pytest

from tom_auto.scheduling.cron_line import crontab_lines, quoted
from tom_auto.scheduling.definition import Job, Schedule, ScheduleError
from tom_auto.scheduling.plan import Plan

JOB = Job('updatedata', '17 * * * *')

AWKWARD = [
    b'/home/me/my_tom',
    b'/home/me/My TOM',
    b"/home/o'neill/tom",
    b'/data/100%/tom',
    b'/data/%%/%d/tom',
    b'/data/a\\%b/tom',
    b'/data/a\\\\b/tom',
    b'/data/\\\\\\\\/tom',
    b'/data/\\/tom',
    b'/data/end\\',
    b'/data/\\%\\%\\',
    b"/data/'\\'%'\\",
    b'/data/"$HOME"/`id`/$(id)/tom',
    b'/data/a;b&c|d>e<f/tom',
    b'/data/#tom',
    b'/data/~/*?[a]{b,c}!/tom',
    b'/data/tab\there/tom',
    b'/data/M\xc3\xbcnchen/\xf0\x9f\x94\xad',
    b'/data/\xff\xfe/latin\xe9',
    b'/data/ leading and trailing ',
    b'/data/-n/--help',
    b'',
]


def through_debian_cron(line: bytes) -> bytes:
    r"""What Debian's cron hands to sh: `\%` and `\\` lose a backslash, a bare % ends it."""
    command, escaped = bytearray(), False
    for byte in line:
        if escaped:
            if byte in b'%\\':
                command.pop()
            command.append(byte)
            escaped = False
        elif byte == ord('%'):
            break
        else:
            escaped = byte == ord('\\')
            command.append(byte)
    return bytes(command)


def through_cronie(line: bytes) -> bytes:
    r"""What cronie hands to sh: only `\%` loses its backslash."""
    command, escaped = bytearray(), False
    for byte in line:
        if byte == ord('%'):
            if not escaped:
                break
            command.pop()
        escaped = byte == ord('\\')
        command.append(byte)
    return bytes(command)


def words_of(command: bytes) -> list[bytes]:
    """The words that sh makes of `command`."""
    script = b'show() { for word; do printf "%s\\0" "$word"; done; }; show ' + command
    done = subprocess.run([b'/bin/sh', b'-c', script], capture_output=True, timeout=30, check=True)
    assert done.stderr == b''
    return done.stdout.split(b'\0')[:-1]


def assert_survives(words: list[bytes]) -> None:
    line = b' '.join(quoted(word) for word in words)
    assert words_of(through_debian_cron(line)) == words
    assert words_of(through_cronie(line)) == words
    assert words_of(line) == words  # typed at a prompt
    assert b'\\\\' not in line


def test_awkward_paths_survive_cron_and_sh() -> None:
    assert_survives(AWKWARD)
    for word in AWKWARD:
        assert_survives([word])


def test_random_paths_survive_cron_and_sh() -> None:
    chance = random.Random(20260101)
    letters = b"%%%\\\\\\''\" $`#;&|<>*?~=ab\t\x01\x80\xff"
    for _ in range(60):
        lengths = [chance.randrange(1, 12) for _ in range(40)]
        assert_survives([bytes(chance.choices(letters, k=length)) for length in lengths])


def test_plain_paths_stay_plain() -> None:
    assert (
        quoted(b'/home/me/my-tom_2.0/.venv/bin/python') == b'/home/me/my-tom_2.0/.venv/bin/python'
    )


def test_the_line_has_the_form_of_the_tutorial_and_names_the_job() -> None:
    jobs = (JOB, Job('off', '1 1 * * *', enabled=False), Job('updatetargets', '5 4 * * *'))
    schedule = Schedule('virtualenv', None, jobs)
    project = Path('/home/me/my_tom')
    assert crontab_lines(
        Plan(project, 'my_tom', schedule, ['/home/me/my_tom/.venv/bin/python'])
    ) == [
        b'17 * * * * /home/me/my_tom/.venv/bin/python /home/me/my_tom/manage.py schedule run updatedata'
        b' >> /home/me/my_tom/logs/cron.log 2>&1',
        b'5 4 * * * /home/me/my_tom/.venv/bin/python /home/me/my_tom/manage.py schedule run updatetargets'
        b' >> /home/me/my_tom/logs/cron.log 2>&1',
    ]


@pytest.mark.parametrize('ending', ['\n', '\r'])
def test_what_no_line_can_hold_is_refused(ending: str) -> None:
    schedule = Schedule('virtualenv', None, (JOB,))
    with pytest.raises(ScheduleError, match='line break'):
        crontab_lines(
            Plan(Path(f'/home/me/my{ending}tom'), 'my_tom', schedule, ['/usr/bin/python3'])
        )


def test_a_command_is_as_long_as_cron_takes_and_no_longer() -> None:
    schedule = Schedule('system', None, (JOB,))
    fixed = len('/p /manage.py schedule run updatedata >> /logs/cron.log 2>&1')
    longest = Path('/' + 'x' * ((998 - fixed) // 2 - 1))
    [line] = crontab_lines(Plan(longest, 'my_tom', schedule, ['/p' + '/' * ((998 - fixed) % 2)]))
    assert len(line.removeprefix(b'17 * * * * ')) == 998
    with pytest.raises(ScheduleError, match='999 bytes long, and cron accepts at most 998'):
        crontab_lines(Plan(longest, 'my_tom', schedule, ['/p/' + '/' * ((998 - fixed) % 2)]))


def test_bytes_that_are_no_text_reach_the_line() -> None:
    schedule = Schedule('virtualenv', None, (JOB,))
    [line] = crontab_lines(Plan(Path('/data/caf\udce9'), 'my_tom', schedule, ['/usr/bin/python3']))
    assert b'/data/caf\xe9/manage.py' in line
