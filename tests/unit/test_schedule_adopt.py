"""`schedule init`: a schedule.toml for a TOM made by hand, in place of an older line of cron."""

import tomllib
from pathlib import Path

import pytest

from tom_auto.scheduling.adopt import init
from tom_auto.scheduling.definition import ScheduleError, read_schedule
from tom_auto.scheduling.install import remove
from tom_auto.scheduling.plan import Site

from .schedule_project import make_project

OTHERS = b'MAILTO=""\n0 1 * * * /usr/bin/backup\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A TOM that was made by hand."""
    made = make_project(tmp_path / 'old_tom')
    (made / 'schedule.toml').unlink()
    (made / 'logs').rmdir()
    return made


def asked(project: Path, replace: bool = False) -> str:
    return '\n'.join(init(Site(project), replace))


def when(project: Path) -> str:
    return tomllib.loads((project / 'schedule.toml').read_text())['updatedata']['when']


def test_without_an_older_line(cron, project):
    cron.table = OTHERS
    told = asked(project)
    assert f'{project}/schedule.toml is written: updatedata runs hourly.' in told
    assert 'schedule install' in told
    schedule = read_schedule(project)
    assert (schedule.environment, [job.name for job in schedule.jobs]) == (
        'virtualenv',
        ['updatedata'],
    )
    assert cron.table == OTHERS


#: What people have in their crontabs, and how often it then runs. {here} is the project.
LINES = {
    '0 * * * * {here}/.venv/bin/python {here}/manage.py updatedata': 'hourly',
    '17 3 * * * cd {here} && .venv/bin/python manage.py updatestatus': '17 3 * * *',
    '*/30 * * * * /usr/bin/python3 "{here}/manage.py" downloaddata >> /tmp/log 2>&1': '*/30 * * * *',
    '@daily cd {here}; ./manage.py updatedata --target_id 1': 'daily',
}


@pytest.mark.parametrize(('line', 'often'), LINES.items())
def test_an_older_line_is_found_and_replaced(cron, project, line, often):
    old = line.format(here=project).encode()
    cron.table = OTHERS + old + b'\n# the end\n'
    told = asked(project)
    assert (when(project), cron.table) == (often, OTHERS + old + b'\n# the end\n')
    assert f'-{old.decode()}' in told and 'schedule init --replace' in told

    told = asked(project, replace=True)
    assert cron.table.startswith(OTHERS + b'# Replaced by tom-auto: ' + old + b'\n# the end\n')
    assert cron.table.count(b' schedule run updatedata') == 1
    assert 'A copy of the old crontab: .cache/crontab/' in told
    [copy] = (project / '.cache' / 'crontab').iterdir()
    assert copy.read_bytes() == OTHERS + old + b'\n# the end\n'
    before = cron.table
    assert 'To install it' in asked(project, replace=True)  # no older line is left
    assert cron.table == before


#: These are no older lines of this project.
FOREIGN = [
    '0 * * * * /srv/other/manage.py updatedata',
    '0 * * * * {here}2/manage.py updatedata',
    '0 * * * * {here}/manage.py updatedata_of_mine',
    '# 0 * * * * {here}/manage.py updatedata',
    '0 * * * * {here}/manage.py clearsessions',
    'PROJECT={here}/manage.py',
]


def test_what_is_no_older_line_stays(cron, project):
    table = ''.join(f'{line}\n' for line in FOREIGN).format(here=project).encode()
    cron.table = table
    assert 'older line' not in asked(project, replace=True)
    assert cron.table == table


def test_two_older_lines_become_one_job(cron, project):
    lines = (
        f'5 * * * * {project}/manage.py updatestatus\n9 * * * * {project}/manage.py downloaddata\n'
    )
    cron.table = lines.encode()
    assert 'Your crontab has 2 older lines' in asked(project)
    asked(project, replace=True)
    assert cron.table.count(b'# Replaced by tom-auto: ') == 2
    assert cron.table.count(b' schedule run updatedata') == 1


