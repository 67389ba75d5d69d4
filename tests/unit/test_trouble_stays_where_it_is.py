"""One record's, one user's, one host's trouble is that one's alone: rules 3 and 4."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

import faults
from tom_auto.health import healths
from tom_auto.models import RecordSync

from .own_classes import Accounts, Lists, Logins, install, product_of
from .receiving import web_server
from .running import contents, files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)


def statuses():
    return Counter(ObservationRecord.objects.values_list('status', flat=True))


def well(*arguments):
    """The report of a run in which nothing failed."""
    status, report = updatedata(*arguments)
    assert (status, report['failures']) == (0, []), report
    return report


@pytest.fixture
def apart(sky, settings):
    """The portal, the archive and the file server at three hosts, as they really are."""
    archive = sky.url.replace('127.0.0.1', 'localhost')
    entry = sky.settings() | {'archive_url': archive}
    settings.FACILITIES = settings.FACILITIES | dict.fromkeys(('LCO', 'SOAR', 'BLANCO'), entry)

    def move_files(page):
        for frame in page.get('results', ()):
            frame['url'] = frame['url'].replace('localhost', '127.1')

    return faults.edit(move_files)


class TestAUserWhosePasswordIsRefused:
    """The others have theirs."""

    @pytest.fixture
    def crowd(self, settings, tmp_path, add_record):
        """Four records of one user whose password is refused, and thirty of others."""

        def add(facility):
            install(settings, facility, refused=('bad',), logins=str(tmp_path / 'logins'))
            bad = User.objects.create_user('bad')
            others = [User.objects.create_user(f'user-{number}') for number in range(3)]
            theirs = [add_record(facility.name, status='', user=bad) for _ in range(4)]
            rest = [
                add_record(facility.name, status='', user=others[number % 3])
                for number in range(30)
            ]
            return theirs, rest

        return add

    @pytest.mark.parametrize('workers', ['1', '4'])
    @pytest.mark.parametrize('facility', [Accounts, Logins])
    def test_does_not_stop_theirs(self, crowd, facility, workers):
        """A8: the facility was set aside; 0 of 34 checked, at every run."""
        theirs, rest = crowd(facility)
        for _ in range(2):
            status, report = updatedata('--workers', workers)
            assert (status, report['due'] - report['checked']) == (1, 4)
            assert {failure['facility'] for failure in report['failures']} == {facility.name}
            assert {sync.record_id for sync in RecordSync.objects.filter(failures=0, error='')} == {
                record.pk for record in rest
            }
        for record in rest:
            record.refresh_from_db()
            assert record.status == 'DONE'
        for record in theirs:
            record.refresh_from_db()
            assert record.status == ''
            assert record.sync.error  # noted on each of the four

    def test_logs_in_once(self, crowd, tmp_path):
        """A8: after a few failed logins some lock the account."""
        crowd(Logins)
        updatedata()
        logins = Counter((tmp_path / 'logins').read_text().split())
        assert logins == {'bad': 1, 'user-0': 1, 'user-1': 1, 'user-2': 1}

    def test_is_checked_when_the_password_is_right(self, crowd, settings, tmp_path):
        """A8: at the very next run."""
        crowd(Logins)
        updatedata()
        settings.FACILITIES['Logins']['refused'] = ()
        assert well()['checked'] == 34
        assert statuses() == {'DONE': 34}


def test_those_asked_longest_ago_come_first(sky, observed, add_record):
    """A8: *asked*, not *checked*: what fails does not come first again."""
    failing = [add_record('LCO', status='') for _ in range(2)]  # unknown at the observatory
    good = [observed('LCO', '', frames=0) for _ in range(2)]
    updatedata('--workers', '1')
    RecordSync.objects.filter(record__in=failing).update(
        asked_at=timezone.now() - timedelta(minutes=1)
    )
    RecordSync.objects.filter(record__in=good).update(
        asked_at=timezone.now() - timedelta(minutes=2)
    )
    sky.forget()
    updatedata('--workers', '1')
    asked = [seen.path.split('/')[3] for seen in sky.requests_seen if '/api/requests/' in seen.path]
    first = list(dict.fromkeys(number for number in asked if number.isdigit()))
    numbers = [record.observation_id for record in (*good, *failing)]
    assert [number for number in first if number in numbers] == numbers


class TestAProductWithoutAnAddress:
    """It is not released yet; the others are."""

    @pytest.mark.parametrize('lacking', ['url', 'id', 'filename'])
    @pytest.mark.parametrize('how', ['missing', 'null', 'empty'])
    @pytest.mark.parametrize('facility', ['LCO', Lists])
    def test_is_that_entry_alone(self, sky, settings, add_record, facility, lacking, how):
        """A10: nothing of the four was stored; for other classes "unsupported", exit 0."""
        name = facility if facility == 'LCO' else facility.name
        record = add_record(name, status='')
        number = int(record.observation_id)
        sky.add_request(number)
        made = sky.complete(number, frames=4, pixels=32)

        def spoil(entry):
            if how == 'missing':
                del entry[lacking]
            else:
                entry[lacking] = None if how == 'null' else ''

        if facility == 'LCO':
            sky.break_('/frames', faults.edit(lambda page: spoil(page['results'][0])))
        else:
            entries = [product_of(sky, frame) for frame in made]
            spoil(entries[0])
            install(settings, facility)[record.observation_id] = entries

        status, report = updatedata()

        if (lacking, how) == ('filename', 'empty'):  # it gets a name of its own
            assert (status, report['saved']) == (0, 4)
            return
        assert (status, report['saved'], report['unsupported']) == (1, 3, 0)
        [failure] = report['failures']
        assert failure['record'] == record.pk
        assert 'without' in failure['error']
        assert set(files().values()) < set(contents(sky))

        if facility == 'LCO':
            sky.mend()
        else:
            settings.FACILITIES[name]['products'][record.observation_id] = [
                product_of(sky, frame) for frame in made
            ]
        assert well()['saved'] == 1
        assert sorted(files().values()) == contents(sky)


class TestMoreDataThanOneRunCanFetch:
    """Progress is no failure."""

    def test_is_due_at_the_next_run(self, sky, observed):
        """A14: every run brought frames home and counted as a failure, and the next came later."""
        record = observed('LCO', '', frames=12)
        sky.break_('/store/', slowly(0.4))
        saved = []
        for _ in range(10):
            _, report = updatedata('--workers', '1', '--deadline', '2')
            saved.append(report['saved'])
            sync = RecordSync.objects.get(record=record)
            assert (sync.failures, sync.failing_since) == (0, None)
            assert sync.next_check <= timezone.now()
            assert report['seconds'] < 2 + 3
            if sum(saved) == 12:
                break
            assert report['not_reached'] == 1
        assert all(saved), saved
        assert len(saved) > 1
        assert sorted(files().values()) == contents(sky)

    def test_leaves_time_for_the_others(self, sky, observed):
        """A14, A15: one record with 40 frames used up every run."""
        big = observed('LCO', '', frames=40)
        sky.break_('/store/', slowly(0.3))
        small = [observed('LCO', '', frames=0) for _ in range(6)]
        updatedata('--workers', '1', '--deadline', '2')
        for record in (big, *small):
            record.refresh_from_db()
            assert record.status == 'COMPLETED'


def slowly(seconds):
    """The right answer, after a while."""

    def fault(call, reply):
        call.pause(seconds)
        return reply

    return fault


class TestAFileServerThatIsAway:
    """A firewall that resets its connections; portal and archive are well."""

    @pytest.mark.parametrize('workers', ['1', '4'])
    def test_does_not_stop_statuses(self, sky, observed, apart, workers):
        """A15: after five downloads nothing was asked any more; statuses froze for days."""
        records = [observed('LCO', '', frames=3) for _ in range(12)]
        sky.break_('/frames', apart)
        sky.break_('/store/', faults.reset())
        for number in range(3):
            late = observed('LCO', '', frames=1)
            status, report = updatedata('--workers', workers)
            assert status == 1
            assert statuses() == {'COMPLETED': 13 + number}, 'a status is not current'
        assert len([seen for seen in sky.requests_seen if seen.path.startswith('/store/')]) < 200
        assert files() == {}
        sky.mend()
        RecordSync.objects.update(next_check=timezone.now())
        assert well()['saved'] == 12 * 3 + 3
        assert late and records
        assert sorted(files().values()) == contents(sky)

    def test_is_asked_no_more_after_five(self, sky, observed, apart, settings):
        """A15: what is set aside is not asked in this run."""
        settings.TOM_AUTO['RETRIES'] = 0
        for _ in range(4):
            observed('LCO', '', frames=10)
        sky.break_('/frames', apart)
        sky.break_('/store/', faults.reset())

        _, report = updatedata('--workers', '1')

        assert len([seen for seen in sky.requests_seen if seen.path.startswith('/store/')]) <= 7
        named = [failure for failure in report['failures'] if failure['record'] is None]
        assert len(named) == 1
        assert named[0]['facility'] == "LCO's file server"

    def test_does_not_stop_another_one(self, sky, settings, observed, add_record, apart):
        """A15: by host: another archive's files come home."""
        for _ in range(8):
            observed('LCO', '', frames=2)
        sky.break_(r'/frames', apart)
        sky.break_(r'/store/.*coj', faults.reset())
        products = install(settings, Lists)
        record = add_record('Lists', status='')
        sky.add_request(int(record.observation_id), site='elp')
        [frame] = sky.complete(int(record.observation_id), pixels=32)
        products[record.observation_id] = [product_of(sky, frame)]  # at another host

        updatedata()

        assert list(files().values()) == [frame.content]


