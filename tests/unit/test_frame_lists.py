"""The archive is asked once for the frames of many records, and nothing is lost by it: rule 17."""

from datetime import timedelta
from time import sleep

import pytest
from django.core.files.base import ContentFile
from django.db import OperationalError, connection
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

import faults
from tom_auto.files import whole_file
from tom_auto.models import RecordSync
from tom_auto.observatories.portal_lists import FEWEST

from .running import files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

RECORDS = FEWEST + 1
LIST = r'/frames/\?proposal_id'


@pytest.fixture
def observe(sky, add_record):
    """Makes a record that was observed some time ago, with a frame in the archive."""

    def add(ago=timedelta(hours=2), frames=1, proposal='DEMO2026', **fields):
        record = add_record(parameters={'proposal': proposal}, **({'status': ''} | fields))
        number = int(record.observation_id)
        sky.add_request(number, proposal=proposal)
        sky.observe(number, timezone.now() - ago)
        for _ in range(frames):
            sky.add_frame(number, pixels=32, observed_at=timezone.now() - ago)
        return record

    return add


@pytest.fixture
def home(observe):
    """Records whose frames are all home."""
    records = [observe() for _ in range(RECORDS)]
    assert updatedata()[1]['saved'] == RECORDS
    return records


def run(sky, *arguments):
    """The report of a run in which nothing fails, and what it asked the archive."""
    sky.forget()
    status, report = updatedata(*arguments)
    assert (status, report['failures']) == (0, []), report
    asked = [seen.target for seen in sky.requests_seen if seen.path == '/frames/']
    return report, asked


def everything_is_home(sky):
    assert sorted(files().values()) == sorted(frame.content for frame in sky.frames.values())


def test_one_question_for_all_records_where_nothing_is_new(sky, home):
    report, asked = run(sky)
    assert (report['checked'], report['found'], report['saved']) == (RECORDS, RECORDS, 0)
    [question] = asked
    assert 'ordering=id' in question
    assert len(sky.requests_seen) <= 5


def test_and_at_the_first_run(sky, observe):
    for _ in range(RECORDS):
        observe(frames=2)
    report, asked = run(sky)
    assert (report['saved'], len(asked)) == (2 * RECORDS, 1)
    everything_is_home(sky)


def test_late_frames_and_new_versions_come_by_the_list(sky, home):
    late, again = (int(record.observation_id) for record in home[:2])
    sky.add_frame(late, pixels=32, observed_at=timezone.now() - timedelta(hours=2))
    sky.reprocess(sky.frames_of[again][0])
    report, asked = run(sky)
    assert (report['found'], report['saved'], len(asked)) == (RECORDS + 1, 2, 1)
    everything_is_home(sky)


@pytest.mark.parametrize('parameters', [{}, '{"proposal": "DEMO2026"}'])
def test_a_proposal_that_no_record_names_is_known_from_the_portal(sky, home, parameters):
    ObservationRecord.objects.update(parameters=parameters)
    _, asked = run(sky)
    assert len(asked) == 1


def test_parameters_may_be_a_text(sky, observe):
    """As an old command stored them. From the second check on, its frames could not be asked for."""
    record = observe(frames=1)
    ObservationRecord.objects.update(parameters='{"proposal": "DEMO2026"}')
    run(sky)
    sky.add_frame(int(record.observation_id), pixels=32)
    report, _ = run(sky)
    assert (report['failed'], report['saved']) == (0, 1)


def test_each_proposal_has_a_list_of_its_own(sky, observe):
    sky.accounts[sky.token].proposals.add('SUPERNOVAE')
    for proposal in ('DEMO2026', 'SUPERNOVAE'):
        for _ in range(FEWEST):
            observe(proposal=proposal)
    report, asked = run(sky)
    assert (report['saved'], len(asked)) == (2 * FEWEST, 2)


def test_few_records_are_asked_singly(sky, observe):
    for _ in range(FEWEST - 1):
        observe()
    _, asked = run(sky)
    assert all('request_id=' in question for question in asked)


def test_the_frames_of_others_are_not_read_for_a_few_records(sky, home):
    sky.break_(LIST, faults.edit(lambda page: page.update(count=100_000)))
    report, asked = run(sky)
    assert (report['checked'], len(asked)) == (RECORDS, 1 + RECORDS)