#: These do something besides, which nothing replaces.
MIXED = [
    '5 3 * * * cd {here} && pg_dump tom > /backup/tom.sql; python manage.py downloaddata',
    '5 3 * * * cd {here}; ./manage.py updatestatus && ./manage.py runcadencestrategies && mirror.sh',
    '5 3 * * * bash -lc "cd {here} && ./manage.py updatedata && ./manage.py clearsessions"',
    '5 3 * * * cd {here} && ./manage.py updatedata | ./read_its_output.py',
    '5 3 * * * cd {here} && ./manage.py updatedata "and a quotation mark',
    '5 3 * * * (cd {here}; ./manage.py updatedata) < /dev/null; < tom.sql psql copy',
    '5 3 * * * cd {here} && ./manage.py updatestatus && . ./backup.sh',
    '5 3 * * * cd {here} && A=`backup.sh` && ./manage.py updatestatus',
    '5 3 * * * cd {here} && test "$(backup.sh)" && ./manage.py updatestatus',
    '5 3 * * * cd {here} && ./manage.py updatestatus | tee >(python analyse.py)',
]


@pytest.mark.parametrize('line', MIXED)
def test_a_line_that_does_something_else_as_well_stays(cron, project, line):
    mixed = line.format(here=project)
    cron.table = f'9 * * * * {project}/manage.py updatestatus\n{mixed}\n'.encode()
    told = asked(project, replace=True)
    assert f'\n{mixed}\n'.encode() in cron.table
    assert cron.table.count(b'# Replaced by tom-auto: ') == 1
    assert f'something else as well, and stays as it is:\n\n    {mixed}\n' in told
    assert 'crontab -e' in told


def test_where_no_other_line_is_older_it_is_named_as_well(cron, project):
    mixed = MIXED[0].format(here=project)
    cron.table = before = f'{mixed}\n'.encode()
    for told in (asked(project), asked(project, replace=True)):
        assert f'    {mixed}\n' in told and 'To install it' in told
    assert cron.table == before
    assert when(project) == '5 3 * * *'


#: These give the command what the new one would not have, and that is named.
GIVING = {
    'cd {here} && DJANGO_SETTINGS_MODULE=tom.prod python manage.py updatestatus': 'sets DJANGO_SETTINGS_MODULE',
    '{here}/manage.py updatestatus --settings=tom.prod >> /tmp/l 2>&1': 'sets DJANGO_SETTINGS_MODULE',
    '{here}/manage.py updatestatus --settings tom.prod': 'sets DJANGO_SETTINGS_MODULE',
    '{here}/manage.py updatestatus --pythonpath=/opt/more': 'sets PYTHONPATH',
    '. /tmp/tomenv && cd {here} && ./manage.py updatestatus': 'reads /tmp/tomenv',
    'cd {here}; set -a; source ./prod.env; set +a; ./manage.py updatestatus': 'reads ./prod.env',
    'LCO_API_KEY=secret123 MR=/data {here}/manage.py updatestatus': 'sets LCO_API_KEY and sets MR',
    'cd {here} && export LCO_API_KEY=secret123 && ./manage.py updatestatus': 'sets LCO_API_KEY',
    'cd {here}; MR=/data; export MR; ./manage.py updatestatus': 'sets MR',
    'cd {here} && env MR=/data nice python manage.py updatestatus': 'sets MR',
    "MR=/data bash -c 'cd {here} && ./manage.py updatestatus'": 'sets MR',
    "bash -c 'cd {here} && MR=/data ./manage.py updatestatus'": 'sets MR',
    'cd {here} && envdir /etc/tom ./manage.py updatestatus': 'reads a file of variables with envdir',
    'cd {here} && pipenv run ./manage.py updatestatus': 'reads a file of variables with pipenv',
}


