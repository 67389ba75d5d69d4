"""What `schedule show` writes for each scheduler, judged by the schedulers' own tools."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from baking import Bake
from needs import need
from running import run

GOLDEN = Path(__file__).parent / 'golden'

SCHEDULE = """
environment = "{environment}"
id = "7f3a09c2"
[updatedata]
when = "hourly"
[nightly]
when = "5 4 1-7 * 5,7"
command = ["updatedata", "--recheck", "--target", "NGC 100% $(x)"]
timeout = 3600
[updatetargets]
when = "daily"
enabled = false
"""

#: Renders every format for a project that need not be there. Knows no Django.
RENDER = """
import json, os, sys
from pathlib import Path
from tom_auto.scheduling import cron_line, definition, interpreter, kubernetes, plan, systemd
interpreter.shutil.which = lambda name: f'/usr/bin/{name}'
text, place, slug = json.load(sys.stdin)
project = Path(place)
schedule = definition._schedule(definition.tomllib.loads(text), project)
told = {}
if schedule.environment == 'kubernetes':
    told['kubernetes'] = kubernetes.manifests(schedule, slug, 'registry.example.org/tom:1.0')
else:
    machines = Path('/usr/bin/python3') if schedule.environment == 'system' else None
    start = interpreter.command_start(schedule, project, machines)
    plan = plan.Plan(project, slug, schedule, start)
    lines = cron_line.crontab_lines(plan)
    told['crontab'] = ''.join(os.fsdecode(line) + '\\n' for line in lines)
    files = systemd.units(plan)
    told['units'] = {name: os.fsdecode(text) for name, text in files.items()}
