"""The state of the automation for other programs: JSON, and text for Prometheus."""

from datetime import datetime

from django.conf import settings
from django.http import HttpResponse
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from ..access import Visitor, may_see_page, sees_everything
from ..health import Health, healths, is_working, main_of
from .freshness import facilities


class MaySeeThePage(BasePermission):
    """The same people as for the page, with a session or a token, as for the API."""

    def has_permission(self, request: Request, view: object) -> bool:
        known = request.user.is_authenticated or settings.AUTH_STRATEGY != 'LOCKED'
        return known and may_see_page(request.user)


@api_view(['GET', 'HEAD'])
@permission_classes([MaySeeThePage])
def status(request: Request) -> Response:
    """The content of the page as JSON. With a token: `Authorization: Token …`, as for the API."""
    states = healths(request.user)
    last = main_of(states).last
    return Response(
        {
            'working': is_working(states),
            'jobs': [_job(state, request.user) for state in states],
            'facilities': facilities(request.user, last),
        }
    )


def _job(state: Health, user: Visitor) -> dict:
    last = state.last
    return {
        'job': state.job,
        'state': state.state,
        'since': state.since,
        'reason': state.reason,
        'failing': state.failing,
        'running': state.running is not None,
        'next': state.next,
        'last': last
        and {
            'run': last.pk,
            'status': last.shown,
            'started': last.started,
            'finished': last.finished,
            **dict(last.counts() if sees_everything(user) else ()),
        },
    }


@api_view(['GET', 'HEAD'])
@permission_classes([MaySeeThePage])
def metrics(request: Request) -> HttpResponse:
    """The same as text for Prometheus."""
    states = healths(request.user)
    found = facilities(request.user, main_of(states).last)
    lines = [
        *_gauge(
            'tom_job_trouble',
            '1 if the job is failing or overdue.',
            {_label('job', state.job): int(state.is_trouble) for state in states},
        ),
        *_gauge(
            'tom_job_last_run_seconds',
            'When the last whole run began.',
            {
                _label('job', state.job): _seconds(state.last and state.last.started)
                for state in states
            },
        ),
        *_gauge(
            'tom_job_failing_records',
            'Records whose last check failed.',
            {_label('job', state.job): state.failing for state in states},
        ),
        *_gauge(
            'tom_facility_checked_seconds',
            'When a record was last checked.',
            {_label('facility', each['name']): _seconds(each['checked_at']) for each in found},
        ),
    ]
    return HttpResponse('\n'.join([*lines, '']), content_type='text/plain; version=0.0.4')


def _label(name: str, value: str) -> str:
    """A label as Prometheus reads it. The facility of a record may be any text."""
    for plain, escaped in (('\\', r'\\'), ('"', r'\"'), ('\n', r'\n')):
        value = value.replace(plain, escaped)
    return f'{name}="{value}"'


def _gauge(name: str, help_text: str, values: dict[str, float]) -> list[str]:
    rows = [f'{name}{{{label}}} {value}' for label, value in values.items()]
    return [f'# HELP {name} {help_text}', f'# TYPE {name} gauge', *rows]


def _seconds(when: datetime | None) -> float:
    return when.timestamp() if when else 0
