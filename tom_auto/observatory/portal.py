"""The observation portal: requests and their states (`/api/`).

Measured on observation portal 4.18.9. A bad or revoked token: 403. Without a token, or for
another group's request, or for one that does not exist: the same 404. A path without its final
slash: 301. No throttling of GET. Lists give 10 rows unless told otherwise, and as many as asked.
Of the many fields of its JSON, these are the ones that a TOM may read.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from .lists import BadFilter, Filter, choices, moment, narrow, number, page, stamp
from .messages import Call, Reply, html_reply, json_reply, redirect_reply
from .model import OBSERVATION_STATES, REQUEST_STATES, Account, Observation, Request, RequestGroup
from .night import Night

DEFAULT_LIMIT = 10
WINDOW = timedelta(days=7)  # in which a request may be observed

Row = TypeVar('Row', Request, RequestGroup, Observation)

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


OBSERVATION_FILTERS: dict[str, Filter[Observation]] = {
    'proposal': lambda one, values: one.proposal == values[-1],
    'request_id': lambda one, values: one.request.id == number(values),
    'state': lambda one, values: one.state in choices(values, OBSERVATION_STATES),
    'request_state': lambda one, values: one.request.state in choices(values, REQUEST_STATES),
    'modified_after': lambda one, values: one.modified >= moment(values),
    'start_after': lambda one, values: one.start >= moment(values),
    'start_before': lambda one, values: one.start < moment(values),
    'end_after': lambda one, values: one.end >= moment(values),
    'end_before': lambda one, values: one.end < moment(values),
}


def answer(night: Night, call: Call) -> Reply:
    """What the portal says to `call`."""
    account = night.account(call.token)
    if call.has_token and account is None:
        return json_reply({'detail': 'Invalid token.'}, 403)
    if call.method not in ('GET', 'HEAD'):
        return json_reply({'detail': f'Method "{call.method}" not allowed.'}, 405)
    try:
        for path, view in VIEWS.items():
            if found := re.fullmatch(path, call.path):
                return json_reply(view(night, account, call, *map(int, found.groups())))
            if re.fullmatch(path, call.path + '/'):
                return redirect_reply(f'{call.path}/{call.target[len(call.path) :]}')
    except BadFilter as error:
        return json_reply(error.body, 400)
    except KeyError:
        return json_reply({'detail': 'Not found.'}, 404)
    except PermissionError as error:
        return json_reply({'detail': str(error)}, 403)
    return html_reply('Not Found', 404)


# --- the views: each returns its JSON, or raises what `answer` turns into a status ---


def profile(night: Night, account: Account | None, call: Call) -> Any:
    """Who I am. tomtoolkit reads the proposals."""
    if account is None:
        raise PermissionError('Authentication credentials were not provided.')
    return {
        'username': account.username,
        'email': f'{account.username}@example.org',
        'proposals': [
            {'id': proposal, 'title': proposal, 'current': True}
            for proposal in sorted(account.proposals)
        ],
        'tokens': {'api_token': call.token, 'archive': call.token},
    }


def one_request(night: Night, account: Account | None, call: Call, number: int) -> Any:
    return show_request(_visible(night, account, night.requests[number]))


def observations_of(night: Night, account: Account | None, call: Call, number: int) -> Any:
    """The observations of one request: a bare array, oldest first, `[]` if there are none."""
    request = _visible(night, account, night.requests[number])
    return [show_observation(one) for one in request.observations]


def one_group(night: Night, account: Account | None, call: Call, number: int) -> Any:
    return show_group(_visible(night, account, night.groups[number]))


def all_requests(night: Night, account: Account | None, call: Call) -> Any:
    rows = sorted(night.requests.values(), key=lambda request: -request.id)
    return _page(night, account, call, rows, REQUEST_FILTERS, show_request)


def all_groups(night: Night, account: Account | None, call: Call) -> Any:
    rows = sorted(night.groups.values(), key=lambda group: -group.id)
    return _page(night, account, call, rows, GROUP_FILTERS, show_group)


def all_observations(night: Night, account: Account | None, call: Call) -> Any:
    """Every observation in sight. Rows embed their request: `request.{id,state}`."""

    def show(observation: Observation) -> dict[str, Any]:
        request = observation.request
        return show_observation(observation) | {
            'request': show_request(request),
            'proposal': request.proposal,
            'submitter': request.group.submitter,
            'name': request.group.name,
            'request_group_id': request.group.id,
            'created': stamp(observation.created),
            'modified': stamp(observation.modified),
        }

    rows = list(night.observations.values())
    return _page(night, account, call, rows, OBSERVATION_FILTERS, show)


def nothing(night: Night, account: Account | None, call: Call) -> Any:
    """An empty object, enough for the pages of tomtoolkit that ask for instruments and domes."""
    return {}


VIEWS: dict[str, Callable[..., Any]] = {
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


def _visible(night: Night, account: Account | None, thing: Row) -> Row:
    """`thing`, or KeyError: whether it exists is not for strangers to know."""
    if not night.may_see(account, thing.proposal):
        raise KeyError(thing.id)
    return thing


def _page(
    night: Night,
    account: Account | None,
    call: Call,
    rows: list[Row],
    filters: dict[str, Filter[Row]],
    show: Callable[[Row], dict[str, Any]],
) -> dict[str, Any]:
    """A page of those of `rows` that `account` may see."""
    rows = [row for row in rows if night.may_see(account, row.proposal)]
    return page(narrow(rows, call.query, filters), call, show, default=DEFAULT_LIMIT)


# --- how things are written as JSON ---


def telescope_class(request: Request) -> str:
    return request.telescope.code[:3]


def show_request(request: Request) -> dict[str, Any]:
    return {
        'id': request.id,
        'state': request.state,
        'modified': stamp(request.modified),
        'created': stamp(request.created),
        'duration': round(request.exposure + 120),
        'request_group': request.group.id,
        'configurations': [show_configuration(request)],
        'location': {'telescope_class': telescope_class(request)},
        'windows': [{'start': stamp(request.created), 'end': stamp(request.created + WINDOW)}],
    }


def show_configuration(request: Request) -> dict[str, Any]:
    optics = {'filter': request.filter}
    target = {'type': 'ICRS', 'name': request.target, 'ra': request.ra, 'dec': request.dec}
    return {
        'id': request.id,
        'instrument_type': '1M0-SCICAM-SINISTRO',
        'type': 'EXPOSE',
        'instrument_configs': [{'exposure_time': request.exposure, 'optical_elements': optics}],
        'target': target,
    }


def show_group(group: RequestGroup) -> dict[str, Any]:
    return {
        'id': group.id,
        'submitter': group.submitter,
        'name': group.name,
        'operator': 'SINGLE' if len(group.requests) == 1 else 'MANY',
        'created': stamp(group.created),
        'state': group.state,
        'modified': stamp(group.modified),
        'proposal': group.proposal,
        'requests': [show_request(request) for request in group.requests],
    }


def show_observation(observation: Observation) -> dict[str, Any]:
    telescope = observation.request.telescope
    return {
        'id': observation.id,
        'request': observation.request.id,
        'site': telescope.site,
        'enclosure': telescope.enclosure,
        'telescope': telescope.code,
        'start': stamp(observation.start),
        'end': stamp(observation.end),
        'state': observation.state,
    }