print(json.dumps(told))
"""


def render(
    bake: Bake,
    environment: str,
    place: str = '/home/me/my_tom',
    slug: str = 'my_tom',
    text: str = SCHEDULE,
    **variables: str,
) -> dict:
    """What the code of a generated project writes for one in the directory `place`."""
    done = subprocess.run(
        [sys.executable, '-B', '-S', '-c', RENDER],
        cwd=bake.project,
        env={'PATH': os.environ['PATH'], **variables},
        input=json.dumps([text.replace('{environment}', environment), place, slug]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_golden(name: str, text: str) -> None:
    """`text` is what the file says; UPDATE_GOLDEN=1 writes it, to be looked at in the diff."""
    file = GOLDEN / name
    if os.environ.get('UPDATE_GOLDEN') == '1':
        file.write_text(text, encoding='utf-8')
    assert text == file.read_text(encoding='utf-8')


@pytest.mark.parametrize('environment', ['virtualenv', 'conda', 'system', 'docker'])
def test_golden_crontab(default_bake: Bake, environment: str) -> None:
    assert_golden(f'crontab-{environment}.txt', render(default_bake, environment)['crontab'])


def test_golden_crontab_of_conda_with_scripts(default_bake: Bake, tmp_path: Path) -> None:
    """Such as those of PROJ and GDAL, which only `conda run` runs."""
    prefix, conda = tmp_path / '.conda', tmp_path / 'miniforge' / 'bin' / 'conda'
    for script in (prefix / 'etc/conda/activate.d/proj4-activate.sh', conda):
        script.parent.mkdir(parents=True)
        script.touch(mode=0o755)
    (prefix / 'conda-meta').mkdir()
    text = SCHEDULE.replace('hourly', '17 * * * *')
    lines = render(default_bake, 'conda', str(tmp_path), text=text, CONDA_EXE=str(conda))['crontab']
    assert_golden('crontab-conda-activated.txt', lines.replace(str(tmp_path), '/home/me/my_tom'))


@pytest.mark.parametrize('environment', ['virtualenv', 'docker'])
def test_golden_units(default_bake: Bake, environment: str) -> None:
    units = render(default_bake, environment)['units']
    text = '\n'.join(f'### {name}\n{unit}' for name, unit in units.items())
    assert_golden(f'systemd-{environment}.txt', text)


def test_golden_manifests(default_bake: Bake) -> None:
    assert_golden('kubernetes.yaml', render(default_bake, 'kubernetes')['kubernetes'])


# --- systemd ------------------------------------------------------------------------------------

PLACES = [
    '/srv/two words', "/srv/o'neill", '/srv/say "tom"', '/srv/100%', '/srv/%h/%%', '/srv/\\', '/srv/a\\n',
    '/srv/\\x41', '/srv/$HOME', '/srv/${PATH}', '/srv/`id`', '/srv/#tom', '/srv/;', '/srv/-n', '/srv/*?',
    '/srv/M\u00fcnchen \U0001f52d', '/srv/caf\udce9', '/srv/tab\there', '/srv/\x01\x7f', '/srv/' + 'x' * 200,
    '/srv/ends\\', '/srv/@!+:', '/srv/~', '/srv/{a}', '/srv/A=b',
]  # fmt: skip


@pytest.fixture
def systemd_analyze() -> str:
    """The program, which works without systemd at work."""
    program = shutil.which('systemd-analyze')
    need(program, 'needs systemd-analyze (Debian package systemd)')
    return program


@pytest.mark.parametrize('place', PLACES)
def test_systemd_takes_the_units(
    default_bake: Bake, systemd_analyze: str, tmp_path: Path, place: str
) -> None:
    units = render(default_bake, 'virtualenv', place)['units']
    for name, text in units.items():
        (tmp_path / name).write_bytes(os.fsencode(text))
    done = run(tmp_path, systemd_analyze, 'verify', *(f'./{name}' for name in units))
    assert (done.returncode, done.stdout) == (0, '')
    service = units[next(name for name in units if 'nightly' in name and name.endswith('.service'))]
    [line] = re.findall(r'(?m)^ExecStart=(.*)$', service)
    assert words_of(line) == [
        '/bin/sh', '-c', 'exec "$0" "$@"', f'{place}/.venv/bin/python', f'{place}/manage.py',
        'schedule', 'run', 'nightly',
    ]  # fmt: skip


def words_of(line: str) -> list[str]:
    """The words that systemd.service(5) makes of ExecStart, with its specifiers and variables."""
    words = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\'[^\']*\'|\S+)', line):
        text = re.sub(r'\\(x[0-9a-f]{2}|.)', unescaped, quoted) if quoted else plain.strip("'")
        assert not re.search(r'(?<!%)(?:%%)*%(?!%)', text), 'a specifier'
        assert not re.search(r'(?<!\$)(?:\$\$)*\$(?!\$)', text), 'a variable'
        raw = text.replace('%%', '%').replace('$$', '$').encode('utf-8', 'surrogateescape')
        words.append(os.fsdecode(raw))
    return words


def unescaped(found: re.Match[str]) -> str:
    escape = found.group(1)
    return os.fsdecode(bytes([int(escape[1:], 16)])) if len(escape) == 3 else escape


EXPRESSIONS = [
    '17 * * * *', '1,16,31,46 * * * *', '*/15 9-17 * * 1-5', '0 0 29 2 *', '0 12 * * 7', '0 12 * * 0',
    '5 4 13 * 5', '5 4 1-7 * 5,7', '30 2 * 3,10 0', '0-30/10 8-18/2 1,15 * *', '* * * * *', '59 23 31 12 *',
    '0 6 31 * 1', '3 3 * * */2', '3 3 */10 * *', '0 0 1 1 0-7', '7 5 * * */1',
]  # fmt: skip

#: When cron would run each, and what systemd is told, from the code of a generated project.
TIMES = """
import json, sys
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tom_auto.scheduling import next_times, systemd, zone
zone.LOCALTIME = Path('/nowhere')
now = datetime(2026, 3, 20, 12, 30, 30, tzinfo=UTC)
told = {when: [systemd.calendar(when), [time.strftime('%Y-%m-%d %H:%M') for time in islice(next_times.runs(when, now), 12)]] for when in json.load(sys.stdin)}
print(json.dumps(told))
"""


def test_systemd_runs_it_when_cron_does(
    default_bake: Bake, systemd_analyze: str, tom_python: Path
) -> None:
    done = subprocess.run(
        [tom_python, '-B', '-c', TIMES],
        cwd=default_bake.project,
        input=json.dumps(EXPRESSIONS),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for when, (calendar, expected) in json.loads(done.stdout).items():
        due = sorted({time for one in calendar for time in elapses(systemd_analyze, one)})
        assert due[:12] == expected, when


def elapses(systemd_analyze: str, calendar: str) -> list[str]:
    """The next twelve times of an OnCalendar expression."""
    done = subprocess.run(
        [
            systemd_analyze,
            'calendar',
            '--iterations=12',
            '--base-time=2026-03-20 12:30:30 UTC',
            calendar,
        ],
        env={'PATH': os.environ['PATH'], 'TZ': 'UTC'},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return re.findall(
        r'(?:Next elapse|Iter\. #\d+|Iteration #\d+): \w+ (\S+ \d\d:\d\d):00', done.stdout
    )


# --- Kubernetes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'slug', ['my_tom', 'a_', 'a' * 40, 'a_very_long_name_of_a_tom_ends_with_under'[:40]]
)
def test_kubernetes_takes_the_manifests(default_bake: Bake, slug: str) -> None:
    text = render(default_bake, 'kubernetes', slug=slug)['kubernetes']
    manifests = list(yaml.safe_load_all(text))
    assert len(manifests) == 2, 'one for each job that is enabled'
    for manifest in manifests:
        assert_policy(manifest)
        for version in ('1.27.0', kubernetes_validate.latest_version()):
            kubernetes_validate.validate(manifest, version, strict=True)
    assert len({manifest['metadata']['name'] for manifest in manifests}) == 2


def test_what_the_manifests_say(default_bake: Bake) -> None:
    text = render(default_bake, 'kubernetes')['kubernetes']
    hourly, nightly = yaml.safe_load_all(text)
    for manifest in (hourly, nightly):
        assert_policy(manifest)
    assert re.fullmatch(r'\d+ \* \* \* \*', hourly['spec']['schedule'])
    assert nightly['spec']['schedule'] == '5 4 1-7 * 0,5', 'Kubernetes has no day 7'
    pod = nightly['spec']['jobTemplate']['spec']['template']['spec']
    [container] = pod['containers']
    assert container['command'] == ['python', 'manage.py', 'schedule', 'run', 'nightly']
    assert container['image'] == 'registry.example.org/tom:1.0'


def assert_policy(manifest: dict) -> None:
    """What the schema does not say: the enumerations, the names, the time zone."""
    name, spec = manifest['metadata']['name'], manifest['spec']
    assert re.fullmatch(r'[a-z0-9]([a-z0-9-]*[a-z0-9])?', name)
    assert len(name) <= 52
    for value in manifest['metadata']['labels'].values():
        assert re.fullmatch(r'[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?', value)
    assert spec['concurrencyPolicy'] == 'Forbid'
    assert spec['timeZone'] == 'Etc/UTC'
    assert spec['startingDeadlineSeconds'] >= 100, 'below, Kubernetes may miss runs'
    job = spec['jobTemplate']['spec']
    assert job['backoffLimit'] == 0
    assert job['template']['spec']['restartPolicy'] == 'Never'
    [container] = job['template']['spec']['containers']
    assert re.fullmatch(r'[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?', container['name'])
    secret, _ = container['envFrom']
    assert re.fullmatch(r'[a-z0-9]([a-z0-9-]*[a-z0-9])?', secret['secretRef']['name'])
