"""Which saved queries are run, and which targets have data at a service."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q
from tom_dataproducts.models import REDUCED_DATUM_MODELS
from tom_dataservices.dataservices import DataService, get_data_service_classes
from tom_dataservices.models import DataServiceQuery

from ..models import ServiceTarget
from .candidates import overrides

AGAIN_AFTER = timedelta(minutes=50)  # a service is not asked more often for one target's data


@dataclass(frozen=True)
class Selection:
    """The queries (by id) and services that a run is limited to; empty: all."""

    queries: tuple[int, ...] = ()
    services: tuple[str, ...] = ()
    limit: int | None = None

    def words(self) -> str:
        """What the run is limited to, in words; empty if it is not."""
        queries = [f'query {pk}' for pk in self.queries]
        limit = [f'{self.limit} new targets of a query'] if self.limit else []
        return ', '.join([*queries, *self.services, *limit])


def queries_of(selection: Selection) -> dict[str, list[tuple[int, str]]]:
    """The id and name of each selected query, by service; those that wait longest come first."""
    chosen = Q(pk__in=selection.queries) if selection.queries else Q()
    if selection.services:
        chosen &= Q(data_service__in=selection.services)
    found: dict[str, list[tuple[int, str]]] = {}
    rows = DataServiceQuery.objects.filter(chosen)
    rows = rows.order_by(F('last_run').asc(nulls_first=True), 'pk')
    for pk, name, service in rows.values_list('pk', 'name', 'data_service'):
        found.setdefault(service, []).append((pk, name))
    return found


def enrol(services: Iterable[str]) -> None:
    """Take note of targets that have data of a service, whoever stored them."""
    for model in REDUCED_DATUM_MODELS:
        sources = list(model.objects.values_list('source_name', flat=True).distinct())
        for service in services:
            # "ZTF (Antares)" is what Antares calls its points.
            its = [source for source in sources if service.lower() in source.lower()]
            targets = model.objects.filter(source_name__in=its).values_list('target', flat=True)
            known = ServiceTarget.objects.filter(service=service).values('target')
            ServiceTarget.objects.bulk_create(
                (
                    ServiceTarget(target_id=pk, service=service)
                    for pk in targets.exclude(target__in=known).distinct()
                ),
                ignore_conflicts=True,
                batch_size=500,
            )


def has_data(service_class: type[DataService]) -> bool:
    """Whether the class can store the reduced data of a target."""
    return overrides(service_class, 'create_reduced_datums_from_query')


def targets_to_ask(
    service: str, selection: Selection, now: datetime, most: int
) -> list[tuple[int, str]]:
    """The targets whose data `service` is asked for, those that wait longest first."""
    due = Q(answered_at=None)
    if not selection.queries:
        due |= Q(answered_at__lt=now - AGAIN_AFTER)
    rows = ServiceTarget.objects.filter(due, service=service)
    rows = rows.order_by(F('asked_at').asc(nulls_first=True), 'pk')
    return list(rows.values_list('target_id', 'target__name')[:most])


def services_with_targets(selection: Selection) -> set[str]:
    """The installed services that some target has, as far as they are selected."""
    if selection.queries:
        return set()
    installed = get_data_service_classes()
    chosen = set(selection.services or installed) & set(installed)
    capable = {name for name in chosen if has_data(installed[name])}
    enrol(capable)
    rows = ServiceTarget.objects.filter(service__in=capable)
    return set(rows.values_list('service', flat=True).distinct())
