"""A broker of transients, which speaks as the Transient Name Server does (`/broker/api/get/`).

A search answers with names only, and each object has to be asked for by itself.
"""

import json
from typing import Any
from urllib.parse import parse_qs

from .messages import Call, Reply, html_reply, json_reply
from .night import Night


def answer(night: Night, call: Call) -> Reply:
    form = {name: values[-1] for name, values in parse_qs(call.body.decode()).items()}
    if form.get('api_key') not in night.accounts:
        return json_reply({'id_code': 401, 'id_message': 'Unauthorized'}, 401)
    try:
        asked = json.loads(form['data'])
        return json_reply({'id_code': 200, 'data': VIEWS[call.path](night, asked)})
    except KeyError:
        return html_reply('Not Found', 404)


def search(night: Night, asked: dict[str, Any]) -> list[dict[str, str]]:
    """The names of all transients that were announced after a time, newest last."""
    after = asked.get('public_timestamp') or ''
    return [
        {'objname': name, 'prefix': 'SN'}
        for name, transient in night.transients.items()
        if f'{transient.announced:%Y-%m-%d %H:%M:%S}' >= after
    ]


def show(night: Night, asked: dict[str, Any]) -> dict[str, Any]:
    """One transient, or KeyError."""
    transient = night.transients[asked['objname']]
    return {
        'objname': asked['objname'],
        'name_prefix': 'SN',
        'radeg': transient.ra,
        'decdeg': transient.dec,
        'discoverydate': f'{transient.announced:%Y-%m-%d %H:%M:%S}',
    }


VIEWS = {'/broker/api/get/search': search, '/broker/api/get/object': show}
