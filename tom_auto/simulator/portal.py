"""The observation portal: requests and their states (`/api/`).

Measured on observation portal 4.18.9. A bad or revoked token: 403. Without a token, or for
another group's request, or for one that does not exist: the same 404. A path without its final
slash: 301. No throttling of GET. Lists give 10 rows unless told otherwise, and as many as asked.
Of the many fields of its JSON, these are the ones that a TOM may read.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from .lists import BadFilter, Filter, choices, moment, narrow, number, page, stamp
from .messages import Call, Reply, html_reply, json_reply, redirect_reply
from .model import OBSERVATION_STATES, REQUEST_STATES, Account, Observation, Request, RequestGroup
from .night import Night
from .submissions import INSTRUMENTS, submitted

DEFAULT_LIMIT, ANONYMOUS_LIMIT = 10, 100
WINDOW = timedelta(days=7)  # in which a request may be observed
TAKES_REQUESTS = ('/api/requestgroups/', '/api/requestgroups/validate/')

Row = TypeVar('Row', Request, RequestGroup, Observation)

GROUP_FILTERS: dict[str, Filter[RequestGroup]] = {
    'state': lambda group, values: group.state in choices(values, REQUEST_STATES),
    'exclude_state': lambda group, values: group.state not in choices(values, REQUEST_STATES),
    'proposal': lambda group, values: group.proposal == values[-1],
    'name': lambda group, values: values[-1].lower() in group.name.lower(),
    'user': lambda group, values: values[-1].lower() in group.submitter.lower(),
    'created_after': lambda group, values: group.created >= moment(values),
    'created_before': lambda group, values: group.created <= moment(values),
    # Any one request that fits brings the group.
    'modified_after': lambda group, values: (
        max(one.modified for one in group.requests) >= moment(values)
    ),
    'modified_before': lambda group, values: (
        min(one.modified for one in group.requests) <= moment(values)
    ),
    'request_id': lambda group, values: number(values) in [one.id for one in group.requests],
}
REQUEST_FILTERS: dict[str, Filter[Request]] = {
    'state': lambda request, values: request.state == choices(values, REQUEST_STATES)[-1],
    'telescope_class': lambda request, values: request.telescope.size == values[-1],
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


@dataclass(frozen=True)
class Question:
    """A call, and what the person who makes it may see of the night."""

    night: Night
    call: Call
    account: Account | None

    def one(self, things: dict[int, Row], number: str) -> Row:
        """One of `things`, or KeyError: whether it exists is not for strangers to know."""
        thing = things[int(number)]
        if not self.night.may_see(self.account, thing.proposal):
            raise KeyError(number)
        return thing

    def page(
        self,
        things: dict[int, Row],
        filters: dict[str, Filter[Row]],
        show: Callable[[Row], dict[str, Any]],
    ) -> dict[str, Any]:
        """A page of those that may be seen, newest first."""
        seen = [row for row in things.values() if self.night.may_see(self.account, row.proposal)]
        rows = sorted(narrow(seen, self.call.query, filters), key=lambda row: row.id, reverse=True)
        return page(rows, self.call, show, default=DEFAULT_LIMIT)


def answer(night: Night, call: Call) -> Reply:
    question = Question(night, call, night.accounts.get(call.token))
    limit = call.query.get('limit', ['0'])[-1]
    if question.account is None and limit.isdecimal() and int(limit) > ANONYMOUS_LIMIT:
        return html_reply('Large limit not allowed for anonymous users.', 400)
    if call.token is not None and question.account is None:
        return json_reply({'detail': 'Invalid token.'}, 403)
    if call.method == 'POST' and call.path in TAKES_REQUESTS:
        return submitted(night, call, question.account)
    if call.method not in ('GET', 'HEAD'):
        return json_reply({'detail': f'Method "{call.method}" not allowed.'}, 405)
    try:
        for path, view in VIEWS.items():
            if found := re.fullmatch(path, call.path):
                return json_reply(view(question, *found.groups()))
            if re.fullmatch(path, call.path + '/'):
                return redirect_reply(f'{call.path}/{call.target[len(call.path) :]}')
    except BadFilter as error:
        return json_reply(error.body, 400)
    except KeyError:
        return json_reply({'detail': 'Not found.'}, 404)
    except PermissionError as error:
        return json_reply({'detail': str(error)}, 403)
    return html_reply('Not Found', 404)


def show_profile(question: Question) -> dict[str, Any]:
    """Who I am. tomtoolkit reads the proposals."""
    account, token = question.account, question.call.token
    if account is None:
        raise PermissionError('Authentication credentials were not provided.')
    return {
        'username': account.username,
        'email': f'{account.username}@example.org',
        'proposals': [
            {'id': proposal, 'title': proposal, 'current': True}
            for proposal in sorted(account.proposals)
        ],
        'tokens': {'api_token': token, 'archive': token},
    }


def show_request(request: Request) -> dict[str, Any]:
    optics = {'filter': request.filter}
    start, end = request.window or (request.created, request.created + WINDOW)
    configuration = {
        'id': request.id,
        'instrument_type': request.instrument,
        'type': 'EXPOSE',
        'instrument_configs': [{'exposure_time': request.exposure, 'optical_elements': optics}],
        'target': {'type': 'ICRS', 'name': request.target, 'ra': request.ra, 'dec': request.dec},
    }
    return {
        'id': request.id,
        'state': request.state,
        'modified': stamp(request.modified),
        'created': stamp(request.created),
        'duration': round(request.exposure + 120),
        'request_group': request.group.id,
        'configurations': [configuration],
        'location': {'telescope_class': request.telescope.size},
        'windows': [{'start': stamp(start), 'end': stamp(end)}],
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


def show_observation_and_request(observation: Observation) -> dict[str, Any]:
    """As in the list of all observations: with its request, as `request.{id,state}`."""
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


#: Each path, with a function of the question and the numbers in the path. What it raises becomes a
#: status in `answer`.
VIEWS: dict[str, Callable[..., Any]] = {
    r'/api/profile/': show_profile,
    r'/api/requests/': lambda question: question.page(
        question.night.requests, REQUEST_FILTERS, show_request
    ),
    r'/api/requests/(\d+)/': lambda question, number: show_request(
        question.one(question.night.requests, number)
    ),
    r'/api/requests/(\d+)/observations/': lambda question, number: [  # a bare array
        show_observation(one) for one in question.one(question.night.requests, number).observations
    ],
    r'/api/requestgroups/': lambda question: question.page(
        question.night.groups, GROUP_FILTERS, show_group
    ),
    r'/api/requestgroups/(\d+)/': lambda question, number: show_group(
        question.one(question.night.groups, number)
    ),
    r'/api/observations/': lambda question: question.page(
        question.night.observations, OBSERVATION_FILTERS, show_observation_and_request
    ),
    r'/api/instruments/': lambda question: INSTRUMENTS,
    # Enough for the pages of tomtoolkit that ask for domes.
    r'/api/telescope_states/': lambda question: {},
}
