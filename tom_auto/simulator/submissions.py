"""The portal takes requests: what it checks, and what becomes of them (`POST /api/requestgroups/`).

Of the many checks of the real portal these are the ones that a TOM can fail by: a proposal of
somebody else, a window that is over, an instrument that does not exist.
"""

import json
from typing import Any

from .lists import moment
from .messages import Call, Reply, json_reply
from .model import Account, Request
from .night import Night

#: As much of each instrument as tomtoolkit's forms read, by its code.
INSTRUMENTS = {
    code: {
        'name': code,
        'type': 'IMAGE',
        'class': '1m0',
        'optical_elements': {
            'filters': [{'name': "SDSS-r'", 'code': 'rp', 'schedulable': True, 'default': True}]
        },
        'modes': {'guiding': {'modes': [{'name': 'On', 'code': 'ON'}]}},
        'configuration_types': {
            'EXPOSE': {'name': 'Exposure', 'code': 'EXPOSE', 'schedulable': True}
        },
        'default_configuration_type': 'EXPOSE',
    }
    for code in ('1M0-SCICAM-SINISTRO', 'SOAR_GHTS_REDCAM_IMAGER')
}


def submitted(night: Night, call: Call, account: Account | None) -> Reply:
    """The answer to a request group that somebody sends; `/validate/` only checks it."""
    if account is None:
        return json_reply({'detail': 'Authentication credentials were not provided.'}, 403)
    try:
        group = json.loads(call.body)
        errors = _errors(night, group, account)
    except (KeyError, IndexError, TypeError, ValueError):
        return json_reply({'non_field_errors': ['This is not a request group.']}, 400)
    if call.path.endswith('/validate/'):
        return json_reply({'errors': errors})
    if errors:
        return json_reply(errors, 400)
    requests = _taken(night, group, account)
    shown = [{'id': one.id, 'state': one.state} for one in requests]
    return json_reply({'id': requests[0].group.id, 'name': group['name'], 'requests': shown}, 201)


def _errors(night: Night, group: dict[str, Any], account: Account) -> dict[str, list[str]]:
    found = {}
    if group['proposal'] not in account.proposals:
        found['proposal'] = ['You are not a member of this proposal.']
    for request in group['requests']:
        if any(moment([window['end']]) < night.now() for window in request['windows']):
            found['requests'] = ['The window is over.']
        for configuration in request['configurations']:
            if configuration['instrument_type'] not in INSTRUMENTS:
                found['requests'] = ['There is no such instrument.']
    return found


def _taken(night: Night, group: dict[str, Any], account: Account) -> list[Request]:
    """The requests of a group that was accepted. Numbers rise: the next is one above the highest."""
    made: list[Request] = []
    for request in group['requests']:
        configuration = request['configurations'][0]
        target, window = configuration['target'], request['windows'][0]
        exposed = configuration['instrument_configs'][0]
        made.append(
            night.add_request(
                max(night.requests, default=5000) + 1,
                group=made[0].group.id if made else None,
                name=group['name'],
                proposal=group['proposal'],
                submitter=account.username,
                target=target['name'],
                ra=float(target['ra']),
                dec=float(target['dec']),
                instrument=configuration['instrument_type'],
                exposure=float(exposed['exposure_time']),
                filter=exposed.get('optical_elements', {}).get('filter', Request.filter),
                window=(moment([window['start']]), moment([window['end']])),
            )
        )
    return made
