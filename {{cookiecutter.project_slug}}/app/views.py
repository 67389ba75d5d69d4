"""The pages of the automation: is it working, and what a person can do about it."""

from collections.abc import Callable
from functools import wraps

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST
from django_filters import FilterSet
from django_tables2 import RequestConfig

from . import actions
from .facilities import facilities
from .health import healths
from .jobs import MAIN, jobs, lines_to_install
from .logs import excerpt
from .models import RecordSync, RunFailure, UpdateRun
from .pictures import pictures
from .tables import ROWS, ProblemFilter, ProblemTable, RunFilter, RunTable, Table, problems
from .visible import may_act, may_see_page, seen_by, sees_everything

View = Callable[..., HttpResponse]
LATEST = 5  # runs on the first page


def for_visitors(view: View) -> View:
    """Show the page to those whom `PAGE_FOR` names; others may log in."""

    @require_GET
    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
        if may_see_page(request.user):
            return view(request, **kwargs)
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.get_full_path())

    return guarded


def for_staff(view: View) -> View:
    """Do it for staff with the permission, and for a POST; then go back to where they were."""

    @require_POST
    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
        if not may_act(request.user):
            raise PermissionDenied
        view(request, **kwargs)
        return back(request)

    return guarded


def back(request: HttpRequest) -> HttpResponse:
    """To the page of this TOM that the form names, or to the automation's own."""
    to = request.POST.get('next', '')
    if not url_has_allowed_host_and_scheme(to, {request.get_host()}, request.is_secure()):
        to = 'automation:home'
    return redirect(to)


@for_visitors
def home(request: HttpRequest) -> HttpResponse:
    """Is it working? And what happened, in pictures and numbers, and what went wrong."""
    found = ProblemFilter(request.GET, problems(request))
    table = configured(request, ProblemTable, found)
    if request.htmx:
        context = {'table': table, 'may_act': may_act(request.user), 'now': timezone.now()}
        return render(request, table.get_partial_template_name(), context)
    states = healths(request.user)
    main = next(state for state in states if state.job == MAIN)
    hidden = {*RunTable.hidden_from(request.user), 'checked'}  # there is little room
    return render(
        request,
        'app/automation.html',
        {
            'states': states,
            'main': main,
            'mistake': jobs().mistake,
            'runs': RunTable(
                UpdateRun.objects.all()[:LATEST],
                orderable=False,
                exclude=tuple(hidden),
                attrs={'class': 'table table-sm'},
            ),
            'filter': found,
            'table': table,
            'may_act': may_act(request.user),
            'lines': lines_to_install() if may_act(request.user) else (),
            'now': timezone.now(),
            'runs_before': request.session.pop('runs_before', None),
        },
    )


@for_visitors
def of_facilities(request: HttpRequest) -> HttpResponse:
    """How fresh the data of each facility is: a piece of the first page, as there may be many."""
    last = UpdateRun.objects.filter(job=MAIN, only='').exclude(status='running').first()
    return render(request, 'app/facilities.html', {'facilities': facilities(request.user, last)})


@for_visitors
def weeks(request: HttpRequest) -> HttpResponse:
    """The last weeks in pictures: a piece of the first page, which does not wait for it."""
    answer = render(request, 'app/weeks.html', {'pictures': pictures(request.user)})
    patch_cache_control(answer, private=True, max_age=60)
    return answer


@for_visitors
def runs(request: HttpRequest) -> HttpResponse:
    """Every run that the history holds."""
    found = RunFilter(request.GET, UpdateRun.objects.all())
    table = configured(request, RunTable, found, exclude=RunTable.hidden_from(request.user))
    name = table.get_partial_template_name() if request.htmx else 'app/runs.html'
    return render(request, name, {'table': table, 'filter': found})


def configured(
    request: HttpRequest, table_class: type[Table], found: FilterSet, **options: object
) -> Table:
    """The table of what was found, in the order and on the page that the address asks for."""
    table = table_class(found.qs, **options)
    RequestConfig(request, paginate={'per_page': ROWS, 'silent': True}).configure(table)
    return table


@for_visitors
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """One run: its counts, what failed, and what the log says of it."""
    shown = get_object_or_404(UpdateRun, pk=pk)
    everything = sees_everything(request.user)
    failures = RunFailure.objects.filter(run=shown).select_related('record__target')
    if not everything:
        failures = seen_by(request.user, failures, 'record')
    return render(
        request,
        'app/run.html',
        {
            'run': shown,
            'everything': everything,
            'failures': failures.order_by('pk')[:100],
            'log': excerpt(shown) if everything else (),
        },
    )


@for_visitors
def progress(request: HttpRequest) -> HttpResponse:
    """What the run is at that somebody has just asked for: a piece of a page, asked for again."""
    after = request.GET.get('after', '')
    after = int(after) if after.isdecimal() else 0
    newest = UpdateRun.objects.filter(pk__gt=after).order_by('pk').last()
    answer = render(
        request,
        'app/progress.html',
        {'run': newest, 'after': after, 'everything': sees_everything(request.user)},
    )
    if newest and newest.status != UpdateRun.Status.RUNNING:
        answer['HX-Refresh'] = 'true'  # the rest of the page has changed as well
    return answer


@for_staff
def start(request: HttpRequest, job: str = MAIN) -> None:
    """Run a job now."""
    _show_the_next_run(request)
    actions.start_run(request.user, _known(job))


@for_staff
def retry(request: HttpRequest, pk: int) -> None:
    """Ask for one record again, now."""
    failing = seen_by(request.user, RecordSync.objects.filter(pk=pk), 'record')
    sync = get_object_or_404(failing.select_related('record'))
    actions.ask_again(failing)
    _show_the_next_run(request)
    actions.start_run(request.user, MAIN, '--target_id', str(sync.record.target_id))


@for_staff
def retry_all(request: HttpRequest) -> None:
    """Ask for every record again whose last check failed."""
    actions.ask_again(seen_by(request.user, RecordSync.objects.filter(failures__gt=0), 'record'))
    _show_the_next_run(request)
    actions.start_run(request.user)


@for_staff
def pause(request: HttpRequest, job: str) -> None:
    """Stop the schedule's runs of a job."""
    actions.pause(_known(job), request.user)
    messages.success(request, f'{job} is paused. A run that is at work goes on to its end.')


@for_staff
def resume(request: HttpRequest, job: str) -> None:
    """Let the schedule run a job again."""
    actions.resume(_known(job))
    messages.success(request, f'{job} runs again when it is due.')


def _known(job: str) -> str:
    if job not in [known.name for known in jobs().jobs]:
        raise Http404
    return job


def _show_the_next_run(request: HttpRequest) -> None:
    """Let the page that comes next show how the run goes that is about to begin."""
    newest = UpdateRun.objects.order_by('pk').last()
    request.session['runs_before'] = newest.pk if newest else 0
