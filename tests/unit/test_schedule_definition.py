"""schedule.toml: what it may say, and how it says no."""

from pathlib import Path

import pytest

from tom_auto.scheduling.cron_expression import BadExpression, five_fields
from tom_auto.scheduling.definition import Job, ScheduleError, read_schedule

HERE = '/home/someone/my_tom'


def read(tmp_path: Path, text: str) -> object:
    (tmp_path / 'schedule.toml').write_text(text, encoding='utf-8')
    return read_schedule(tmp_path)


def test_jobs_in_the_order_of_the_file(tmp_path: Path) -> None:
    schedule = read(
        tmp_path,
        'environment = "conda"\npython = "/opt/tom/bin/python"\n'
        '[updatetargets]\nwhen = "3  4 *\\t* *"\nenabled = false\n'
        '[updatedata]\nwhen = "*/20 1-5,7 1 1,6 0"\n',
    )
    assert schedule.environment == 'conda'
    assert schedule.python == '/opt/tom/bin/python'
    assert schedule.jobs == (
        Job('updatetargets', '3 4 * * *', enabled=False),
        Job('updatedata', '*/20 1-5,7 1 1,6 0', enabled=True),
    )
    assert [job.name for job in schedule.enabled()] == ['updatedata']


@pytest.mark.parametrize(
    'expression',
    [
        '* * * * *',
        '0 0 1 1 0',
        '59 23 31 12 7',
        '05 09 * * *',
        '*/15 * * * *',
        '*/59 * * * *',
        '7,22,37,52 * * * *',
        '0-30/10 8-18 * * 1-5',
        '0 0 29 2 *',
        '0 0 31 2,3 *',
        '0 0 30,29 2 *',
        '0 12 */2 * *',
        '0 12 * * 5-7',
    ],
)
def test_expressions_that_cron_reads_as_they_are_meant(expression: str) -> None:
    assert five_fields(expression, HERE, 'updatedata') == expression


@pytest.mark.parametrize(
    ('expression', 'reason'),
    [
        ('', 'this has 0'),
        ('* * * *', 'this has 4'),
        ('0 * * * * *', 'this has 6'),
        ('@hourly', 'this has 1'),
        ('every 5 minutes', 'this has 3'),
        ('Hourly', 'this has 1'),
        ('0~59 * * * *', '"0~59" is not a valid minute'),
        ('1#2 * * * *', '"1#2" is not a valid minute'),
        ('0 0 * * 1#2', '"1#2" is not a valid day of week'),
        ('0 0 L * *', '"L" is not a valid day of month'),
        ('0 0 * jan *', '"jan" is not a valid month'),
        ('0 0 * * mon', '"mon" is not a valid day of week'),
        ('-5 * * * *', '"-5" is not a valid minute'),
        ('1,,2 * * * *', '"" is not a valid minute'),
        ('1, * * * *', '"" is not a valid minute'),
        ('*5 * * * *', '"*5" is not a valid minute'),
        ('1-5-7 * * * *', '"1-5-7" is not a valid minute'),
        ('١ * * * *', 'is not a valid minute'),
        ('007 * * * *', '"007" is not a valid minute'),
        ('% * * * *', '"%" is not a valid minute'),
        ('60 * * * *', 'from 0 to 59'),
        ('* 24 * * *', 'from 0 to 23'),
        ('* * 0 * *', 'from 1 to 31'),
        ('* * 32 * *', 'from 1 to 31'),
        ('* * * 13 *', 'from 1 to 12'),
        ('* * * * 8', 'from 0 to 7'),
        ('10-5 * * * *', 'the smaller one first'),
        ('50-70 * * * *', 'from 0 to 59'),
        ('*/90 * * * *', 'a step of 90'),
        ('*/60 * * * *', 'a step of 60'),
        ('*/0 * * * *', 'a step of 0'),
        ('* */24 * * *', 'a step of 24'),
        ('* * * * */7', 'a step of 7'),
        ('0-10/15 * * * *', 'a step of 15'),
        ('5/15 * * * *', '"5-59/15"'),
        ('0 0 31 2 *', 'never run'),
        ('0 0 30 2 *', 'never run'),
        ('0 0 30 2 1', 'only its weekdays'),
        ('0 0 31 4,6,9,11 *', 'never run'),
    ],
)
def test_expressions_that_cron_would_refuse_or_misread(expression: str, reason: str) -> None:
    with pytest.raises(BadExpression) as refusal:
        five_fields(expression, HERE, 'updatedata')
    assert reason in str(refusal.value)