class TestAClassThatCannotBeImported:
    """A plugin older than tomtoolkit."""

    @pytest.fixture(autouse=True)
    def broken_entry(self, settings):
        settings.TOM_FACILITY_CLASSES = [
            *settings.TOM_FACILITY_CLASSES, 'unit.too_old.Facility', 'nowhere.at_all.Facility',
        ]  # fmt: skip

    @pytest.fixture(autouse=True)
    def too_old(self, monkeypatch, tmp_path):
        """A module that raises something else than ImportError when it is imported."""
        (tmp_path / 'too_old_plugin.py').write_text('raise RuntimeError("too old")')
        monkeypatch.syspath_prepend(tmp_path)

    def test_does_not_stop_the_others(self, observed, add_record, settings):
        """A18: every record of every facility failed with a traceback, and backed off."""
        settings.TOM_FACILITY_CLASSES.append('too_old_plugin.Facility')
        for _ in range(3):
            observed('LCO', '')
            observed('SOAR', '')
        theirs = add_record('TooOld', status='')
        for _ in range(3):
            status, report = updatedata()
            assert (status, report['checked'], report['set_aside']) == (1, 6, 1)
            [failure] = report['failures']  # once, whatever number of records
            assert failure['kind'] == 'not importable'
            for said in ('TOM_FACILITY_CLASSES', 'nowhere.at_all', 'RuntimeError: too old'):
                assert said in failure['error']
        assert report['saved'] == 0
        theirs.refresh_from_db()
        assert theirs.status == ''

    @pytest.mark.usefixtures('hourly')
    def test_the_answer_names_it(self, add_record):
        """It printed "Success!", and only doctor named the entry: no mail, no state."""
        for _ in range(3):
            add_record('TooOld', status='')
        updatedata()

        [health] = healths()

        assert health.state == 'failing'
        assert 'TOM_FACILITY_CLASSES' in health.sentence()
        assert 'nowhere.at_all.Facility (ModuleNotFoundError' in health.sentence()

    def test_a_facility_that_no_entry_can_be_is_unsupported(self, observed, add_record, settings):
        """Whose class was taken out of the settings on purpose."""
        settings.TOM_FACILITY_CLASSES = [
            each for each in settings.TOM_FACILITY_CLASSES if each.startswith('tom_')
        ]
        observed('LCO', '')
        add_record('TooOld', status='')
        assert (well()['checked'], well()['unsupported']) == (1, 1)

    def test_one_facility_can_be_chosen(self, observed):
        """A18: `--facility` looks names up in the same list."""
        observed('LCO', '')
        assert well('--facility', 'LCO')['saved'] == 2

    def test_doctor_names_it(self, capsys):
        """A18: and does not break on it."""
        with pytest.raises(SystemExit):
            call_command('doctor')
        assert 'nowhere.at_all.Facility cannot be imported' in capsys.readouterr().out

    def test_when_it_is_mended_its_records_are_asked(self, add_record, settings):
        """A18: after the repair they still waited."""
        add_record('Lists', status='')
        for _ in range(4):
            updatedata()
        install(settings, Lists)
        assert well()['checked'] == 1
        assert statuses() == {'DONE': 1}


