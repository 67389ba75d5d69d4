"""What the tests of `updatecadences` share: cadences that fail, and a portal that is in trouble."""

from datetime import UTC, timedelta

from dateutil.parser import parse
from django.utils import timezone
from tom_observations.facilities import ocs
from tom_observations.models import ObservationRecord

from tom_auto.models import Submission

from .running import ran

LIST = '/api/requestgroups/'
SUBMISSION = f'{LIST}$'
RETRY, RESUME = 'RetryFailedObservationsStrategy', 'ResumeCadenceAfterFailureStrategy'


def updatecadences(*arguments):
    return ran('updatecadences', *arguments)


def later(minutes=6):
    """Let so much time have passed since everything was submitted, and looked for in vain."""
    ago = timezone.now() - timedelta(minutes=minutes)
    Submission.objects.update(created=ago)
    Submission.objects.exclude(missed_since=None).update(missed_since=ago)
    its = ObservationRecord.objects.filter(status='WINDOW_EXPIRED')
    its.update(created=ago - timedelta(minutes=1))


def fail(portal, record):
    portal.set_state(int(record.observation_id), 'WINDOW_EXPIRED')
    ObservationRecord.objects.filter(pk=record.pk).update(status='WINDOW_EXPIRED')


def newest():
    return ObservationRecord.objects.latest('pk')


def start_of(record):
    """When the window of a record begins; without a zone it is UTC."""
    moment = parse(record.parameters['start'])
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def states():
    return list(Submission.objects.order_by('pk').values_list('state', flat=True))


def twin(portal, number, **details):
    """Another request that is as the one of this number, but for `details`."""
    one = portal.requests[number]
    same = {
        name: getattr(one, name)
        for name in ('target', 'ra', 'dec', 'instrument', 'exposure', 'filter', 'window')
    }
    return portal.add_request(name=one.group.name, **(same | details))


def never_was(portal, number):
    portal.groups.pop(portal.requests.pop(number).group.id, None)


def accepted_then(portal, fault):
    """Let the portal accept what is submitted, and then answer with `fault`."""
    return portal.break_(SUBMISSION, after_a_submission(fault))


def not_accepted(portal, fault):
    """Let what is submitted meet `fault` before the portal has it."""
    return portal.break_(SUBMISSION, fault, arrives=False)


def after_a_submission(fault):
    return lambda call, reply: fault(call, reply) if call.method == 'POST' else reply


def around_a_submission(before=lambda: None, after=lambda: None):
    """What may stand in the place of tomtoolkit's `make_request`: it does more where it submits."""
    plain = ocs.make_request

    def make_request(method, url, **options):
        submits = method == 'POST' and url.endswith(LIST)
        if submits:
            before()
        answer = plain(method, url, **options)
        if submits:
            after()
        return answer

    return make_request
