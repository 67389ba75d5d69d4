"""Checks of what is elsewhere: the observatories, their clock, the mail server."""

import smtplib
from contextlib import closing
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

import requests
from django.conf import settings
from django.core.mail import get_connection
from django.utils import timezone
from tom_observations.facility import get_service_classes

from .finding import FAILED, OK, WARNING, Found

TIMEOUT = (10, 20)  # seconds, for connecting and for reading
SKEW = 60  # seconds that a clock may be wrong


def credentials() -> Found:
    """Each observatory accepts its token: one question to each account, which changes nothing."""
    accounts: dict[tuple[str, str], list[str]] = {}
    unknown = []
    for name in get_service_classes():
        options = settings.FACILITIES.get(name, {})
        portal, token = options.get('portal_url'), options.get('api_key')
        if not isinstance(portal, str) or not isinstance(token, str):
            unknown.append(name)
        elif token:
            accounts.setdefault((portal, token), []).append(name)
        else:
            fix = f'{name}_API_KEY in .env'
            yield WARNING, f'{name} has no token: only public data comes home', fix
    for (portal, token), names in accounts.items():
        yield _profile(', '.join(names), names[0], portal, token)
    if unknown:
        yield OK, f'Not asked, as they have no portal with a token: {", ".join(unknown)}'


def _profile(names: str, name: str, portal: str, token: str) -> tuple[str, ...]:
    try:
        answer = _get(urljoin(portal, '/api/profile/'), {'Authorization': f'Token {token}'})
    except requests.RequestException as error:
        fix = f'Is {portal} right ({name}_PORTAL_URL in .env), and does this machine reach it?'
        return FAILED, f'{names}: no answer ({type(error).__name__})', fix
    if answer.status_code == 200:
        return OK, f'{names}: the token is accepted'
    if answer.status_code in (401, 403):
        return FAILED, f'{names}: the token is refused', f'A new one in .env: {name}_API_KEY'
    return WARNING, f'{names}: it answered {answer.status_code}', 'Try again later'


def clock() -> Found:
    """The clock of this machine agrees with that of an observatory: times decide what is due."""
    options = map(settings.FACILITIES.get, get_service_classes())
    found = (each.get('portal_url') for each in options if isinstance(each, dict))
    portals = {portal for portal in found if isinstance(portal, str) and portal}
    for portal in sorted(portals):
        try:
            date = _get(portal, {}).headers['Date']
        except (requests.RequestException, KeyError):
            continue
        yield _skew(portal, parsedate_to_datetime(date))
        return
    fix = 'Compare `date -u` with a clock that is right; timedatectl set-ntp true (as root)'
    yield WARNING, 'No observatory told what time it is', fix


def _skew(portal: str, date: datetime) -> tuple[str, ...]:
    skew = abs((timezone.now() - date).total_seconds())
    if skew > SKEW:
        told = f'This clock and that of {portal} differ by {skew:.0f} s'
        return FAILED, told, 'timedatectl set-ntp true (as root)'
    return OK, f'This clock agrees with that of {portal}'


def _get(address: str, headers: dict[str, str]) -> requests.Response:
    return requests.get(address, headers=headers, timeout=TIMEOUT, allow_redirects=False)


def mail() -> Found:
    """Somebody is told when the automation fails, and the mail server takes it."""
    if not settings.ADMINS:
        yield WARNING, 'Nobody is told when the automation fails', 'ADMINS in .env'
        return
    server = f'{settings.EMAIL_HOST}:{settings.EMAIL_PORT}'
    try:
        with closing(get_connection()) as mailer:
            mailer.open()
    except (OSError, smtplib.SMTPException) as error:
        fix = 'EMAIL_HOST and the lines below it in .env; then: manage.py sendtestemail --admins'
        yield FAILED, f'{server} takes no mail ({type(error).__name__})', fix
    else:
        yield OK, f'{server} answers, and {len(settings.ADMINS)} people are told'
