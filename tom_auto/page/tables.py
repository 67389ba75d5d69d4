"""The tables of the automation's pages, and their filters."""

import django_filters
import django_tables2 as tables
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from tom_common.htmx_table import HTMXTable

from ..access import Visitor, seen_by, sees_everything, sees_target
from ..jobs import jobs
from ..known_outcomes import ENDED
from ..models import RecordSync, RunFailure, UpdateRun
from ..observatories.facilities import facility_classes

ROWS = 25  # a page
LONGEST_TEXT = 100  # characters
#: A column that is hidden on a phone.
WIDE = {'th': {'class': 'd-none d-md-table-cell'}, 'td': {'class': 'd-none d-md-table-cell'}}


def cell(name: str, **options: object) -> tables.TemplateColumn:
    """A column whose cells are drawn by a template of that name."""
    return tables.TemplateColumn(template_name=f'tom_auto/cells/{name}.html', **options)


class Table(HTMXTable):
    """tomtoolkit's table, with links that work with the keyboard."""

    class Meta(HTMXTable.Meta):
        template_name = 'django_tables2/bootstrap5-responsive.html'
        exclude = ('selection',)
        attrs = HTMXTable.Meta.attrs | {'hx-target': '#rows'}
        row_attrs = {'hx-boost': 'false'}  # a link in a row opens a whole page


class ProblemTable(Table):
    """The records whose last check failed."""

    record = cell('record', order_by='record_id', verbose_name='Observation')
    facility = tables.Column(accessor='record__facility', attrs=WIDE)
    error = cell('error', verbose_name='What failed', orderable=False)
    failing_since = cell('time', verbose_name='Since', attrs=WIDE)
    failures = tables.Column(verbose_name='Times', attrs=WIDE)
    next_check = cell('next', verbose_name='What to do')

    class Meta(Table.Meta):
        model = RecordSync
        fields = ('record', 'facility', 'error', 'failing_since', 'failures', 'next_check')
        order_by = ('failing_since',)


class FailureTable(Table):
    """What failed in one run."""

    facility = tables.Column()
    observation_id = cell('failure', verbose_name='Observation')
    error = cell('what', verbose_name='What failed', orderable=False)

    class Meta(Table.Meta):
        model = RunFailure
        fields = ('facility', 'observation_id', 'error')


class RunTable(Table):
    """The runs, newest first."""

    started = cell('run')
    job = tables.Column(attrs=WIDE)
    # Each costs a question: only the rows of a page are asked. There is a filter in place of an order.
    status = cell('outcome', orderable=False, verbose_name='Outcome')
    took = cell('took', orderable=False)
    checked = tables.Column(attrs=WIDE)
    saved = tables.Column(verbose_name='Frames', attrs=WIDE)
    failed = tables.Column()

    class Meta(Table.Meta):
        model = UpdateRun
        fields = ('started', 'job', 'status', 'took', 'checked', 'saved', 'failed')

    COUNTS = ('checked', 'saved', 'failed')  # of all records, including hidden ones

    @classmethod
    def hidden_from(cls, user: Visitor) -> tuple[str, ...]:
        """The columns that `user` may not see."""
        return () if sees_everything(user) else cls.COUNTS


class ProblemFilter(django_filters.FilterSet):
    facility = django_filters.ChoiceFilter(
        field_name='record__facility',
        choices=lambda: [(name, name) for name in facility_classes()[0]],
        label='Facility',
    )
    # Longer texts are the database's to refuse: SQLite does, with an error.
    query = django_filters.CharFilter(
        method='found', label='Target or observation', max_length=LONGEST_TEXT
    )

    class Meta:
        model = RecordSync
        fields = ()

    def found(self, rows: QuerySet, name: str, text: str) -> QuerySet:
        """The rows whose target or number contains `text`; hidden targets are not searched."""
        by_target = Q(record__target__name__icontains=text, target_seen=True)
        return rows.filter(by_target | Q(record__observation_id__icontains=text))


def names_of_jobs() -> list[str]:
    """Those that are scheduled, and those that have runs: some are run by hand."""
    ran = UpdateRun.objects.order_by().values_list('job', flat=True).distinct()
    return sorted({*(job.name for job in jobs().jobs), *ran})


class RunFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(
        field_name='shown',  # what the visitor is shown: see `known_outcomes`
        choices=[*UpdateRun.Status.choices, (ENDED, ENDED)],
        label='Outcome',
    )
    job = django_filters.ChoiceFilter(
        choices=lambda: [(name, name) for name in names_of_jobs()], label='Job'
    )

    class Meta:
        model = UpdateRun
        fields = ('status', 'job')


def problems(request: HttpRequest) -> QuerySet[RecordSync]:
    """The records whose last check failed, as far as the visitor may see them."""
    failing = RecordSync.objects.filter(failing_since__isnull=False)
    return (
        seen_by(request.user, failing, 'record')
        .annotate(target_seen=sees_target(request.user, 'record__target_id'))
        .select_related('record__target')
    )


def failures(user: Visitor, run: UpdateRun) -> QuerySet[RunFailure]:
    """What failed in `run`, as far as `user` may see it."""
    failed = RunFailure.objects.filter(run=run).order_by('pk')
    if not sees_everything(user):
        failed = seen_by(user, failed, 'record')
    seen = sees_target(user, 'record__target_id')
    return failed.annotate(target_seen=seen).select_related('record__target')
