"""A TOM that works with Celery: its own tests, its checks, its workers, as their operator starts them."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from baking import bake
from needs import need
from postgres import free_port, server
from running import clean_environment, manage, run, tom_python, with_django

pytestmark = pytest.mark.xdist_group('celery')
CELERY = tom_python().parent / 'celery'
WORKERS = 'from tom_auto.models import TaskWorker; print(*TaskWorker.objects.values_list("queues"))'


@pytest.fixture(scope='module')
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The TOM, on a PostgreSQL of the test's own, with a broker."""
    need(shutil.which('redis-server'), 'Redis is not installed (Debian: redis-server)')
    made = bake(tmp_path_factory.mktemp('tom'), database='postgresql', task_engine='celery')
    assert made.status == 0, made.printed
    port = free_port()
    words = f'--port {port} --bind 127.0.0.1 --appendonly no --dir {made.project.parent}'.split()
    with (
        server() as postgres,
        subprocess.Popen(
            ['redis-server', *words, '--save', ''], stdout=subprocess.DEVNULL
        ) as redis,
    ):
        file = made.project / '.env'
        text = (made.project / '.env.example').read_text()
        text = text.replace('SECRET_KEY=\n', f'SECRET_KEY={"x" * 50}\n')
        text = text.replace('postgresql:///my_tom', postgres.url)
        file.write_text(text.replace('redis://localhost:6379/0', f'redis://127.0.0.1:{port}/0'))
        try:
            done = manage(made.project, 'migrate', '--noinput')
            assert done.returncode == 0, done.stdout
            yield made.project
        finally:
            redis.kill()


def test_its_own_tests_and_checks_pass(project: Path) -> None:
    done = run(project, tom_python(), '-m', 'pytest', '-q', '-p', 'no:cacheprovider')
    assert done.returncode == 0, done.stdout
    done = manage(project, 'check', '--fail-level', 'WARNING')
    assert done.returncode == 0, done.stdout


def test_a_worker_works_and_ends_in_order(project: Path) -> None:
    with (project / 'worker.log').open('wb') as log:
        worker = subprocess.Popen(
            [CELERY, '-A', 'my_tom', 'worker', '-c', '1'],
            cwd=project, env=clean_environment(project), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not (queues := with_django(project, WORKERS).strip()):
            assert worker.poll() is None and time.monotonic() < end, (
                project / 'worker.log'
            ).read_text()
        assert 'my_tom.hooks' in queues
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
        assert with_django(project, WORKERS).strip() == ''
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize('program', ['worker', 'beat'])
def test_nothing_starts_with_a_wrong_broker_and_the_line_is_named(
    program: str, project: Path
) -> None:
    lines = (project / '.env').read_text().splitlines()
    [line] = [number for number, text in enumerate(lines, 1) if text.startswith('CELERY_')]
    kept = '\n'.join(lines)
    (project / '.env').write_text(kept.replace(lines[line - 1], 'CELERY_BROKER_URL=localhost'))
    try:
        done = run(project, CELERY, '-A', 'my_tom', program, timeout=60)
    finally:
        (project / '.env').write_text(kept + '\n')
    assert done.returncode == 1, done.stdout
    assert f'not the address of a broker. .env, line {line}. It begins' in done.stdout
    assert 'Traceback' not in done.stdout
