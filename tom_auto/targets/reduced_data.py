"""Reduced data: a point that has changed is the same point.

tomtoolkit looks a point up by all that a service says of it. When one number has changed (an
error, say), it finds none, tries to make another, and the database's constraint ends the service's
work: the target's other points are never stored.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import DatabaseError, models, transaction
from tom_dataproducts.models import ReducedDatumQuerySet
from tom_dataservices.dataservices import DataService, MissingDataException
from tom_targets.models import Target

from ..errors import BadCandidate
from ..explain import told
from ..stand_in import in_the_place_of

#: These are as they were when the point came: who made it, and from what.
KEPT = ('id', 'source_name', 'source_location', 'data_product')


@dataclass
class Counts:
    """How many points were made, and how many have changed."""

    made: int = 0
    changed: int = 0


def keep_points(service: DataService, target: Target, data: object) -> tuple[int, list[Exception]]:
    """Store the reduced data of `target`: how many points are new or changed, and what failed."""
    trouble: list[Exception] = []
    with stored_once() as counts:
        try:
            with transaction.atomic():  # what breaks in the database undoes these points alone
                _store(service, target, data, trouble)
        except DatabaseError as error:
            return 0, [error]
    return counts.made + counts.changed, trouble


def _store(service: DataService, target: Target, data: object, trouble: list[Exception]) -> None:
    """Store points until something fails, which is added to `trouble`: those before it stay.

    Raises DatabaseError, after which nothing more can be done in a transaction.
    """
    try:
        service.to_reduced_datums(target, data)
    except MissingDataException:
        pass
    except DatabaseError:
        raise
    except Exception as error:
        trouble.append(error)


@contextmanager
def stored_once() -> Iterator[Counts]:
    """While this lasts, `get_or_create` takes a changed point for what it is. Counts the points."""
    counts = Counts()

    def get_or_create(
        rows: ReducedDatumQuerySet, defaults: dict | None = None, **values: object
    ) -> tuple[models.Model, bool]:
        try:
            with transaction.atomic():  # what fails here does not undo the points before
                return _get_or_create(rows, defaults or {}, values, counts)
        except DatabaseError as error:
            raise BadCandidate(f'a point cannot be stored: {told(error)}') from error

    with in_the_place_of(ReducedDatumQuerySet, 'get_or_create', get_or_create):
        yield counts


def _get_or_create(
    rows: ReducedDatumQuerySet, defaults: dict, values: dict, counts: Counts
) -> tuple[models.Model, bool]:
    plain: Callable = models.QuerySet.get_or_create
    if not (values | defaults).get('timestamp'):  # it would be the time of this run
        raise BadCandidate('the service gives no time for its points, so they are not stored')
    for given in (values, defaults):  # it means that the service does not know the error
        if given.get('brightness_error') == 0:
            given['brightness_error'] = None
    try:
        with transaction.atomic():
            point, made = plain(rows, defaults, **values)
        counts.made += made
        return point, made
    except ValidationError:
        fresh = rows.model(**(values | defaults))
        point = _same(rows, fresh)
        if point is None:
            raise
        if point.source_name == fresh.source_name:  # or it is somebody else's
            counts.changed += _update(point, fresh, values)
        return point, False


def _same(rows: ReducedDatumQuerySet, fresh: models.Model) -> models.Model | None:
    """The point that the database's constraints take for the same as `fresh`."""
    for constraint in fresh._meta.constraints:
        fields = getattr(constraint, 'fields', ())
        key = {name: getattr(fresh, name) for name in fields}
        if key and None not in key.values() and (point := rows.filter(**key).first()):
            return point
    return None


def _update(point: models.Model, fresh: models.Model, values: dict) -> bool:
    names = [name for name in values if name not in KEPT and '__' not in name]
    news = {name: getattr(fresh, name) for name in names}
    news = {name: value for name, value in news.items() if getattr(point, name) != value}
    for name, value in news.items():
        setattr(point, name, value)
    if news:
        point.save(update_fields=list(news))
    return bool(news)