def minutes(field: str) -> list[int]:
    return [int(number) for number in field.split(',')]


def test_words_become_times_of_the_projects_own() -> None:
    places = [f'/home/user{number}/my_tom' for number in range(500)]
    for place in places:
        hourly, *rest = five_fields('hourly', place, 'updatedata').split()
        assert 1 <= int(hourly) <= 59
        assert rest == ['*'] * 4

        quarters, *rest = five_fields('every 15 minutes', place, 'updatedata').split()
        first = minutes(quarters)[0]
        assert minutes(quarters) == [first, first + 15, first + 30, first + 45]
        assert 1 <= first <= 14
        assert rest == ['*'] * 4

        minute, hours, *rest = five_fields('every 6 hours', place, 'updatedata').split()
        first = minutes(hours)[0]
        assert 1 <= int(minute) <= 59
        assert minutes(hours) == [first, first + 6, first + 12, first + 18]
        assert first in (4, 5)
        assert rest == ['*'] * 3

        minute, hour, *rest = five_fields('daily', place, 'updatedata').split()
        assert 1 <= int(minute) <= 59
        assert 4 <= int(hour) <= 23
        assert rest == ['*'] * 3
    used = {five_fields('hourly', place, 'updatedata').split()[0] for place in places}
    assert len(used) == 59, 'projects are spread over the whole hour'


def test_the_times_of_a_project_stay() -> None:
    # Golden: another choice would put every installed line out of date.
    assert five_fields('hourly', HERE, 'updatedata') == HOURLY
    assert five_fields(' every  6 hours', HERE, 'updatedata') == SIX_HOURLY
    assert five_fields('hourly', HERE, 'updatetargets') != HOURLY


HOURLY = '48 * * * *'
SIX_HOURLY = '48 5,11,17,23 * * *'

