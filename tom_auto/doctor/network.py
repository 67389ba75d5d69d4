"""What a shell has for the network, and the schedule lacks: cron starts jobs without it."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from ..jobs import jobs
from ..scheduling import cron_table
from ..scheduling.definition import ScheduleError
from .finding import OK, WARNING, Found, place_of_settings

#: What `requests` reads from the environment, in either case.
PROXIES = ('HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY')
CERTIFICATES = ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'SSL_CERT_FILE', 'SSL_CERT_DIR')
#: What Debian's cron reads before it starts a job (pam_env).
MACHINE = Path('/etc/environment')
SETTING = r'(?m)^\s*(?:export\s+)?["\']?(\w+)["\']?\s*='


def network() -> Found:
    """The jobs reach the network as this does: `doctor` asks the observatories from a shell."""
    found = [name for name in (*PROXIES, *CERTIFICATES) if _is_set(name, os.environ)]
    # In a container all have one environment.
    known = set() if jobs().contained else set(_known_to_jobs())
    lacking = [] if jobs().contained else [name for name in found if not _is_set(name, known)]
    if not lacking:
        yield OK, 'The jobs have the proxy and the certificates that this shell has'
        return
    names = ', '.join(lacking)
    place = '.env' if place_of_settings() == '.env' else 'your crontab, above the job'
    found = f'{names}: set in this shell, but not for the jobs that the schedule starts'
    yield WARNING, found, f'Write the line into {place} as well, such as {lacking[0]}=…'


def _is_set(name: str, among: object) -> bool:
    return name in among or name.lower() in among


def _known_to_jobs() -> Iterator[str]:
    """The names of the variables that a job gets from its files, whatever the shell has."""
    texts = []
    for file in (Path(settings.BASE_DIR) / '.env', MACHINE):
        with contextlib.suppress(OSError):
            texts.append(file.read_text(encoding='utf-8', errors='replace'))
    with contextlib.suppress(ScheduleError):  # no cron, or none for this user
        texts.append(cron_table.read_table().decode(errors='replace'))
    for text in texts:
        yield from re.findall(SETTING, text)
