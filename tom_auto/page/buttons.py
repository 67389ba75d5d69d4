"""The buttons of the automation page, and the progress of the run they start."""

from time import time

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from ..access import (
    Visitor,
    for_staff,
    for_viewers,
    for_visitors,
    number_in,
    seen_by,
    sees_everything,
)
from ..jobs import MAIN, command_of, job_named, main_job
from ..known_outcomes import with_outcomes
from ..models import JobPause, RecordSync, UpdateRun
from ..running.runs import alive
from ..scheduling.definition import Job
from . import actions

#: Seconds within which a run starts, even on a busy machine, unless it cannot start at all.
STARTS_WITHIN = 120


@for_staff
def start(request: HttpRequest, job: str) -> None:
    found = _known(job)
    _run(request, command_of(found), 'schedule', 'run', found.name)


@for_staff
def retry(request: HttpRequest, pk: int) -> None:
    """Check one record again, now."""
    failing = seen_by(request.user, RecordSync.objects.filter(pk=pk), 'record')
    sync = get_object_or_404(failing.select_related('record'))
    failing.update(next_check=timezone.now())
    _run(request, MAIN, MAIN, '--target_id', str(sync.record.target_id))


@for_staff
def retry_all(request: HttpRequest) -> None:
    """Check every record again whose last check failed."""
    failing = RecordSync.objects.filter(failures__gt=0)
    seen_by(request.user, failing, 'record').update(next_check=timezone.now())
    _run(request, MAIN, 'schedule', 'run', main_job().name)


@for_staff
def pause(request: HttpRequest, job: str) -> None:
    by = {'by': request.user.get_username(), 'since': timezone.now()}
    JobPause.objects.get_or_create(job=_known(job).name, defaults=by)
    messages.success(request, f'{job} is paused. A run in progress continues to its end.')


@for_staff
def resume(request: HttpRequest, job: str) -> None:
    JobPause.objects.filter(job=_known(job).name).delete()
    messages.success(request, f'{job} is resumed. It runs when it is next due.')


@for_viewers
def update(request: HttpRequest, pk: int) -> None:
    """Check the observations of one target, for anyone who may see it."""
    if _run(request, MAIN, MAIN, '--target_id', str(pk)):
        text = 'The update runs in the background. Reload the page in a moment.'
        messages.info(request, text)


def _run(request: HttpRequest, command: str, *words: str) -> bool:
    """Start `manage.py` with `words`, a run of `command`, and let the next page show its progress; False if one is in progress already.

    Then the page shows that one.
    """
    busy = alive(command).first()
    newest = UpdateRun.objects.order_by('pk').last()
    request.session['requested'] = {
        'command': command,
        'after': busy.pk - 1 if busy else newest.pk if newest else 0,
        'at': int(time()),
    }
    if actions.start_run(request.user, command, *words):
        return True
    text = 'A run is already in progress. Anything it misses is checked in the next run.'
    messages.info(request, text)
    return False


@for_visitors
def progress(request: HttpRequest) -> HttpResponse:
    """The progress of the run that somebody started: a part of the page, loaded every second."""
    requested = {name: number_in(request.GET.get(name, '')) or 0 for name in ('after', 'at')}
    requested['command'] = request.GET.get('command', MAIN)
    newest = _newest(request.user, requested['command'], requested['after'])
    checked = RecordSync.objects.filter(asked_at__gte=newest.started) if newest else None
    answer = render(
        request,
        'tom_auto/progress.html',
        {
            'run': newest,
            'requested': requested,
            'checked': seen_by(request.user, checked, 'record').count() if newest else 0,
            'everything': sees_everything(request.user),
            'lost': not newest and time() - requested['at'] > STARTS_WITHIN,
        },
    )
    if newest and newest.status != UpdateRun.Status.RUNNING:
        answer['HX-Refresh'] = 'true'  # the rest of the page has changed as well
    return answer


def _newest(user: Visitor, command: str, after: int) -> UpdateRun | None:
    """The newest run of `command` after that one. If it is silent, it has ended too soon."""
    runs = with_outcomes(user, UpdateRun.objects.all()).filter(command=command, pk__gt=after)
    newest = runs.order_by('pk').last()
    is_running = newest and newest.status == UpdateRun.Status.RUNNING
    if is_running and not alive(command).exists():
        newest.status = newest.shown = UpdateRun.Status.DIED
    return newest


def _known(name: str) -> Job:
    if job := job_named(name):
        return job
    raise Http404