JOB = '[updatedata]\nwhen = "hourly"\n'


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('environment = "conda', ['cannot be read', 'when = "hourly"']),
        (JOB, ['environment = (missing)', '"virtualenv", "conda", "system"']),
        (f'environment = "podman"\n{JOB}', ['environment = "podman"', '"virtualenv"']),
        (f'environment = 3\n{JOB}', ['environment = 3']),
        (f'environment = "conda"\npython = "python3"\n{JOB}', ['python = "python3"', '/opt/tom']),
        (f'environment = "conda"\nwhen = "daily"\n{JOB}', ['"when"', '[updatedata]']),
        ('environment = "conda"\n[updatedata]\n', ['[updatedata] when = (missing)', '17 * * * *']),
        (
            'environment = "conda"\n[updatedata]\nwhen = 5\n',
            ['[updatedata] when = 5', 'must be text'],
        ),
        (f'environment = "conda"\n{JOB}enabled = "no"\n', ['enabled = "no"', 'enabled = false']),
        (f'environment = "conda"\n{JOB}python = "/x"\n', ['"python"', 'above the first']),
        ('environment = "conda"\n["rm -rf"]\nwhen = "daily"\n', ['[rm -rf]', 'manage.py']),
        ('environment = "conda"\n[updatedata]\nwhen = "*/90 * * * *"\n', ['[updatedata]', '*/90']),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, text: str, said: list[str]) -> None:
    with pytest.raises(ScheduleError) as refusal:
        read(tmp_path, text)
    for part in [str(tmp_path / 'schedule.toml'), *said]:
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ('text', 'place'),
    [
        (f'\nenvironment = "podman"\n{JOB}', 'line 2: environment'),
        (f'environment = "conda"\n\n{JOB}\n[b]\nwhen = "x"\n', 'line 7: [b] when = "x"'),
        (f'environment = "conda"\n{JOB}[b]\nenabled = true\n', 'line 4: [b] when = (missing)'),
        (f'environment = "conda"\n{JOB} timeout = 0\n', 'line 4: [updatedata] timeout = 0'),
        (f'environment = "conda"\n{JOB}timeout = "1h"\n', 'line 4: [updatedata] timeout = "1h"'),
        (f'environment = "conda"\n{JOB}"nice" = 5\n', 'line 4: [updatedata] has "nice"'),
        (f'environment = "conda"\n{JOB}command = "updatedata"\n', 'line 4: [updatedata] command'),
        (f'environment = "conda"\n{JOB}command = ["-v"]\n', 'line 4: [updatedata] command'),
        (f'environment = "conda"\n{JOB}command = ["a", "b\\n"]\n', 'without line breaks'),
        (
            f'environment = "conda"\n["A"]\nwhen = "daily"\n{JOB}',
            'line 2: [A] is not a valid job name',
        ),
        ('environment = "conda"\n[b]\nwhen = daily\n', '(at line 3, column 8)'),
        ('environment = "conda"\n[b_]\nwhen = "daily"\n', 'line 2: [b_] is not a valid job name'),
        (f'environment = "conda"\n{JOB}timeout = {10**9}\n', 'line 4: [updatedata] timeout = 1000'),
        ('environment = "conda"\npython = "/a\\nb"\n', 'line 2: python = "/a\\nb"'),
        ('environment = "conda"\n[[b]]\nwhen = "daily"\n', 'line 2: "b" is not an option'),
        ('environment = "conda"\n[b.more]\nx = 1\n', 'line 2: [b] has "more"'),
        ('environment = "conda"\nb = { when = "x" }\n', 'line 2: [b] when = "x"'),
        ('environment = "conda"\nb.enabled = 1\nb . "when" = "x"\n', 'line 2: [b] enabled = 1'),
        ('environment = "conda"\nb.enabled = true\nb . "when" = "x"\n', 'line 3: [b] when'),
        (
            'environment = "conda"\n[b]\nwhen = ["daily"]\n',
            'line 3: [b] when = ["daily"]: it must be text',
        ),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        read(tmp_path, text)
    assert place in str(refusal.value)


def test_an_example_that_would_pass(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError) as refusal:
        read_schedule(tmp_path)
    example = str(refusal.value).partition('For example:\n\n')[2]
    assert [job.name for job in read(tmp_path, example.replace('    ', '')).jobs] == ['updatedata']


def test_a_file_that_windows_has_written(tmp_path: Path) -> None:
    [job] = read(tmp_path, f'\ufeffenvironment = "conda"\n{JOB}'.replace('\n', '\r\n')).jobs
    assert job.name == 'updatedata'


def test_a_job_with_arguments_and_a_timeout(tmp_path: Path) -> None:
    text = 'environment = "conda"\n[nightly]\nwhen = "5 4 * * *"\ntimeout = 60\n'
    schedule = read(tmp_path, text + 'command = ["updatedata", "--target", "M 31"]\n')
    [job] = schedule.jobs
    assert job.words == ('updatedata', '--target', 'M 31')
    assert job.timeout == 60


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match='There is no .*schedule.toml'):
        read_schedule(tmp_path)
    (tmp_path / 'schedule.toml').write_bytes(b'environment = "\xff"')
    with pytest.raises(ScheduleError, match='cannot be read'):
        read_schedule(tmp_path)


def test_the_name_updatedata_is_for_that_command(tmp_path):
    file = tmp_path / 'schedule.toml'
    file.write_text('environment = "system"\n[updatedata]\nwhen = "daily"\ncommand = ["report"]\n')
    with pytest.raises(ScheduleError, match=r'line 4: \[updatedata\] runs report. Give'):
        read_schedule(tmp_path)
