"""How the portal writes requests, request groups and observations as JSON."""

from typing import Any

from .lists import stamp
from .model import Observation, Request, RequestGroup


def telescope_class(request: Request) -> str:
    return request.telescope.code[:3]


def show_request(request: Request) -> dict[str, Any]:
    return {
        'id': request.id,
        'observation_note': '',
        'optimization_type': 'TIME',
        'state': request.state,
        'acceptability_threshold': 90.0,
        'configuration_repeats': 1,
        'extra_params': {},
        'modified': stamp(request.modified),
        'created': stamp(request.created),
        'duration': round(request.exposure + 120),
        'request_group': request.group.id,
        'configurations': [show_configuration(request)],
        'location': {'telescope_class': telescope_class(request)},
        'windows': [{'start': stamp(start), 'end': stamp(end)} for start, end in request.windows],
    }


def show_configuration(request: Request) -> dict[str, Any]:
    return {
        'id': request.id,
        'instrument_type': request.instrument_type,
        'type': 'EXPOSE',
        'priority': 1,
        'instrument_configs': [
            {
                'exposure_count': 1,
                'exposure_time': request.exposure,
                'optical_elements': {'filter': request.filter},
            }
        ],
        'constraints': {'max_airmass': 1.6, 'min_lunar_distance': 30.0},
        'target': {
            'type': 'ICRS',
            'name': request.target,
            'ra': request.ra,
            'dec': request.dec,
            'epoch': 2000.0,
        },
    }


def show_group(group: RequestGroup) -> dict[str, Any]:
    return {
        'id': group.id,
        'submitter': group.submitter,
        'name': group.name,
        'observation_type': 'NORMAL',
        'operator': 'SINGLE' if len(group.requests) == 1 else 'MANY',
        'ipp_value': 1.05,
        'created': stamp(group.created),
        'state': group.state,
        'modified': stamp(group.modified),
        'proposal': group.proposal,
        'requests': [show_request(request) for request in group.requests],
    }


def show_observation(observation: Observation) -> dict[str, Any]:
    done = observation.state == 'COMPLETED'
    return {
        'id': observation.id,
        'request': observation.request_id,
        'site': observation.telescope.site,
        'enclosure': observation.telescope.enclosure,
        'telescope': observation.telescope.code,
        'start': stamp(observation.start),
        'end': stamp(observation.end),
        'priority': 10,
        'state': observation.state,
        'configuration_statuses': [
            {
                'id': observation.id,
                'configuration': observation.request_id,
                'instrument_name': observation.telescope.camera,
                'guide_camera_name': '',
                'state': 'COMPLETED' if done else 'PENDING',
                'summary': {},
            }
        ],
    }