class TestFailuresThatWait:
    """A run in which nothing is due because failures wait is no success."""

    def test_are_told(self, sky, add_record, settings, capsys):
        """A18: "Success! Nothing was due.", exit 0."""
        add_record('LCO', status='')  # of which the observatory knows nothing
        for _ in range(3):
            updatedata()

        report = updatedata()[1]

        assert (report['due'], report['waiting_after_failures']) == (0, 1)
        call_command('updatedata')
        printed = capsys.readouterr().out
        assert 'Success' not in printed
        assert '1 record' in printed

    def test_do_not_ping_well(self, sky, add_record, settings, monkeypatch):
        """A18: the dead-man's switch was told that all is well."""
        with web_server() as receiver:
            settings.TOM_AUTO['PING_URL'] = f'{receiver.url}/ping'
            monkeypatch.setattr('tom_auto.management.commands.updatedata.started_by', str)
            add_record('LCO', status='')
            for _ in range(4):
                updatedata()
            assert receiver.paths() == ['/ping/start', '/ping/fail'] * 4
            ObservationRecord.objects.all().delete()
            updatedata()
            assert receiver.paths()[-1] == '/ping'


class TestATimeThatIsNone:
    """The part that is good is kept."""

    @pytest.mark.parametrize('odd', [1_700_000_000, 17.5, True, 'soon', [], {}, '9999-99-99', b'x'])
    @pytest.mark.parametrize('which', ['scheduled_start', 'scheduled_end'])
    def test_costs_that_time_alone(self, sky, settings, add_record, odd, which):
        """A20: a number of seconds: the status was not written either, at every run."""
        good = {'scheduled_start': 'scheduled_end', 'scheduled_end': 'scheduled_start'}[which]
        moment = datetime(2026, 11, 23, 4, tzinfo=UTC)
        products = install(settings, Lists, says={which: odd, good: moment.isoformat()})
        record = add_record('Lists', status='')
        sky.add_request(int(record.observation_id))
        [frame] = sky.complete(int(record.observation_id), pixels=32)
        products[record.observation_id] = [product_of(sky, frame)]

        status, report = updatedata()

        record.refresh_from_db()
        assert record.status == 'DONE'
        assert getattr(record, good) == moment
        assert getattr(record, which) is None
        assert report['saved'] == 1
        [failure] = report['failures']
        assert (status, failure['kind']) == (1, 'broken class')
        assert which.replace('_', ' ') in failure['error']

    def test_of_the_portal(self, sky, observed):
        """A20: the same for a facility of LCO's kind."""
        record = observed('LCO', '')
        sky.break_(
            r'/api/requests/\d+/observations',
            faults.edit(lambda page: [block.update(start=17) for block in page]),
        )
        status, report = updatedata()
        record.refresh_from_db()
        assert (status, record.status, report['saved']) == (1, 'COMPLETED', 2)


