"""What the public tutorial on automation ends with, written anew: T of the benchmark.

For each record, newest first, unless its status is terminal: its status, then its data, one
after another. `stage.py` copies this file into a TOM.
"""

from django.core.management.base import BaseCommand
from tom_observations.facility import get_service_class
from tom_observations.models import ObservationRecord


class Command(BaseCommand):
    help = 'Updates the data of all observations that have not ended.'

    def handle(self, **options: object) -> str:
        for record in ObservationRecord.objects.all():
            facility = get_service_class(record.facility)()
            if record.status not in facility.get_terminal_observing_states():
                facility.update_observation_status(record.observation_id)
                facility.save_data_products(record)
        return 'Success!'
