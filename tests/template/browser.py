"""Serves a generated TOM with gunicorn, and looks at it with the Chromium of this machine."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from playwright.sync_api import Browser, sync_playwright

from running import clean_environment, manage, tom_python

#: What a root user in a container needs, and what keeps Chromium from calling home.
FLAGS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--disable-dev-shm-usage',
]
STARTS_WITHIN = 120  # seconds, on a busy machine


def chromium() -> str | None:
    """The Chromium of this machine: none is ever downloaded."""
    return shutil.which('chromium') or shutil.which('chromium-browser')


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def served(project: Path, workers: int = 2, **variables: str) -> Iterator[str]:
    """The address of the TOM, which `prepare` has seen, served as in production without https.

    `variables` are added to the environment of the server, and so of the runs that it starts.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    url = f'http://127.0.0.1:{port}'
    production = {'DEBUG': 'false', 'HTTPS': 'false', 'ALLOWED_HOSTS': '127.0.0.1'}
    log = project / 'logs' / 'gunicorn.log'
    options = ['--workers', str(workers), '--bind', f'127.0.0.1:{port}', '--timeout', '120']
    with log.open('w') as printed:
        server = subprocess.Popen(
            [tom_python(), '-m', 'gunicorn', f'{project.name}.wsgi', *options],
            cwd=project,
            env=clean_environment(project, **production, **variables),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_it_answers(url, server, log)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def collect_static(project: Path) -> None:
    """Make the files that the server needs."""
    done = manage(project, 'collectstatic', '--noinput', '-v0')
    assert done.returncode == 0, done.stdout


def wait_until_it_answers(url: str, server: subprocess.Popen, log: Path) -> None:
    """Return once the server answers. Raises AssertionError when it ends or takes too long."""
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            requests.get(f'{url}/robots.txt', timeout=60)
        except requests.ConnectionError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f'no answer within {STARTS_WITHIN} s: {log.read_text()}')
