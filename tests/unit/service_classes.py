"""Data services of other kinds than tomtoolkit's own, each with a habit of one that is in use."""

import os
from datetime import UTC, datetime
from time import sleep

from astropy.table import Table
from requests import Timeout
from tom_dataproducts.models import PhotometryReducedDatum
from tom_dataservices.dataservices import DataService
from tom_dataservices.forms import BaseQueryForm
from tom_targets.models import Target, TargetExtra


class Survey(DataService):
    """A survey whose answers are set by a test, before the process of the service is forked."""

    name = 'Survey'
    results: list[dict] = []  # noqa: RUF012
    points: dict[str, list[dict]] = {}  # noqa: RUF012  (by target)

    @classmethod
    def get_form_class(cls) -> type:
        return BaseQueryForm

    def build_query_parameters(self, parameters: dict, **kwargs: object) -> dict:
        return parameters

    def query_service(self, query_parameters: dict, **kwargs: object) -> list[dict]:
        return self.results

    def query_targets(self, query_parameters: dict, **kwargs: object) -> list[dict]:
        return [dict(result) for result in self.query_service(query_parameters)]

    def create_target_from_query(self, result: dict, **kwargs: object) -> Target:
        return Target(name=result['name'], type='SIDEREAL', ra=result['ra'], dec=result['dec'])

    def build_query_parameters_from_target(self, target: Target, **kwargs: object) -> dict:
        return {'name': target.name}

    def query_photometry(self, query_parameters: dict, **kwargs: object) -> list[dict]:
        return self.points.get(query_parameters['name'], [])

    def create_reduced_datums_from_query(
        self, target: Target, data: list[dict], data_type: str | None = None, **kwargs: object
    ) -> list:
        return [
            PhotometryReducedDatum.objects.get_or_create(
                target=target, bandpass='r', source_name=self.name, unit='mag', **one
            )[0]
            for one in data
        ]


class KeepsAnswers(Survey):
    """Prefers the answer of the call before, as Antares and Hermes do."""

    def query_photometry(self, query_parameters: dict, **kwargs: object) -> list[dict]:
        self.query_results = self.query_results or super().query_photometry(query_parameters)
        return self.query_results


class Sleeps(Survey):
    """Hangs, and no limit of `requests` reaches it."""

    def query_service(self, query_parameters: dict, **kwargs: object) -> list[dict]:
        sleep(60)
        return []


class Exits(Survey):
    """Takes its process with it."""

    def query_service(self, query_parameters: dict, **kwargs: object) -> list[dict]:
        os._exit(1)


class Offline(Survey):
    """Its constructor asks the network, as Simbad's does."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise ConnectionError('no route')


class Silent(Survey):
    """Never answers some queries and some questions about candidates, but gives data of targets."""

    silent: set[str] = set()  # noqa: RUF012  (candidates, by name)
    has_queries = True

    def query_service(self, query_parameters: dict, **kwargs: object) -> list[dict]:
        if not self.has_queries:
            raise Timeout('no answer')
        return self.results

    def query_aliases(self, query_parameters: dict | None = None, target: Target | None = None,
                      **kwargs: object) -> list[str]:  # fmt: skip
        if target.name in self.silent:
            raise Timeout('no answer')
        return []


class AddsDetail(Survey):
    """Adds to what becomes of a target, as Scout does."""

    def to_target(self, target_result: dict | None = None, **kwargs: object) -> Target:
        target = super().to_target(target_result, **kwargs)
        detail, _ = TargetExtra.objects.get_or_create(target=target, key='rating')
        detail.value = target_result['rating']
        detail.save()
        return target


class Knows(Survey):
    """Knows distances, ratings and other names of its targets."""

    others: list[str] = []  # noqa: RUF012  (names that it gives only with the data of a target)

    def create_target_from_query(self, result: dict, **kwargs: object) -> Target:
        target = super().create_target_from_query(result)
        target.distance = result.get('distance')
        return target

    def create_target_extras_from_query(self, query_results: dict, **kwargs: object) -> dict:
        return {key: query_results[key] for key in ('rating',) if key in query_results}

    def query_aliases(self, query_parameters: dict | None = None, target: Target | None = None,
                      **kwargs: object) -> list[str]:  # fmt: skip
        return self.others if query_parameters is None else []


class StoresAtOnce(Survey):
    """Stores all points of a target by one statement, as tomtoolkit's own loaders of data do."""

    def create_reduced_datums_from_query(
        self, target: Target, data: list[dict], data_type: str | None = None, **kwargs: object
    ) -> list:
        same = {'target': target, 'bandpass': 'r', 'source_name': self.name, 'unit': 'mag'}
        points = [PhotometryReducedDatum(**same, **one) for one in data]
        return PhotometryReducedDatum.objects.bulk_create(points)


class NeedsKey(Survey):
    """Cannot run what an older version of it saved, as Fink cannot."""

    def build_query_parameters(self, parameters: dict, **kwargs: object) -> dict:
        return {'class': parameters['object_class']}


class FakeSimbad:
    """Simbad's client, which needs a server of another kind: it knows everything."""

    def add_votable_fields(self, *fields: str) -> None:
        """Nothing: they are all there."""

    reset_votable_fields = add_votable_fields

    def query_object(self, name: str) -> Table:
        row = {
            'main_id': name, 'ra': 10.68, 'dec': 41.27, 'pmra': 0.0, 'pmdec': 0.0,
            'mesdistance.dist': 0.77, 'mesdistance.unit': 'Mpc',
        }  # fmt: skip
        return Table([row])


def found(name: str, ra: float = 10.0, dec: float = 20.0, **more: object) -> dict:
    """A result of a survey."""
    return {'name': name, 'ra': ra, 'dec': dec} | more


def at(day: int, brightness: float, error: float = 0.1) -> dict:
    """A point of a light curve."""
    when = datetime(2026, 1, day, tzinfo=UTC)
    return {'timestamp': when, 'brightness': brightness, 'brightness_error': error}