def a_row(change):
    return faults.edit(lambda page: page['results'].__setitem__(0, page['results'][0] | change))


FAULTS = {
    'refuses': faults.status(500),
    'is a page for people': faults.html(),
    'is cut': faults.broken_json(),
    'is empty, and says so': faults.edit(lambda page: page.update(results=[], count=0)),
    'lacks rows': faults.edit(lambda page: page['results'].pop()),
    'only estimates': faults.edit(lambda page: page.update(count_estimated=True)),
    'does not say whether it estimates': faults.edit(lambda page: page.pop('count_estimated')),
    'repeats a frame': faults.edit(lambda page: page['results'].append(page['results'][0])),
    'ignores the proposal': a_row({'proposal_id': 'ANOTHER'}),
    'ignores the time': a_row({'observation_date': '2001-01-01T00:00:00Z'}),
    'has a row without a number': a_row({'request_id': None, 'id': None}),
    'is no list': faults.answer([]),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_list_that_fails_or_lies_loses_nothing(sky, home, fault):
    """I3 and its kind: what cannot be believed costs the single calls, and no frame."""
    for record in home:
        number = int(record.observation_id)
        sky.add_frame(number, pixels=32, observed_at=timezone.now() - timedelta(hours=2))
    sky.break_(LIST, FAULTS[fault])

    report, asked = run(sky)

    assert report['saved'] == RECORDS
    assert sum('request_id=' in question for question in asked) == RECORDS
    everything_is_home(sky)


def test_pages_that_shift_once_are_read_again(sky, home):
    sky.break_(LIST, FAULTS['repeats a frame'], times=1)
    _, asked = run(sky)
    assert len(asked) == 2
    assert not any('request_id=' in question for question in asked)


def test_a_list_that_lacks_what_is_stored_is_not_believed(sky, home):
    first = sky.frames_of[int(home[0].observation_id)][0]

    def without(page):
        page['results'] = [row for row in page['results'] if row['id'] != first.id]
        page['count'] -= 1

    sky.break_(LIST, faults.edit(without))
    _, asked = run(sky)
    assert sum('request_id=' in question for question in asked) == 1


def test_a_file_that_is_gone_comes_back(sky, home, settings):
    [name, *_] = files()
    (settings.MEDIA_ROOT / name).unlink()
    report, asked = run(sky)
    assert (report['repaired'], len(asked)) == (1, 2)
    everything_is_home(sky)


def test_the_copy_of_a_web_page_that_was_slower_leaves_no_second_file(sky, home):
    """The lists have nothing new of it: only the row says that its file is another one."""
    [product] = home[0].dataproduct_set.all()
    with product.data.open() as file:
        product.data.save('a-page-stored-it.fits', ContentFile(file.read()))
    assert len(files()) == RECORDS + 1

    _, asked = run(sky)
    assert len(asked) == 2  # the list, and that record

    everything_is_home(sky)
    assert len(run(sky)[1]) == 1


def test_before_it_is_settled_a_record_is_asked_singly(sky, observe):
    """What an earlier observation of the request has left lies outside the times that are known."""
    records = [observe(ago=timedelta(days=8)) for _ in range(RECORDS)]
    lost = int(records[0].observation_id)
    sky.add_frame(lost, pixels=32, observed_at=timezone.now() - timedelta(days=40))
    report, asked = run(sky)
    assert (report['saved'], len(asked)) == (RECORDS + 1, RECORDS)
    assert all(sync.is_settled for sync in RecordSync.objects.all())
    everything_is_home(sky)


# --- what ended long ago, in a TOM that has existed for years ---


@pytest.fixture
def old(sky, observe):
    """Makes a record that ended long ago, as tomtoolkit's commands have left it: with its files."""

    def add(ago=timedelta(days=40), life=timedelta(days=100), frames=2, files_here=True):
        ended = timezone.now() - ago
        record = observe(ago=ago, frames=frames, status='COMPLETED')
        record.scheduled_start, record.scheduled_end = ended - timedelta(minutes=5), ended
        record.parameters['start'] = (ended - life).strftime('%Y-%m-%dT%H:%M')
        record.save()
        if files_here:
            for frame in sky.frames_of[int(record.observation_id)]:
                product = DataProduct(
                    product_id=str(frame.id), target=record.target, observation_record=record
                )
                product.data.save(frame.filename, ContentFile(frame.content))
        return record

    return add


def test_what_is_here_already_is_adopted_and_settled_by_the_lists(sky, old, caplog):
    for _ in range(RECORDS):
        old()
    report, asked = run(sky)
    downloads = [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]
    assert (report['checked'], report['saved'], downloads) == (RECORDS, 0, [])
    assert (report['found'], report['adopted']) == (2 * RECORDS, 2 * RECORDS)
    assert f'read to verify them: {2 * RECORDS}' in caplog.text
    assert 1 <= len(asked) <= 3  # a life of 100 days is more than one list can count
    assert len(sky.requests_seen) <= 10
    assert all(sync.is_settled for sync in RecordSync.objects.all())
    sky.forget()
    assert updatedata()[1]['due'] == len(sky.requests_seen) == 0


def test_what_is_damaged_or_missing_is_mended_with_a_download_each(sky, old, settings):
    records = [old() for _ in range(RECORDS)]
    old(files_here=False)
    damaged = records[0].dataproduct_set.first()
    (settings.MEDIA_ROOT / damaged.data.name).write_bytes(b'<html>404</html>')
    missing = records[1].dataproduct_set.first()
    (settings.MEDIA_ROOT / missing.data.name).unlink()
    report, _ = run(sky)
    downloads = [seen for seen in sky.requests_seen if seen.path.startswith('/store/')]
    assert (report['repaired'], report['saved'], len(downloads)) == (2, 2, 4)
    assert [report[name] for name in ('adopted', 'damaged', 'missing')] == [2 * RECORDS - 2, 1, 1]
    everything_is_home(sky)


def test_files_that_one_run_cannot_read_are_read_by_the_next_and_once(sky, old, monkeypatch):
    for _ in range(2 * RECORDS):
        old(frames=1)
    reads = []

    def slowly(file):
        reads.append(file.name)
        sleep(0.4)
        return plain(file)

    plain = whole_file.read
    monkeypatch.setattr(whole_file, 'read', slowly)
    adopted = [updatedata('--deadline', '2', '--workers', '1')[1]['adopted'] for _ in range(5)]
    assert 0 < adopted[0] < 2 * RECORDS
    assert (sum(adopted), len(reads)) == (2 * RECORDS, len(set(reads)))
    assert all(sync.is_settled for sync in RecordSync.objects.all())


def test_the_frames_of_an_earlier_observation_are_in_the_lists_of_all_its_life(sky, old):
    record = [old() for _ in range(RECORDS)][0]
    long_before = timezone.now() - timedelta(days=40 + 95)
    sky.add_frame(int(record.observation_id), pixels=32, observed_at=long_before)
    report, asked = run(sky)
    assert report['saved'] == 1
    assert not any('request_id=' in question for question in asked)
    assert all(sync.is_settled for sync in RecordSync.objects.all())


def test_a_record_that_no_list_shows_is_asked_singly_before_it_is_settled(sky, old):
    empty = old(frames=0)
    for _ in range(RECORDS):
        old()
    sky.forget()
    _, report = updatedata()
    asked = [seen.target for seen in sky.requests_seen if 'request_id=' in seen.target]
    assert [f'request_id={empty.observation_id}&' in question for question in asked] == [True]
    assert [failure['kind'] for failure in report['failures']] == ['no frames']


def test_what_was_deleted_here_is_not_fetched_again(sky, home):
    DataProduct.objects.first().delete()
    report, asked = run(sky)
    assert (report['saved'], len(asked)) == (0, 1)


# --- I4: nothing is believed only with a witness ---


@pytest.mark.parametrize('proposals', [set(), {'ANOTHER'}])
def test_an_archive_that_shows_nothing_settles_nothing(sky, observe, proposals):
    """I4: "Success!"; finished observations settled without a frame."""
    records = [observe(ago=timedelta(days=8)) for _ in range(RECORDS)]

    def blind(page):
        page.update(results=[], count=0)

    sky.break_('/frames/', faults.edit(blind))
    sky.break_(
        '/profile/', faults.edit(lambda said: said.update(profile={'proposals': [*proposals]}))
    )

    status, report = updatedata()

    assert status == 1
    assert {failure['kind'] for failure in report['failures']} <= {'access refused', 'set aside'}
    assert 'shows this account no frames' in report['failures'][0]['error']
    assert not any(sync.is_settled for sync in RecordSync.objects.all())

    sky.mend()
    report, _ = run(sky, '--recheck')
    assert report['saved'] == len(records)
    everything_is_home(sky)


def test_an_archive_that_cannot_say_what_it_shows_is_believed(sky, observe):
    """An older one, which has no such page."""
    sky.break_('/profile/', faults.status(404))
    observe(ago=timedelta(days=8), frames=0)
    status, report = updatedata()
    assert (status, report['failures'][0]['kind']) == (1, 'no frames')


def test_nobody_asks_the_archive_for_what_has_not_begun(sky, add_record):
    for _ in range(RECORDS):
        sky.add_request(int(add_record(status='').observation_id))
    run(sky)
    assert {seen.path.split('/')[1] for seen in sky.requests_seen} == {'api'}


def test_times_that_are_none_are_that_records_trouble(sky, observe):
    """A portal's list whose times are nonsense does not end the run."""
    records = [observe() for _ in range(RECORDS)]

    def nonsense(page):
        for block in page['results']:
            block['end'] = 'soon' if block['request']['id'] % 2 else '2026-09-12T10:00'

    sky.break_('/api/observations/', faults.edit(nonsense))
    _, report = updatedata()
    assert report['saved'] == len(records)


def observed_at(sky, records, **times):
    """Have the portal give these times of what these records were observed in."""
    numbers = {int(record.observation_id) for record in records}

    def change(page):
        for block in page['results']:
            if block['request']['id'] in numbers:
                block.update(times)

    sky.break_('/api/observations/', faults.edit(change))


@pytest.mark.parametrize(
    'times',
    [
        {'end': '9999-12-31T00:00:00Z'},
        {'start': '9999-12-20T00:00:00Z', 'end': '9999-12-31T00:00:00Z'},
        {'start': '0001-01-02T00:00:00Z'},
        {'start': '3000-01-01T00:00:00Z'},  # and ends before that
    ],
)
def test_times_that_are_far_off_are_that_records_trouble_alone(sky, observe, times):
    odd, *_ = [observe() for _ in range(1 + RECORDS)]
    observed_at(sky, [odd], **times)

    report, asked = run(sky)

    assert (report['checked'], report['saved']) == (1 + RECORDS, 1 + RECORDS)
    alone = [question for question in asked if 'request_id=' in question]
    assert (len(asked), len(alone)) == (2, 1)
    assert f'request_id={odd.observation_id}&' in alone[0]
    everything_is_home(sky)


def test_nobody_reads_the_lists_of_a_century(sky, observe):
    records = [observe() for _ in range(RECORDS)]
    observed_at(sky, records, end='2126-01-01T00:00:00Z')
    report, asked = run(sky)
    assert (report['saved'], len(asked)) == (RECORDS, RECORDS)


def test_a_database_that_is_away_as_the_lists_are_to_be_read_costs_the_lists(sky, home):
    """What a record has is read before any check begins: it fails no record, and ends no run."""
    met = []

    def away_once(execute, sql, params, many, context):
        if not met and '"terminal_since"' in sql and '"created"' in sql:
            met.append(sql)
            raise OperationalError('the server has closed the connection')
        return execute(sql, params, many, context)

    with connection.execute_wrapper(away_once):
        report, _ = run(sky)

    assert (len(met), report['checked']) == (1, RECORDS)


@pytest.mark.parametrize(('where', 'named'), [('/api/', 'requests'), ('/frames/', 'frames')])
def test_a_list_that_hangs_is_named_at_the_deadline(sky, observe, automation, where, named):
    automation['READ_TIMEOUT'] = 30
    for _ in range(RECORDS):
        observe()
    sky.break_(where, faults.hang(30))
    status, report = updatedata('--deadline', '2')
    errors = [failure['error'] for failure in report['failures']]
    assert (status, report['not_reached']) == (1, RECORDS)
    assert any(f'the lists of {named} have not ended' in error for error in errors), errors
    sky.mend()
    assert run(sky)[0]['saved'] == RECORDS
