"""The pages: is it working, and what failed."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.cache import patch_cache_control

from ..access import for_visitors, may_act, sees_everything
from ..audit import summary
from ..celery_tasks import setup
from ..checks import new_targets_mistake
from ..health import healths, main_of
from ..jobs import RECORDED, jobs, lines_to_install
from ..known_outcomes import with_outcomes
from ..models import AuditRound, UpdateRun
from .charts import pictures
from .freshness import facilities
from .run_log import excerpt
from .tables import (
    ROWS,
    FailureTable,
    ProblemFilter,
    ProblemTable,
    RunFilter,
    RunTable,
    Table,
    failures,
    problems,
)

LATEST = 5  # runs on the first page
ALWAYS = ('due', 'checked', 'failed')  # counts that are shown even if they are 0
WORDS = {'failed': 'failures', 'unsupported': 'not supported', 'filtered': 'frames not wanted'}


@for_visitors
def home(request: HttpRequest) -> HttpResponse:
    """The automation page: is it working, what failed, the latest runs."""
    found = ProblemFilter(request.GET, problems(request))
    table = configured(request, ProblemTable(found.qs))
    if by_htmx(request):
        context = {'table': table, 'may_act': may_act(request.user), 'now': timezone.now()}
        return render(request, table.get_partial_template_name(), context)
    schedule, states = jobs(), healths(request.user)
    main = main_of(states)
    hidden = {*RunTable.hidden_from(request.user), 'checked'}  # space is limited here
    latest = list(with_outcomes(request.user, UpdateRun.objects.all())[:LATEST])
    if len({state.job for state in states} | {run.job for run in latest}) == 1:
        hidden.add('job')
    last_round = summary.last_round()
    return render(
        request,
        'tom_auto/automation.html',
        {
            'states': states,
            'main': main,
            'mistake': schedule.mistake,
            'hidden': new_targets_mistake() if may_act(request.user) else '',
            'contained': schedule.contained,
            'runs': RunTable(
                latest,
                orderable=False,
                exclude=tuple(hidden),
                attrs={'class': 'table table-sm'},
            ),
            'filter': found,
            'table': table,
            'has_workers': setup.in_use() and may_act(request.user),
            'may_act': may_act(request.user),
            'audit': last_round,
            'audited': audited(request, last_round),
            'lines': lines_to_install() if may_act(request.user) else (),
            'now': timezone.now(),
            'requested': request.session.pop('requested', None),
        },
    )


def audited(request: HttpRequest, last: AuditRound | None) -> dict[str, str]:
    """What the audit has found, then and now, for those who may know of every file."""
    if not sees_everything(request.user):
        return {}
    return {
        'then': summary.words_of_round(last) if last else '',
        'now': summary.words_of_verdicts(),
    }


@for_visitors
def of_facilities(request: HttpRequest) -> HttpResponse:
    """How fresh the data of each facility is: a part of the automation page, loaded after it."""
    last = main_of(healths(request.user)).last
    context = {'facilities': facilities(request.user, last)}
    return render(request, 'tom_auto/facilities.html', context)


@for_visitors
def weeks(request: HttpRequest) -> HttpResponse:
    """The last weeks in charts: a part of the automation page, loaded after it."""
    answer = render(request, 'tom_auto/weeks.html', {'pictures': pictures(request.user)})
    patch_cache_control(answer, private=True, max_age=60)
    return answer


@for_visitors
def runs(request: HttpRequest) -> HttpResponse:
    rows = with_outcomes(request.user, UpdateRun.objects.all())
    found = RunFilter(request.GET, rows)
    hidden = RunTable.hidden_from(request.user)
    table = configured(request, RunTable(found.qs, exclude=hidden))
    name = table.get_partial_template_name() if by_htmx(request) else 'tom_auto/runs.html'
    return render(request, name, {'table': table, 'filter': found})


def by_htmx(request: HttpRequest) -> bool:
    """Whether htmx asks, for a piece of a page. A TOM may lack the middleware that says so."""
    return request.headers.get('HX-Request') == 'true'


def configured(request: HttpRequest, table: Table) -> Table:
    """The table, sorted and paged as the URL says. A page always has `ROWS` rows: who could ask for
    a million would have them all read.
    """
    table.request = request
    if order := request.GET.get(table.prefixed_order_by_field):  # of several the last
        table.order_by = order.split(',')[: len(table.columns.names())]
    table.paginate(per_page=ROWS)
    # Django's own rule for odd numbers: the first page, or the last.
    table.page = table.paginator.get_page(request.GET.get(table.prefixed_page_field, 1))
    return table


def counted(run: UpdateRun) -> list[tuple[str, int]]:
    """What a run counted, in words. A command of the TOM's own counts nothing of all this."""
    if run.command not in RECORDED:
        return []
    return [
        (WORDS.get(name, name.replace('_', ' ')), count)
        for name, count in run.counts()
        if count or name in ALWAYS
    ]


@for_visitors
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """One run: its counts, its failures, and its lines of the log."""
    shown = get_object_or_404(with_outcomes(request.user, UpdateRun.objects.all()), pk=pk)
    everything = sees_everything(request.user)
    table = configured(request, FailureTable(failures(request.user, shown)))
    if by_htmx(request):
        return render(request, table.get_partial_template_name(), {'table': table})
    context = {'run': shown, 'everything': everything, 'table': table}
    context['counts'] = counted(shown) if everything else ()
    context['log'] = excerpt(shown) if everything else ()
    return render(request, 'tom_auto/run.html', context)
