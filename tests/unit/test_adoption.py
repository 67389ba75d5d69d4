"""`updatedata --report`: what older commands had lost or damaged, and what was brought home."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

import faults
from tom_auto.adoption import adoption

from .running import contents, files, ran, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = b'<!DOCTYPE html><html><body>503 Service Unavailable</body></html>'


@pytest.fixture
def old(sky, observed):
    """A TOM in which tomtoolkit's own commands were at work: every trace that they leave."""
    records = {}

    def product(record, content):
        [frame, *_] = sky.frames_of[int(record.observation_id)]
        row = DataProduct(target=record.target, observation_record=record, product_id=str(frame.id))
        if content is not None:
            row.data.save(frame.filename, ContentFile(content(frame.content)))
        row.save()
        return row

    ways = {
        'whole': lambda content: content,
        'an error page': lambda content: PAGE,
        'cut': lambda content: content[: len(content) // 2],
        'a row without a file': None,
        'its file is gone': lambda content: content,
        'never fetched': 'nothing',
    }
    for way, content in ways.items():
        record = observed(status='COMPLETED', frames=1)
        records[way] = record
        if content != 'nothing':
            row = product(record, content)
        if way == 'its file is gone':
            Path(row.data.path).unlink()
    ago = timezone.now() - timedelta(days=4000)
    ObservationRecord.objects.update(created=ago)
    return records


def told(capsys) -> str:
    call_command('updatedata', '--report')
    return capsys.readouterr().out


def test_before_the_first_run_nothing_was_looked_at(old, capsys):
    assert 'Not looked at yet: 6 observations' in told(capsys)


def test_what_was_lost_comes_home_and_is_told(old, sky, capsys):
    code, report = updatedata()
    assert (code, sorted(files().values())) == (0, contents(sky))

    code, report = ran('updatedata', '--report')

    expected = {
        'records': 6, 'whole': 1, 'damaged': 2, 'missing': 2, 'never_fetched': 1,
        'without_data': 1, 'not_home': 0, 'unchecked': 0, 'failing': 0, 'unread': 0,
    }  # fmt: skip
    assert {name: report[name] for name in expected} == expected
    said = told(capsys)
    assert 'Files that other commands had stored: 1 whole, 2 damaged, 2 missing.' in said
    assert '4 damaged or missing files were fetched again.' in said
    assert '1 frame of 1 observation had never been downloaded; it has been since.' in said
    assert said.endswith('Nothing is left to do.\n')


def test_what_cannot_be_fetched_yet_is_told(old, sky, capsys):
    sky.break_('/store/', faults.status(404))
    updatedata()
    found = adoption()
    assert (found.not_home, found.failing) == (4, 5)
    assert '4 damaged or missing files are still to be fetched.' in told(capsys)
    sky.breaks.clear()
    updatedata()
    assert adoption().not_home == 0


def test_a_new_tom_has_nothing_to_report(observed, capsys):
    observed()
    updatedata()
    assert told(capsys) == 'This TOM had no observations when tom_auto was installed.\n'


def test_a_report_runs_nothing(old, sky):
    before = len(sky.requests_seen)
    output = json.loads(json.dumps(ran('updatedata', '--report')[1]))
    assert output['unchecked'] == 6
    assert len(sky.requests_seen) == before
