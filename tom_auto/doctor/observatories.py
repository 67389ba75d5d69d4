"""Do the observatories answer this TOM, and take its token? Does their clock agree with ours?"""

from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urljoin

import requests
from django.conf import settings
from django.utils import timezone

from ..observatories.facilities import facility_classes
from ..redact import redact
from .finding import FAILED, OK, WARNING, Found, place_of_settings

ask = partial(requests.get, timeout=(10, 20), allow_redirects=False)  # seconds
SKEW = 60  # seconds that a clock may be wrong
#: The two services of an observatory of LCO's kind: who a token belongs to is asked there.
SERVICES = {'portal': '/api/profile/', 'archive': '/profile/'}


def observatories() -> Found:
    """Each portal and archive takes its token: one request for each account changes nothing."""
    classes, broken = facility_classes()
    for path, error in broken.items():
        fix = f'Update or install its package, or take {path} out of TOM_FACILITY_CLASSES'
        yield FAILED, f'{path} cannot be imported: {redact(str(error))}', fix
    accounts: dict[tuple[str, str, str], list[str]] = {}
    unknown = []
    entries = {name: _entry(name, facility_class()) for name, facility_class in classes.items()}
    for name, entry in entries.items():
        match settings.FACILITIES.get(entry, {}):
            case {'portal_url': str(), 'api_key': ''}:
                fix = 'Set ' + _where(entry, 'API_KEY')
                yield WARNING, f'{name} has no token: only public data is downloaded', fix
            case {'portal_url': str(portal), 'api_key': str(token), **others}:
                archive = others.get('archive_url') or ''
                accounts.setdefault((portal, archive, token), []).append(name)
            case _:
                unknown.append(name)
    for (portal, archive, token), names in accounts.items():
        for service, address in (('portal', portal), ('archive', archive)):
            if address:
                yield _asked(service, ', '.join(names), entries[names[0]], address, token)
    if unknown:
        yield OK, f'Not checked, because they have no portal with a token: {", ".join(unknown)}'


def _entry(name: str, facility: object) -> str:
    """The name that its settings have in FACILITIES: LCORedirect uses LCO's."""
    facility = getattr(facility, 'lco_facility', facility)
    return getattr(getattr(facility, 'facility_settings', None), 'facility_name', name)


def _where(entry: str, option: str) -> str:
    if (place := place_of_settings()) == '.env':
        return f'{entry.upper()}_{option} in {place}'  # its name in .env is in capitals
    return f"FACILITIES['{entry}']['{option.lower()}'] in {place}"


def _asked(service: str, names: str, entry: str, address: str, token: str) -> tuple[str, ...]:
    """What the portal or the archive of an account says to its token."""
    option = f'{service.upper()}_URL'
    fix = f'Is {address} correct ({_where(entry, option)})? Can this machine reach it?'
    try:
        url = urljoin(address, SERVICES[service])
        answer = ask(url, headers={'Authorization': f'Token {token}'})
    except requests.RequestException as error:
        return FAILED, f'{names}: no answer from the {service} ({type(error).__name__})', fix
    if answer.status_code in (401, 403):
        fix = f'Set {_where(entry, "API_KEY")} to a new token'
        return FAILED, f'{names}: the {service} refuses the token', fix
    if answer.status_code in (429, *range(500, 600)):
        found = f'{names}: the {service} answered {answer.status_code}'
        return FAILED, found, f'Try again later. {fix}'
    try:
        profile = answer.json() if answer.status_code == 200 else None
    except requests.exceptions.InvalidJSONError:
        profile = None
    if not isinstance(profile, dict):
        return FAILED, f'{names}: {address} does not answer as the {service} does', fix
    if service == 'archive' and not (profile.get('profile') or {}).get('proposals', True):
        fix = f'Is the token a current one ({_where(entry, "API_KEY")})? Does it have a proposal?'
        return WARNING, f'{names}: the archive lists no proposal for this account', fix
    return OK, f'{names}: the {service} takes the token'


def clock() -> Found:
    """The clock of this machine agrees with an observatory's: times decide what is due."""
    entries = [settings.FACILITIES.get(name) or {} for name in facility_classes()[0]]
    found = {str(entry['portal_url']) for entry in entries if 'portal_url' in entry}
    for portal in sorted(url for url in found if url.startswith('http')):
        try:
            date = parsedate_to_datetime(ask(portal).headers['Date'])
        except (requests.RequestException, KeyError):
            continue
        skew = abs((timezone.now() - date).total_seconds())
        wrong = f'This clock and that of {portal} differ by {skew:.0f} s'
        well = OK, f'This clock agrees with that of {portal}'
        yield (FAILED, wrong, 'timedatectl set-ntp true (as root)') if skew > SKEW else well
        return
    fix = 'Compare `date -u` with a reliable clock; timedatectl set-ntp true (as root)'
    yield WARNING, 'Not checked: no observatory sent the time', fix
