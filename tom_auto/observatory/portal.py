"""The observation portal: requests and their states (`/api/`).

Measured on observation portal 4.18.9. A bad or revoked token: 403. Without a token, or for
another group's request, or for one that does not exist: the same 404. A path without its final
slash: 301. No throttling of GET. Lists give 10 rows unless told otherwise, and as many as asked.
"""

import re
from collections.abc import Callable
from typing import Any

from .lists import BadFilter, Filter, choices, moment, narrow, number, page, stamp
from .messages import Call, Reply, html_reply, json_reply, redirect_reply
from .model import OBSERVATION_STATES, REQUEST_STATES, Account, Observation, Request, RequestGroup
from .night import Night
from .portal_json import show_group, show_observation, show_request, telescope_class

DEFAULT_LIMIT = 10

GROUP_FILTERS: dict[str, Filter[RequestGroup]] = {
    'state': lambda group, values: group.state in choices(values, REQUEST_STATES),
    'exclude_state': lambda group, values: group.state not in choices(values, REQUEST_STATES),
    'proposal': lambda group, values: group.proposal == values[-1],
    'name': lambda group, values: values[-1].lower() in group.name.lower(),
    'user': lambda group, values: values[-1].lower() in group.submitter.lower(),
    'created_after': lambda group, values: group.created >= moment(values),
    'created_before': lambda group, values: group.created <= moment(values),
    # These three look at the requests: any one of them that fits brings the group.
    'modified_after': lambda group, values: any(
        request.modified >= moment(values) for request in group.requests
    ),
    'modified_before': lambda group, values: any(
        request.modified <= moment(values) for request in group.requests
    ),
    'request_id': lambda group, values: any(
        request.id == number(values) for request in group.requests
    ),
}
REQUEST_FILTERS: dict[str, Filter[Request]] = {
    'state': lambda request, values: request.state == choices(values, REQUEST_STATES)[-1],
    'telescope_class': lambda request, values: telescope_class(request) == values[-1],
}


def answer(night: Night, call: Call) -> Reply:
    """What the portal says to `call`."""
    account = night.account(call.token)
    if call.has_token and account is None:
        return json_reply({'detail': 'Invalid token.'}, 403)
    if call.method not in ('GET', 'HEAD'):
        return json_reply({'detail': f'Method "{call.method}" not allowed.'}, 405)
    for path, view in VIEWS.items():
        found = re.fullmatch(path, call.path)
        if found:
            return _viewed(view, night, account, call, found.groups())
        if re.fullmatch(path, call.path + '/'):
            query = call.target[len(call.path) :]
            return redirect_reply(f'{call.path}/{query}')
    return html_reply('Not Found', 404)


def _viewed(
    view: 'View', night: Night, account: Account | None, call: Call, found: tuple[str, ...]
) -> Reply:
    try:
        return view(night, account, call, *map(int, found))
    except BadFilter as error:
        return json_reply(error.body, 400)
    except KeyError:
        return json_reply({'detail': 'Not found.'}, 404)


def profile(night: Night, account: Account | None, call: Call) -> Reply:
    """Who I am. tomtoolkit reads the proposals."""
    if account is None:
        return json_reply({'detail': 'Authentication credentials were not provided.'}, 403)
    proposals = [
        {'id': proposal, 'title': proposal, 'current': True}
        for proposal in sorted(account.proposals)
    ]
    token = {'api_token': call.token, 'archive': call.token}
    return json_reply(
        {
            'username': account.username,
            'first_name': '',
            'last_name': '',
            'email': f'{account.username}@example.org',
            'profile': {},
            'is_staff': False,
            'proposals': proposals,
            'available_instrument_types': ['1M0-SCICAM-SINISTRO'],
            'tokens': token,
            'proposal_notifications': [],
        }
    )


def one_request(night: Night, account: Account | None, call: Call, number: int) -> Reply:
    return json_reply(show_request(_visible(night, account, number)))


def observations_of(night: Night, account: Account | None, call: Call, number: int) -> Reply:
    """The observations of one request: a bare array, oldest first, `[]` if there are none."""
    request = _visible(night, account, number)
    return json_reply([show_observation(one) for one in request.observations])


def one_group(night: Night, account: Account | None, call: Call, number: int) -> Reply:
    group = night.groups[number]
    if not night.may_see(account, group.proposal):
        raise KeyError(number)
    return json_reply(show_group(group))


def all_requests(night: Night, account: Account | None, call: Call) -> Reply:
    rows = [one for one in night.requests.values() if night.may_see(account, one.proposal)]
    rows = narrow(rows, call.query, REQUEST_FILTERS)
    rows.sort(key=lambda request: -request.id)
    return json_reply(page(rows, call, show_request, default=DEFAULT_LIMIT))


def all_groups(night: Night, account: Account | None, call: Call) -> Reply:
    rows = [one for one in night.groups.values() if night.may_see(account, one.proposal)]
    rows = narrow(rows, call.query, GROUP_FILTERS)
    rows.sort(key=lambda group: -group.id)
    return json_reply(page(rows, call, show_group, default=DEFAULT_LIMIT))


def all_observations(night: Night, account: Account | None, call: Call) -> Reply:
    """Every observation in sight. Rows embed their request: `request.{id,state}`."""

    def request_of(observation: Observation) -> Request:
        return night.requests[observation.request_id]

    filters: dict[str, Filter[Observation]] = {
        'proposal': lambda one, values: request_of(one).proposal == values[-1],
        'request_id': lambda one, values: one.request_id == number(values),
        'state': lambda one, values: one.state in choices(values, OBSERVATION_STATES),
        'request_state': lambda one, values: (
            request_of(one).state in choices(values, REQUEST_STATES)
        ),
        'modified_after': lambda one, values: one.modified >= moment(values),
        'start_after': lambda one, values: one.start >= moment(values),
        'start_before': lambda one, values: one.start < moment(values),
        'end_after': lambda one, values: one.end >= moment(values),
        'end_before': lambda one, values: one.end < moment(values),
    }
    rows = [
        observation
        for observation in night.observations.values()
        if night.may_see(account, request_of(observation).proposal)
    ]
    rows = narrow(rows, call.query, filters)

    def show(observation: Observation) -> dict[str, Any]:
        request = request_of(observation)
        return show_observation(observation) | {
            'request': show_request(request),
            'proposal': request.proposal,
            'submitter': request.group.submitter,
            'name': request.group.name,
            'request_group_id': request.group.id,
            'created': stamp(observation.created),
            'modified': stamp(observation.modified),
        }

    return json_reply(page(rows, call, show, default=DEFAULT_LIMIT))


def nothing(night: Night, account: Account | None, call: Call) -> Reply:
    """An empty object, enough for the pages of tomtoolkit that ask for instruments and domes."""
    return json_reply({})


View = Callable[..., Reply]
VIEWS: dict[str, View] = {
    r'/api/profile/': profile,
    r'/api/requests/': all_requests,
    r'/api/requests/(\d+)/': one_request,
    r'/api/requests/(\d+)/observations/': observations_of,
    r'/api/requestgroups/': all_groups,
    r'/api/requestgroups/(\d+)/': one_group,
    r'/api/observations/': all_observations,
    r'/api/instruments/': nothing,
    r'/api/telescope_states/': nothing,
}


def _visible(night: Night, account: Account | None, number: int) -> Request:
    """The request, or KeyError: whether it exists is not for strangers to know."""
    request = night.requests[number]
    if not night.may_see(account, request.proposal):
        raise KeyError(number)
    return request
