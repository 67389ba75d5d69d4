"""An observatory of your own: a small facility class that works. Change it, or copy it.

To use it, add 'app.facilities.ExampleFacility' to TOM_FACILITY_CLASSES in the settings, and to
FACILITIES: {'Example': {'portal_url': ..., 'archive_url': ..., 'api_key': ...}}. To try it without
an observatory, start `python -m tom_auto.simulator --port 8001`; its key is demo-token.

`updatedata` gives every `requests` call in here a timeout, and retries it if that may help.
"""

import requests
from django.conf import settings
from tom_observations.facility import (
    BaseRoboticObservationFacility,
    BaseRoboticObservationForm,
)


class ExampleFacility(BaseRoboticObservationFacility):
    """Gets the state of a request from a portal, and its frames from an archive."""

    name = 'Example'
    observation_forms = {'OBSERVATION': BaseRoboticObservationForm}

    def get_observation_status(self, observation_id):
        """The state of a request, and its scheduled times: a datetime, ISO text, or None."""
        request = self._get('portal_url', f'/api/requests/{observation_id}/')
        return {'state': request['state'], 'scheduled_start': None, 'scheduled_end': None}

    def get_terminal_observing_states(self):
        """The states that will not change any more."""
        return ['COMPLETED', 'WINDOW_EXPIRED', 'CANCELED', 'FAILURE_LIMIT_REACHED']

    def data_products(self, observation_id, product_id=None):
        """The frames of a request: each with an id that never changes, a file name and a URL.

        With 'md5' a file is checked against it, and fetched again when the archive has a new
        version.
        """
        frames = self._get('archive_url', f'/frames/?request_id={observation_id}')['results']
        return [
            {
                'id': frame['id'],
                'filename': frame['filename'],
                'url': frame['url'],
                'created': frame['DATE_OBS'],
                'md5': frame['version_set'][0]['md5'],
            }
            for frame in frames
            if product_id in (None, frame['id'])
        ]

    def _get(self, service, path):
        """The JSON that the portal or the archive answers. Errors are left to the caller."""
        mine = settings.FACILITIES[self.name]
        headers = {'Authorization': f'Token {mine["api_key"]}'} if mine.get('api_key') else {}
        response = requests.get(mine[service] + path, headers=headers)
        response.raise_for_status()
        return response.json()

    # The pages for new observations need the rest. This example cannot submit any.

    def get_form(self, observation_type):
        return self.observation_forms[observation_type]

    def submit_observation(self, observation_payload):
        raise NotImplementedError('The example observatory takes no requests.')

    def validate_observation(self, observation_payload):
        return {}

    def get_observing_sites(self):
        """{'Site': {'sitecode': ..., 'latitude': ..., 'longitude': ..., 'elevation': ...}}"""
        return {}

    def get_observation_url(self, observation_id):
        return f'{settings.FACILITIES[self.name]["portal_url"]}/requests/{observation_id}'