class TestARecordThatIsRefused:
    """401 and 403 of one record are that record's, until nobody gets through."""

    @pytest.mark.parametrize('code', [401, 403])
    @pytest.mark.parametrize('workers', ['1', '4'])
    def test_does_not_stop_the_others(self, sky, observed, code, workers):
        """A21: five to seven of thirty checked a run."""
        records = [observed('LCO', '', frames=1) for _ in range(30)]
        sky.break_('/frames/.*proposal_id', faults.status(500))  # no list: each is asked singly
        sky.break_(f'/frames/.*request_id={records[3].observation_id}', faults.status(code))
        for _ in range(2):
            status, report = updatedata('--workers', workers)
            [failure] = report['failures']
            assert (status, failure['record'], failure['kind']) == (
                1, records[3].pk, 'access refused',
            )  # fmt: skip
            assert (report['due'], report['checked']) == (30, 29)
        assert DataProduct.objects.count() == 29

    def test_does_not_stop_the_others_at_the_portal(self, sky, observed):
        """A21: the same for its status."""
        records = [observed('LCO', '', frames=1) for _ in range(4)]
        sky.break_(f'/api/requests/{records[1].observation_id}/', faults.status(403))
        status, report = updatedata()
        [failure] = report['failures']
        assert (status, failure['record'], report['checked']) == (1, records[1].pk, 3)

    def test_until_nobody_gets_through(self, sky, observed, settings):
        """A21: a key that has expired is told once, and not tried for each of thirty records."""
        for _ in range(30):
            observed('SOAR', '')
        settings.FACILITIES['SOAR'] = sky.settings(token='expired')

        status, report = updatedata('--workers', '1')

        assert (status, report['checked']) == (1, 0)
        assert len([one for one in report['failures'] if one['record'] is None]) == 1
        assert len(sky.requests_seen) < 15


class TestAnArchiveThatIsAway:
    """The portal is well: statuses go on."""

    @pytest.mark.parametrize(
        'trouble', [faults.reset(), faults.status(401), faults.status(500), faults.status(403)]
    )
    def test_all_statuses_are_written(self, sky, observed, apart, trouble):
        """I5: 12 of 40 statuses were written, and "LCO refuses its credentials" said."""
        for _ in range(40):
            observed('LCO', '', frames=1)
        sky.break_('/frames', trouble)

        status, report = updatedata()

        assert status == 1
        assert statuses() == {'COMPLETED': 40}
        assert report['changed'] == 40
        told = json.dumps(report['failures'])
        assert 'archive' in told
        assert len([seen for seen in sky.requests_seen if seen.path.startswith('/frames')]) < 60

        sky.mend()
        assert well()['saved'] == 40

    def test_which_of_the_two_is_told(self, sky, observed, apart):
        """I5: the portal alone is away."""
        for _ in range(4):
            observed('LCO', '', frames=1)
        sky.break_('/api/', faults.status(500))
        _, report = updatedata()
        assert 'archive' not in json.dumps(report['failures'])
