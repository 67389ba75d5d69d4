"""`updatedata --wait` follows a run, and Ctrl-C leaves it running."""

import shutil
import signal
from threading import Event

import pytest

from program import PROJECT, Program
from tom_auto.models import UpdateRun

pytestmark = pytest.mark.django_db(transaction=True)


def statuses() -> list[str]:
    return list(UpdateRun.objects.order_by('pk').values_list('status', flat=True))


def test_it_follows_a_run_that_begins_or_is_in_progress_to_its_end_and_ctrl_c_leaves_it(
    sky, observed, settings, tmp_path
):
    shutil.copy(PROJECT / 'manage.py', tmp_path)
    settings.TOM_AUTO |= {'READ_TIMEOUT': 30}
    observed(frames=2)
    go_on = Event()
    sky.break_('/store/', lambda call, reply: go_on.wait(60) and reply)
    left = Program(tmp_path, '--wait')  # begins it
    assert left.next_error().startswith('Following the run on ')
    other = Program(tmp_path, '--wait')  # finds it in progress
    assert other.next_error().startswith('Following the run on ')
    left.send(signal.SIGINT)
    status, _, errors, _ = left.ended()
    assert (status, 'The run continues in the background.' in errors) == (130, True), errors
    assert statuses() == ['running']

    go_on.set()
    status, report, _ = other.report()
    assert (status, report['status'], report['saved']) == (0, 'ok', 2)
    assert statuses() == ['ok']
