"""Creates observation records as people do: through tomtoolkit's own form, API and pages."""

from datetime import timedelta

from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from tom_observations.models import ObservationRecord
from tom_targets.models import Target

from simulated import Observatory

NAME = 'M 31'  # of every request
#: What tomtoolkit takes for an instrument of each facility.
INSTRUMENT = {'LCO': '1M0-SCICAM-SINISTRO', 'SOAR': 'SOAR_GHTS_REDCAM_IMAGER'}


def forget() -> None:
    """Let tomtoolkit ask again: it keeps the instruments and proposals of a facility."""
    cache.clear()


def _answers(target: Target, facility: str) -> dict[str, str]:
    """What somebody fills into the form for images."""
    now = timezone.now()
    return {
        'facility': facility, 'target_id': str(target.pk), 'observation_type': 'IMAGING',
        'name': NAME, 'proposal': 'DEMO2026', 'ipp_value': '1.05',
        'observation_mode': 'NORMAL', 'configuration_repeats': '1',
        'start': f'{now:%Y-%m-%dT%H:%M}', 'end': f'{now + timedelta(days=2):%Y-%m-%dT%H:%M}',
        'c_1_instrument_type': INSTRUMENT[facility], 'c_1_configuration_type': 'EXPOSE',
        'c_1_max_airmass': '1.6', 'c_1_min_lunar_distance': '30', 'c_1_guide_mode': 'ON',
        'c_1_ic_1_exposure_count': '1', 'c_1_ic_1_exposure_time': '60', 'c_1_ic_1_filter': 'rp',
    }  # fmt: skip


def by_form(
    client: Client, sky: Observatory, target: Target, facility: str, cadence: str = ''
) -> ObservationRecord:
    """A record made by the form that a target's page leads to; the first of a `cadence`."""
    answers = _answers(target, facility)
    start, end = answers.pop('start').split('T'), answers.pop('end').split('T')
    split = {'start_0': start[0], 'start_1': start[1], 'end_0': end[0], 'end_1': end[1]}
    if cadence:
        split |= {'cadence_strategy': cadence, 'cadence_frequency': '24'}
    page = f'/observations/{facility}/create/?cadence_strategy={cadence}'
    return _made(client.post(page, answers | split), 302)


def by_api(client: Client, sky: Observatory, target: Target, facility: str) -> ObservationRecord:
    """A record made by tomtoolkit's API."""
    body = {
        'facility': facility, 'target_id': target.pk, 'observation_type': 'IMAGING',
        'observing_parameters': _answers(target, facility),
    }  # fmt: skip
    return _made(client.post('/api/observations/', body, content_type='application/json'), 201)


def by_number(client: Client, sky: Observatory, target: Target, facility: str) -> ObservationRecord:
    """A record of a request that was made elsewhere, by the page that adds existing ones."""
    request = sky.add_request()
    fields = {
        'target_id': str(target.pk), 'facility': facility, 'observation_id': str(request.id),
        'confirm': 'on',
    }  # fmt: skip
    return _made(client.post('/observations/add/', fields), 302)


def _made(response: object, status: int) -> ObservationRecord:
    assert response.status_code == status, response.content[-3000:].decode()
    record = ObservationRecord.objects.latest('pk')
    assert record.status == ''  # tomtoolkit knows none before it asks
    return record
