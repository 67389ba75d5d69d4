"""The candidate of `manage.py demo`: a broker announces it, and a cadence observes it.

What a person would do on the pages is done here: save a query, fill in the form for an observation,
and begin a cadence with it. The rest is done by `updatetargets`, `updatecadences` and `updatedata`.
"""

import logging
from datetime import timedelta
from functools import partial

from django.apps import apps
from django.db.models import Q, QuerySet
from django.utils import timezone
from tom_observations.facility import get_service_class, get_service_classes
from tom_observations.models import DynamicCadence, ObservationGroup, ObservationRecord
from tom_targets.models import Target

from .demo import FIRST_FRAME, MARK, PIXELS, demo_records
from .models import Submission
from .simulator import Observatory

TRANSIENT = '2026ab (demo)'
TARGET = f'SN{TRANSIENT}'
PLACE = {'ra': 150.1163, 'dec': 2.2058}
QUERY = 'Supernovae (demo)'
SERVICE, FACILITY = 'TNS', 'LCO'
NIGHT = 24  # hours between two observations of the cadence
CANDIDATE_FRAME = FIRST_FRAME + 1000
STRATEGY = 'ResumeCadenceAfterFailureStrategy'


def what_is_missing() -> str:
    """Why this TOM cannot show it; empty if it can."""
    if FACILITY not in get_service_classes():
        return f'This TOM has no facility {FACILITY}'
    if not apps.is_installed('tom_dataservices'):
        return 'tom_dataservices is not in INSTALLED_APPS'
    from tom_dataservices.dataservices import get_data_service_classes

    return '' if SERVICE in get_data_service_classes() else f'This TOM has no service {SERVICE}'


def save_query() -> int:
    """The id of a query for new supernovae, saved as its page does.

    The real service knows none of that name, if another run asks it meanwhile.
    """
    from tom_dataservices.models import DataServiceQuery

    asked = {'days_ago': None, 'min_date': None, 'target_name': TRANSIENT, 'objname': TRANSIENT}
    query, _ = DataServiceQuery.objects.update_or_create(
        name=QUERY, data_service=SERVICE, defaults={'parameters': asked}
    )
    return query.pk


def forget_what_is_open() -> None:
    """Delete the query, and what was submitted without a clear end: it is no real service's matter.

    The same goes for what somebody has deleted the records of.
    """
    here = {record.observation_id for record in its_records()}
    for one in _its_submissions():
        if one.state != Submission.State.RECORDED or not here.issuperset(one.observation_ids):
            one.delete()
    if apps.is_installed('tom_dataservices'):
        from tom_dataservices.models import DataServiceQuery

        DataServiceQuery.objects.filter(name=QUERY).delete()


def _its_submissions() -> QuerySet[Submission]:
    return Submission.objects.filter(name=TARGET)  # its cadence may have been deleted


def its_target() -> Target:
    """What `updatetargets` has made of the candidate, whatever its name is by now."""
    named = Target.objects.filter(Q(name=TARGET) | Q(aliases__name=TARGET))
    return named.order_by('pk').first()


def its_records() -> list[ObservationRecord]:
    """The observations of the cadence, in their order, wherever somebody has put them."""
    return list(demo_records().filter(parameters__name=TARGET).order_by('pk'))


def its_cadence(target: Target) -> DynamicCadence:
    """The cadence, begun as the form for an observation begins it, if it has not begun yet.

    It is never active, so that no other run submits anything of it to the real observatory.
    """
    cadence = DynamicCadence.objects.filter(observation_group__name=TARGET).first()
    if cadence and (records := its_records()):
        cadence.observation_group.observation_records.add(*records)
        return cadence
    ObservationGroup.objects.filter(name=TARGET).delete()  # somebody has emptied it
    facility = get_service_class(FACILITY)()
    logging.disable(logging.WARNING)  # tomtoolkit warns that its cache is empty
    try:
        form = facility.get_form('IMAGING')(data=_answers(target))
        is_valid = form.is_valid()
    finally:
        logging.disable(logging.NOTSET)
    if not is_valid:
        raise ValueError(f'The form of {FACILITY} refuses the demo: {form.errors.as_text()}')
    numbers = facility.submit_observation(form.observation_payload())
    group = ObservationGroup.objects.create(name=TARGET)
    for number in numbers:
        record = ObservationRecord.objects.create(
            target=target, facility=FACILITY, observation_id=str(number),
            parameters=form.serialize_parameters() | MARK,
        )  # fmt: skip
        group.observation_records.add(record)
    return DynamicCadence.objects.create(
        observation_group=group,
        cadence_strategy=STRATEGY,
        cadence_parameters={'cadence_frequency': NIGHT},
        active=False,
    )


def observe_candidate(sky: Observatory) -> None:
    """Let `sky` carry out what was submitted: one frame the first night, two the next."""
    add_request = partial(sky.add_request, target=TARGET, proposal=sky.proposal, **PLACE)
    for night, record in enumerate(its_records()):
        number = int(record.observation_id)
        if number not in sky.requests:  # of an earlier demo
            add_request(number, name=TARGET)
        if sky.frames_of[number]:
            continue
        begun = record.created - timedelta(hours=1)
        sky.observe(number, begun)
        for exposure in range(1 + night):
            frame_id = CANDIDATE_FRAME + 10 * night + exposure
            sky.add_frame(
                number, frame_id=frame_id, number=frame_id - FIRST_FRAME + 1, pixels=PIXELS,
                observed_at=begun + timedelta(seconds=90 * exposure),
            )  # fmt: skip


def remove_candidate() -> None:
    """Delete its cadence, what that has submitted, its query and target.

    Its records and files are gone already.
    """
    forget_what_is_open()
    _its_submissions().delete()
    ObservationGroup.objects.filter(name=TARGET).delete()
    Target.objects.filter(name=TARGET, observationrecord=None).delete()


def _answers(target: Target) -> dict[str, str]:
    """What somebody fills into the form for images: from last night to the next one."""
    now = timezone.now()
    return {
        'facility': FACILITY, 'target_id': str(target.pk), 'observation_type': 'IMAGING',
        'name': TARGET, 'proposal': 'DEMO2026', 'ipp_value': '1.05', 'observation_mode': 'NORMAL',
        'configuration_repeats': '1',
        'start': f'{now - timedelta(hours=NIGHT):%Y-%m-%dT%H:%M}',
        'end': f'{now + timedelta(hours=NIGHT):%Y-%m-%dT%H:%M}',
        'c_1_instrument_type': '1M0-SCICAM-SINISTRO', 'c_1_configuration_type': 'EXPOSE',
        'c_1_max_airmass': '1.6', 'c_1_min_lunar_distance': '30', 'c_1_guide_mode': 'ON',
        'c_1_ic_1_exposure_count': '1', 'c_1_ic_1_exposure_time': '60', 'c_1_ic_1_filter': 'rp',
    }  # fmt: skip
