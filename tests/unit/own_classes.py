"""Facility classes that some group has written for itself: sound, and each in its own way.

They read what they answer from `settings.FACILITIES`, as they are asked in a process of their own.
"""

from pathlib import Path
from time import sleep

import requests
from django.conf import settings
from django.core.files.base import ContentFile
from tom_common.exceptions import ImproperCredentialsException
from tom_dataproducts.models import DataProduct, ReducedDatum
from tom_observations.models import ObservationRecord

from tom_auto.simulator import Observatory
from tom_auto.simulator.archive import presigned
from tom_auto.simulator.model import Frame

from .facility_classes import Robotic


class Lists(Robotic):
    """Lists the products that a test has `offered`."""

    name = 'Lists'

    @property
    def own(self):
        return settings.FACILITIES[self.name]

    def get_observation_status(self, observation_id):
        return {'state': 'DONE', 'scheduled_start': None, 'scheduled_end': None} | self.own['says']

    def data_products(self, observation_id, product_id=None):
        return self.own['products'].get(observation_id, [])


class ListsAsWell(Lists):
    """Another one, whose ids begin at 1 as well."""

    name = 'ListsAsWell'


class SavesByItself(Lists):
    """Saves as most that do so: `requests.get(url).content`, whatever its size."""

    name = 'SavesByItself'

    def save_data_products(self, observation_record, product_id=None):
        saved = []
        for product in self.data_products(observation_record.observation_id):
            row, created = DataProduct.objects.get_or_create(
                product_id=product['id'],
                target=observation_record.target,
                observation_record=observation_record,
            )
            if created:
                content = requests.get(product['url']).content
                row.data.save(product['filename'], ContentFile(content))
            saved.append(row)
        return saved


class Registers(Lists):
    """Makes rows for the files `own['names']`, which a pipeline has written, with photometry."""

    name = 'Registers'

    def save_data_products(self, observation_record, product_id=None):
        target = observation_record.target
        for number, name in enumerate(self.own['names']):
            row, created = DataProduct.objects.get_or_create(
                product_id=f'reduced {number}', target=target,
                observation_record=observation_record, defaults={'data': name},
            )  # fmt: skip
            if created:
                ReducedDatum.objects.create(
                    target=target, data_product=row, data_type='photometry', value={'g': 17.5}
                )


class UpdatesSlowly(Lists):
    """Writes the status itself, and takes its time: GOATS in a bad hour."""

    name = 'UpdatesSlowly'

    def update_observation_status(self, observation_id):
        while Path(self.own['wait']).exists():
            Path(self.own['busy']).touch()
            sleep(0.01)
        for record in ObservationRecord.objects.filter(observation_id=observation_id):
            record.status = 'DONE'
            record.save()


class Accounts(Lists):
    """Has credentials for each user, and refuses those of `own['refused']` when it is asked."""

    name = 'Accounts'

    def get_observation_status(self, observation_id):
        if str(self.user) in self.own['refused']:
            raise ImproperCredentialsException('Accounts: wrong password')
        return super().get_observation_status(observation_id)


class Logins(Accounts):
    """The same, by a login as soon as it is given a user."""

    name = 'Logins'

    def set_user(self, user):
        super().set_user(user)
        with Path(self.own['logins']).open('a') as file:
            file.write(f'{user}\n')
        if str(user) in self.own['refused']:
            raise ImproperCredentialsException('Logins: wrong password')

    def get_observation_status(self, observation_id):
        return Lists.get_observation_status(self, observation_id)


def install(settings: object, facility: type, **own: object) -> dict[str, list]:
    """Add a class of this module to the TOM; its products, by observation id, for a test to fill."""
    products: dict[str, list] = {}
    path = f'{facility.__module__}.{facility.__name__}'
    settings.TOM_FACILITY_CLASSES = [*settings.TOM_FACILITY_CLASSES, path]
    entry = {'says': {}, 'products': products, 'refused': ()} | own
    settings.FACILITIES = settings.FACILITIES | {facility.name: entry}
    return products


def product_of(sky: Observatory, frame: Frame, **changes: object) -> dict:
    """A frame of the observatory, as `data_products` of a class lists it."""
    address = presigned(sky, frame, frame.versions[0], sky.url)
    return {'id': str(frame.id), 'filename': frame.filename, 'url': address} | changes