@pytest.mark.parametrize(('command', 'given'), GIVING.items())
def test_a_line_that_gives_the_command_something_stays(cron, project, command, given):
    line = f'5 3 * * * {command}'.replace('{here}', str(project))
    cron.table = before = f'{line}\n'.encode()
    told = asked(project, replace=True)
    assert cron.table == before
    assert f'something else as well, and stays as it is:\n\n    {line}\n' in told
    assert f'It {given}: ' in told
    assert '.env' in told and 'manage.py' in told and 'crontab -e' in told
    assert 'secret123' not in told.replace(line, '')
    assert 'To install it' in told


def test_a_line_that_mails_its_output_stays(cron, project):
    line = f'5 3 * * * cd {project} && ./manage.py updatestatus 2>&1 | tee /tmp/l | mail -s tom a@b.org'
    cron.table = before = f'{line}\n'.encode()
    told = asked(project, replace=True)
    assert cron.table == before
    assert 'It pipes its output to mail: ' in told and 'crontab -e' in told
    assert '.env' not in told


#: These do nothing besides, in whatever way they are written.
ALONE = [
    '5 3 * * * cd {here} || exit 1; . .venv/bin/activate && nice -n 10 python manage.py updatedata',
    '5 3 * * * (cd {here}; python manage.py updatestatus; python manage.py downloaddata) >> /tmp/l 2>&1 &',
    "5 3 * * * /bin/bash -lc 'source ~/.profile; conda activate tom && {here}/manage.py updatedata' &> /tmp/l",
    '5 3 * * * TZ=UTC; export TZ; flock -n /tmp/lock {here}/manage.py updatedata 2>&1 | tee -a /tmp/l | logger',
    '5 3 * * * cd "{here}" && ./manage.py updatedata || true',
    '5 3 * * * (cd {here};./manage.py updatedata)|& tee /tmp/l',
    '5 3 * * * cd {here} && PATH=/opt/bin:$PATH LC_ALL=C env HOME=/h ./manage.py updatedata',
    '5 3 * * * . /opt/conda/etc/profile.d/conda.sh; conda activate tom; {here}/manage.py updatedata',
    '5 3 * * * source "/opt/conda/bin/activate" tom && SHELL=/bin/sh {here}/manage.py updatedata',
]


@pytest.mark.parametrize('line', ALONE)
def test_a_line_that_does_nothing_else_is_replaced(cron, project, line):
    cron.table = line.format(here=project).encode() + b'\n'
    told = asked(project, replace=True)
    assert cron.table.startswith(b'# Replaced by tom-auto: 5 3 * * * ')
    assert 'something else' not in told


def test_remove_names_the_lines_that_were_replaced(cron, project, tmp_path):
    foreign = f'# Replaced by tom-auto: 0 * * * * {tmp_path}/another/manage.py updatedata\n'
    old = f'5 3 * * * {project}/manage.py updatestatus'
    cron.table = before = f'{foreign}{old}\n'.encode()
    asked(project, replace=True)
    for _ in range(2):  # the second time, there is nothing to remove
        told = '\n'.join(remove(project))
        assert 'updated this TOM before are still comments' in told and 'crontab -e' in told
        assert f'\n    {old}\n' in told
        assert 'another' not in told
    cron.table = before  # by hand
    assert 'comments' not in '\n'.join(remove(project))


def test_a_schedule_that_is_there_stays(cron, project):
    text = 'environment = "virtualenv"\n[updatedata]\nwhen = "daily"\n'
    (project / 'schedule.toml').write_text(text)
    assert 'is there already, and stays as it is' in asked(project)
    assert (project / 'schedule.toml').read_text() == text


def test_a_machine_without_cron(project, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    told = asked(project)
    assert (project / 'schedule.toml').exists()
    assert 'no `crontab` command' in told and 'Could not check your crontab' in told


def test_somewhere_else(cron, tmp_path):
    with pytest.raises(ScheduleError, match='There is no manage.py'):
        asked(tmp_path)
    assert not (tmp_path / 'schedule.toml').exists()
