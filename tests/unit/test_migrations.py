"""A database of any version becomes one of today, with everything that is in its tables."""

import itertools
from collections import defaultdict
from datetime import UTC, datetime

import pytest
from django.apps import apps as today
from django.apps.registry import Apps
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

pytestmark = pytest.mark.django_db(transaction=True)

#: What a column gets that has no default, by the kind of its field: `number` is another each time.
VALUES = {
    models.DateTimeField: lambda number: datetime(2026, 1, 1, tzinfo=UTC),
    models.DateField: lambda number: datetime(2026, 1, 1, tzinfo=UTC).date(),
    models.IntegerField: lambda number: number,
    models.FloatField: float,
    models.BooleanField: lambda number: False,
    models.JSONField: lambda number: [number],
    models.CharField: str,
    models.TextField: str,
}
ONE_AT_A_TIME = {'AuditRound'}
VERSIONS = sorted(name for app, name in MigrationLoader(None).graph.nodes if app == 'tom_auto')


@pytest.fixture
def no_tables():
    """The tables of the library are not there; after the test, they are those of today."""
    call_command('migrate', 'tom_auto', 'zero', verbosity=0)
    yield
    call_command('migrate', verbosity=0)


def test_whatever_is_in_the_tables_of_any_version_is_in_those_of_today(no_tables):
    numbers, rows = itertools.count(1), defaultdict(set)
    for version in VERSIONS:
        at = [('tom_auto', version)]
        MigrationExecutor(connection).migrate(at)
        apps = MigrationExecutor(connection).loader.project_state(at).apps
        for model in apps.get_app_config('tom_auto').get_models():
            if model.__name__ not in ONE_AT_A_TIME or not model.objects.exists():
                fill(apps, model, numbers)
        for model in apps.get_app_config('tom_auto').get_models():
            rows[model._meta.label].update(model.objects.values_list('pk', flat=True))

    call_command('makemigrations', 'tom_auto', '--check', '--dry-run', verbosity=0)
    for model in today.get_app_config('tom_auto').get_models():
        assert set(model.objects.values_list('pk', flat=True)) == rows[model._meta.label], model
    connection.check_constraints()


def fill(apps: Apps, model: type[models.Model], numbers: itertools.count) -> models.Model:
    """A new row, with rows of their own for what it points at."""
    values = {}
    for field in model._meta.concrete_fields:
        if field.is_relation:
            values[field.name] = fill(apps, field.related_model, numbers)
        elif is_needed(field):
            kind = next(kind for kind in VALUES if isinstance(field, kind))
            values[field.name] = VALUES[kind](next(numbers))
    return model.objects.create(**values)


def is_needed(field: models.Field) -> bool:
    """Whether each row has to have its own: a text may be what tells them apart."""
    is_a_text = isinstance(field, models.CharField) and not field.choices
    is_optional = field.has_default() and not is_a_text and not field.unique
    return not field.auto_created and not is_optional
