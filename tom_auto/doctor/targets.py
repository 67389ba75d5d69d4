"""Can the saved queries be run, and do the cadences go on?"""

from collections import Counter

from django.apps import apps
from tom_observations.models import DynamicCadence

from ..checks import new_targets_mistake
from ..conf import advice
from ..jobs import command_of, jobs
from ..models import Submission
from ..targets.settle import failure_of
from .finding import FAILED, OK, WARNING, Found


def queries() -> Found:
    """Are the services of the saved queries installed, and would somebody see new targets?"""
    if not apps.is_installed('tom_dataservices'):
        yield OK, 'This TOM has no data services'
        return
    from tom_dataservices.dataservices import get_data_service_classes
    from tom_dataservices.models import DataServiceQuery

    installed = get_data_service_classes()
    saved = Counter(DataServiceQuery.objects.values_list('data_service', flat=True))
    if wrong := new_targets_mistake():
        yield WARNING, wrong, "For example: TOM_AUTO = {'NEW_TARGETS': {'groups': ['Supernovae']}}"
    for service in sorted(set(saved) - set(installed)):
        fix = 'Install it, or delete its queries on the page /tom_dataservices/query/list/'
        yield FAILED, f'{saved[service]} saved queries are for {service}, which is missing', fix
    runs = _run_by('updatetargets')
    yield OK, f'{saved.total()} saved queries, {runs}' if saved else 'No query is saved'


def cadences() -> Found:
    """Do the cadences go on, and is it known what became of what they have submitted?"""
    for intent in Submission.objects.filter(state=Submission.State.UNCERTAIN).order_by('pk'):
        error = failure_of(intent)
        yield WARNING, f'{intent.facility}: {error}', advice(error.kind)
    active = DynamicCadence.objects.filter(active=True).count()
    yield OK, f'{active} active cadences, {_run_by("updatecadences")}' if active else 'No cadence'


def _run_by(command: str) -> str:
    names = [job.name for job in jobs().jobs if job.enabled and command_of(job) == command]
    return (
        f'run by [{names[0]}] of schedule.toml' if names else 'which no job of schedule.toml runs'
    )
