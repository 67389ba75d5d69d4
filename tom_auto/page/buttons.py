"""What the buttons of the automation's page do, and how the page shows what comes of it."""

from time import time

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from ..access import for_staff, for_visitors, seen_by, sees_everything
from ..jobs import MAIN, has_history, jobs
from ..models import RecordSync, UpdateRun
from ..scheduling.definition import Job
from . import actions

#: Seconds in which a run has begun, on a busy machine, unless it cannot begin at all.
BEGINS_WITHIN = 120


@for_staff
def start(request: HttpRequest, job: str) -> None:
    """Run a job now."""
    _run(request, *_known(job).words)


@for_staff
def retry(request: HttpRequest, pk: int) -> None:
    """Ask for one record again, now."""
    failing = seen_by(request.user, RecordSync.objects.filter(pk=pk), 'record')
    sync = get_object_or_404(failing.select_related('record'))
    actions.ask_again(failing)
    _run(request, MAIN, '--target_id', str(sync.record.target_id))


@for_staff
def retry_all(request: HttpRequest) -> None:
    """Ask for every record again whose last check failed."""
    actions.ask_again(seen_by(request.user, RecordSync.objects.filter(failures__gt=0), 'record'))
    _run(request, MAIN)


@for_staff
def pause(request: HttpRequest, job: str) -> None:
    """Stop the schedule's runs of a job."""
    actions.pause(_that_pauses(job), request.user)
    messages.success(request, f'{job} is paused. A run that is at work goes on to its end.')


@for_staff
def resume(request: HttpRequest, job: str) -> None:
    """Let the schedule run a job again."""
    actions.resume(_that_pauses(job))
    messages.success(request, f'{job} runs again when it is due.')


def _run(request: HttpRequest, command: str, *arguments: str) -> None:
    """Start a run, and let the page that comes next show how it goes.

    Where one is at work already, the page shows that one: the new one sees it too, and ends. It
    is started all the same, as the other may have died a moment ago.
    """
    busy = actions.at_work(command)
    newest = UpdateRun.objects.order_by('pk').last()
    request.session['asked'] = {
        'job': command,
        'after': busy.pk - 1 if busy else newest.pk if newest else 0,
        'at': int(time()),
    }
    actions.start_run(request.user, command, *arguments)
    if busy:
        messages.info(request, 'A run is at work already, which is shown here. What it does not '
                               'get to is asked at the next one.')  # fmt: skip


@for_visitors
def progress(request: HttpRequest) -> HttpResponse:
    """What the run is at that somebody has just asked for: a piece of a page, asked for again."""
    asked = {name: _number(request.GET.get(name, '')) for name in ('after', 'at')}
    asked['job'] = request.GET.get('job', MAIN)
    newest = UpdateRun.objects.filter(job=asked['job'], pk__gt=asked['after']).order_by('pk').last()
    checked = RecordSync.objects.filter(asked_at__gte=newest.started) if newest else None
    answer = render(
        request,
        'tom_auto/progress.html',
        {
            'run': newest,
            'asked': asked,
            'checked': seen_by(request.user, checked, 'record').count() if newest else 0,
            'everything': sees_everything(request.user),
            'lost': not newest and time() - asked['at'] > BEGINS_WITHIN,
        },
    )
    if newest and newest.status != UpdateRun.Status.RUNNING:
        answer['HX-Refresh'] = 'true'  # the rest of the page has changed as well
    return answer


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def _known(name: str) -> Job:
    for job in jobs().jobs:
        if job.name == name:
            return job
    raise Http404


def _that_pauses(name: str) -> str:
    """The command of a job whose runs know of a pause."""
    job = _known(name)
    if not has_history(job):
        raise Http404
    return job.words[0]
