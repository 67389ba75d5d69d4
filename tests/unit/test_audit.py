"""`auditdata`: rounds, shares, what is said of each file. Damage of every kind: tests/engine."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from astropy.io import fits
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.utils import timezone
from tom_dataproducts.models import DataProduct

from tom_auto.audit.run import Pace
from tom_auto.doctor.checks import audit
from tom_auto.errors import OutOfTime
from tom_auto.files.storage_id import MARK
from tom_auto.health import FAILING, WORKING, healths
from tom_auto.models import AuditedFile, AuditRound, JobPause, StoredFrame, UpdateRun

from .own_classes import Lists, install, product_of
from .page import text
from .running import ran, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

FITS = b'SIMPLE  =                    T'.ljust(2880)


@pytest.fixture
def upload(target, media):
    """Makes uploads; their times are of an hour ago."""

    def make(name: str = 'mine.fits', content: bytes = FITS) -> DataProduct:
        product = DataProduct(target=target)
        product.data.save(name, ContentFile(content))
        backdate(product)
        return product

    return make


def path_of(product: DataProduct) -> Path:
    return Path(product.data.path)


def backdate(product: DataProduct, hours: float = 1) -> None:
    moment = timezone.now().timestamp() - hours * 3600
    os.utime(product.data.path, (moment, moment))


def later(hours: float) -> None:
    """So much time passes."""
    ago = timedelta(hours=hours)
    for row in AuditRound.objects.all():
        row.began -= ago
        row.ended = row.ended and row.ended - ago
        row.save()
    for run in UpdateRun.objects.all():
        run.started -= ago
        run.save()
    for row in StoredFrame.objects.all():
        row.stored_at -= ago
        row.save()
    for row in AuditedFile.objects.all():
        row.right_at -= ago
        row.save()


def write(product: DataProduct, content: bytes, keeps_time: bool = False) -> None:
    status = path_of(product).stat()
    path_of(product).write_bytes(content)
    if keeps_time:
        os.utime(product.data.path, (status.st_atime, status.st_mtime))


def auditdata(*arguments: str) -> dict:
    return ran('auditdata', *arguments)[1]


class TestShares:
    def test_a_round_takes_a_month_of_daily_runs(self, upload):
        for number in range(40):
            upload(f'{number}.fits')
        read = []
        while not AuditRound.objects.filter(state='closed').exists():
            read.append(auditdata()['checked'])
            later(24)
        assert len(read) == 30
        assert sum(read) == 40
        assert set(read) == {1, 2}
        assert auditdata()['checked'] == 2  # the next round

    def test_a_run_that_comes_late_reads_more(self, upload):
        for number in range(30):
            upload(f'{number}.fits')
        assert auditdata()['checked'] == 1
        later(24 * 10)
        assert auditdata()['checked'] == 20
        later(24 * 100)
        assert auditdata()['checked'] == 9

    def test_a_round_that_ends_early_is_followed_by_none(self, upload):
        upload()
        assert auditdata('--all')['round_ended']
        later(24)
        report = auditdata()
        assert (report['due'], report['round_began']) == (0, None)
        later(24 * 30)
        assert auditdata()['round_began']

    def test_a_run_that_is_cut_short_is_gone_on_with(self, upload, automation, monkeypatch):
        for number in range(5):
            upload(f'{number}.fits')
        chunks = Pace.chunks

        def late(pace, file):
            if pace.read >= 2 * len(FITS):
                raise OutOfTime('not read before the deadline')
            yield from chunks(pace, file)

        monkeypatch.setattr(Pace, 'chunks', late)
        report = auditdata('--all')
        assert (report['checked'], report['not_reached'], report['left']) == (2, 3, 3)
        assert report['status'] == 'ok'
        monkeypatch.undo()
        report = auditdata('--all')
        assert (report['checked'], report['left']) == (3, 0)

    def test_the_rate_is_kept(self, upload, monkeypatch):
        upload(content=FITS * 1000)
        waited = []
        monkeypatch.setattr('tom_auto.audit.run.sleep', waited.append)
        monkeypatch.setattr('tom_auto.audit.run.monotonic', lambda: sum(waited))
        auditdata('--all', '--rate', '1')
        assert sum(waited) == pytest.approx(2.88, abs=0.3)
        waited.clear()
        later(48)
        auditdata('--all', '--rate', '0')
        assert not waited

    def test_a_file_that_takes_longer_than_the_run_is_left(self, upload):
        upload(content=FITS * 1000)
        report = auditdata('--all', '--rate', '1', '--deadline', '1')
        assert (report['checked'], report['not_reached']) == (0, 1)


class TestFiles:
    def test_an_upload_is_known_from_its_first_reading_on(self, upload):
        product = upload()
        assert auditdata('--all')['verdicts']['sound'] == 1
        later(24)
        write(product, FITS[:-1] + b'x', keeps_time=True)
        backdate(product, 48)
        report = auditdata('--all')
        [failure] = report['failures']
        assert (failure['kind'], failure['facility']) == ('file rotted', 'Data')
        assert 'nobody has written to it' in failure['error']

    def test_what_its_owner_changes_is_known_from_then_on(self, upload):
        product = upload()
        auditdata('--all')
        later(24)
        write(product, FITS + FITS)
        report = auditdata('--all')
        assert (report['failed'], report['changed_files']) == (0, [product.data.name])
        later(48)
        report = auditdata('--all')
        assert (report['failed'], report['changed_files']) == (0, [])
        write(product, FITS * 3, keeps_time=True)
        backdate(product, 96)
        later(48)
        assert auditdata('--all')['verdicts']['rotted'] == 1

    def test_a_frame_that_its_owner_changed_and_that_rots_is_not_replaced(self, sky, observed):
        observed(frames=1)
        updatedata()
        [product] = DataProduct.objects.all()
        StoredFrame.objects.update(stored_at=timezone.now() - timedelta(hours=5))
        content = product.data.read()
        mine = content[:32] + b'/ mine'.ljust(48) + content[80:]
        write(product, mine)
        assert auditdata('--all')['verdicts']['changed'] == 1
        later(48)
        rotten = mine[:-1] + bytes([mine[-1] ^ 1])
        write(product, rotten, keeps_time=True)
        backdate(product, 96)
        report = auditdata('--all', '--repair')
        assert (report['verdicts']['rotted'], report['repaired'], report['failed']) == (1, 0, 1)
        assert path_of(product).read_bytes() == rotten

    def test_a_frame_that_its_owner_changed_before_it_was_seen_and_that_rots_is_not_replaced(
        self, sky, observed
    ):
        """The archive has its checksum, but not this file."""
        record = observed(frames=1)
        [frame] = sky.frames_of[int(record.observation_id)]
        mine = frame.content[:32] + b'/ mine'.ljust(48) + frame.content[80:]
        product = DataProduct(
            product_id=str(frame.id), target=record.target, observation_record=record
        )
        product.data.save(frame.filename, ContentFile(mine))
        updatedata()
        later(48)
        rotten = mine[:-1] + bytes([mine[-1] ^ 1])
        write(product, rotten, keeps_time=True)
        backdate(product, 96)
        report = auditdata('--all', '--repair')
        assert (report['verdicts']['rotted'], report['repaired'], report['failed']) == (1, 0, 1)
        assert path_of(product).read_bytes() == rotten

    def test_another_whole_file_with_its_old_time_is_not_replaced(self, sky, observed):
        """As `cp -p` and `rsync -a` put it there."""
        observed(frames=1)
        updatedata()
        [product] = DataProduct.objects.all()
        later(48)
        with fits.open(path_of(product), mode='append') as units:
            units.append(fits.ImageHDU(name='MINE'))
        mine = path_of(product).read_bytes()
        backdate(product, 96)
        report = auditdata('--all', '--repair')
        assert (report['verdicts']['rotted'], report['repaired'], report['failed']) == (1, 0, 1)
        assert path_of(product).read_bytes() == mine

    def test_a_product_that_another_has_stored_and_that_is_no_file(self, sky, observed):
        record = observed(frames=1)
        [frame] = sky.frames_of[int(record.observation_id)]
        product = DataProduct(
            target=record.target, observation_record=record, product_id=str(frame.id)
        )
        product.data.save(frame.filename, ContentFile(b'<html>503</html>'))
        report = auditdata('--all')
        assert [failure['kind'] for failure in report['failures']] == ['file damaged']
        report = auditdata('--all', '--repair')
        assert (report['status'], report['repaired']) == ('ok', 1)
        product.refresh_from_db()
        assert product.data.read() == frame.content

    def test_rot_in_a_frame_without_a_checksum_is_repaired(self, sky, add_record, settings):
        """An archive that publishes none cannot say that what lies there is wrong."""
        record = add_record(Lists.name, status='')
        sky.add_request(int(record.observation_id))
        [frame] = sky.complete(int(record.observation_id), frames=1, pixels=32, extension='.fits')
        install(settings, Lists)[record.observation_id] = [product_of(sky, frame)]
        updatedata()
        [product] = DataProduct.objects.all()
        StoredFrame.objects.update(stored_at=timezone.now() - timedelta(hours=5))
        write(product, frame.content[:-3000] + b'x' + frame.content[-2999:])
        backdate(product, 10)
        report = auditdata('--all', '--repair')
        assert (report['status'], report['repaired']) == ('ok', 1), report
        assert product.data.read() == frame.content

    def test_what_somebody_has_cut_and_written_anew_is_theirs(self, sky, observed):
        observed(frames=1)
        updatedata()
        [product] = DataProduct.objects.all()
        StoredFrame.objects.update(stored_at=timezone.now() - timedelta(hours=5))
        theirs = FITS[:1440] + b'half of what I was writing'
        write(product, theirs)
        report = auditdata('--all', '--repair')
        assert (report['verdicts']['damaged'], report['repaired']) == (1, 0)
        assert product.data.read() == theirs
        assert StoredFrame.objects.get().state == 'stored'

    def test_a_pause_of_updatedata_hides_nothing(self, sky, observed):
        """It said that nothing was done, and ended well."""
        observed(frames=1)
        updatedata()
        path_of(DataProduct.objects.get()).unlink()
        pause = JobPause.objects.create(job='updatedata', by='ada', since=timezone.now())
        report = auditdata('--all', '--repair')
        assert (report['status'], report['repaired']) == ('failed', 0)
        assert 'paused by ada' in report['not_repaired']
        pause.delete()
        assert auditdata('--all', '--repair')['repaired'] == 1

    def test_what_no_archive_has_stays_in_the_report(self, sky, observed):
        record = observed(frames=1)
        updatedata()
        [product] = DataProduct.objects.all()
        path_of(product).unlink()
        sky.frames_of[int(record.observation_id)].clear()
        report = auditdata('--all', '--repair')
        assert (report['status'], report['repaired']) == ('failed', 0)
        assert [failure['kind'] for failure in report['failures']] == ['file missing']

    def test_a_person_may_accept_a_file_as_it_is(self, upload, capsys):
        product = upload()
        auditdata('--all')
        later(24)
        write(product, b'')
        assert auditdata('--all')['verdicts']['damaged'] == 1
        call_command('auditdata', '--accept', product.data.name)
        assert 'accepted as it is' in capsys.readouterr().out
        assert auditdata()['failed'] == 0
        with pytest.raises(CommandError, match='is not the name of a file in trouble'):
            call_command('auditdata', '--accept', product.data.name)

    def test_so_may_a_program(self, upload):
        product = upload()
        auditdata('--all')
        later(24)
        write(product, b'')
        auditdata('--all')
        assert auditdata('--accept', product.data.name) == {'accepted': [product.data.name]}

    @pytest.mark.parametrize('option', ['--all', '--repair'])
    def test_what_accepting_would_ignore_is_refused(self, db, option):
        with pytest.raises(
            CommandError, match='--accept cannot be combined with --all or --repair'
        ) as refused:
            auditdata('--accept', 'a.fits', option)
        assert refused.value.returncode == 2


class TestTrouble:
    def test_a_storage_that_is_away_is_one_failure(self, upload, media):
        upload()
        auditdata('--all')
        later(48)
        (media / MARK).unlink()
        report = auditdata('--all')
        assert [failure['kind'] for failure in report['failures']] == ['storage away']
        assert set(report['verdicts'].values()) == {0}
        assert not AuditedFile.objects.exclude(verdict='sound').exists()

    def test_one_that_goes_away_meanwhile_as_well(self, upload, media, monkeypatch):
        upload()
        auditdata('--all')
        later(48)
        chunks = Pace.chunks

        def unmounted(pace, file):
            (media / MARK).unlink()
            raise FileNotFoundError

        monkeypatch.setattr(Pace, 'chunks', unmounted)
        report = auditdata('--all')
        monkeypatch.setattr(Pace, 'chunks', chunks)
        assert [failure['kind'] for failure in report['failures']] == ['storage away']
        assert not AuditedFile.objects.exclude(verdict='sound').exists()

    def test_files_in_trouble_are_read_at_each_run(self, upload, hourly):
        hourly.write_text(f'{hourly.read_text()}[auditdata]\nwhen = "daily"\n')
        product = upload()
        auditdata('--all')
        later(24)
        path_of(product).unlink()
        auditdata('--all')
        later(24)
        assert auditdata()['failed'] == 1
        [health] = [health for health in healths() if health.job == 'auditdata']
        assert (health.state, health.reason) == (FAILING, '1 file is not as it was stored')
        product.data.save('mine.fits', ContentFile(FITS))
        UpdateRun.objects.update(started_by='')
        assert auditdata()['failed'] == 0
        [health] = [health for health in healths() if health.job == 'auditdata']
        assert health.state in (WORKING, 'never')


class TestTold:
    def test_doctor_and_page_say_when_a_round_ended(self, upload, admin_client):
        assert list(audit()) == [
            ('ok', 'No round of auditdata has ended: it is not in schedule.toml')
        ]
        product = upload()
        auditdata('--all')
        [(state, found)] = audit()
        assert state == 'ok' and found.endswith('1 file, 2.8 KB: all as they were stored')
        assert 'Every stored file was last read' in text(admin_client)
        later(24)
        path_of(product).unlink()
        auditdata('--all')
        [(state, found, fix)] = audit()
        assert state == 'failed' and '1 missing' in found and '--repair' in fix
        assert '1 missing' in text(admin_client)

    def test_visitors_do_not_learn_what_was_found(self, upload, client):
        upload('another.fits')
        product = upload()
        path_of(product).unlink()
        auditdata('--all')
        page = text(client)
        assert 'Every stored file was last read' in page
        assert '1 missing' not in page

    def test_doctor_says_that_a_round_is_late(self, upload, hourly):
        hourly.write_text(f'{hourly.read_text()}[auditdata]\nwhen = "daily"\n')
        upload()
        auditdata('--all')
        later(24 * 70)
        [(state, found, fix)] = audit()
        assert state == 'warning' and 'AUDIT_RATE' in fix
