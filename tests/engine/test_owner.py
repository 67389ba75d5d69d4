"""The owner's work: whatever people and hooks do to their data, it stays, and the rest comes home.

A property test. Its rules are what happens to a TOM between two runs, and in its hooks: somebody
edits a file, unpacks it, deletes a product, uploads another, adds a record anew, loses the disk,
goes back to yesterday's database. After each of them what they made is where they left it. At
the end, two runs later, the TOM has what the observatory has, but for what was deleted here.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import connection, connections
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord

from simulated import Observatory
from tom_auto.files.storage import PARTS
from tom_auto.files.storage_id import MARK
from tom_auto.models import StorageMark, UpdateRun
from tom_auto.simulator.model import Frame
from unit.own_classes import Lists, SavesByItself, install, product_of
from unit.running import files, updatedata

pytestmark = pytest.mark.django_db(transaction=True)

FACILITIES = ('LCO', 'SOAR', 'Lists', 'SavesByItself')
ENDINGS = ('checked', 'failed', 'unsupported', 'set_aside', 'not_reached', 'gone')
CARDS = b''.join(
    card.ljust(80)
    for card in (b'SIMPLE  =                    T', b'BITPIX  =                    8',
                 b'NAXIS   =                    1', b'NAXIS1  =                 2880', b'END')
)  # fmt: skip
NUMBERS = st.integers(0, 1000)

few = settings(
    max_examples=15,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def fits_file(number: int) -> bytes:
    """A small FITS file, another for each number."""
    return CARDS.ljust(2880) + str(number).encode().ljust(2880, b'\1')


def only_while_mounted(self: 'Owner') -> bool:
    return not self.is_away


class Owner(RuleBasedStateMachine):
    """A TOM, its owner, and an observatory. What the owner made is in `theirs`, by file name."""

    sky: Observatory
    add_record: Callable
    media: Path
    products: dict[str, dict[str, list]]  # that classes list: by facility and observation id

    def __init__(self) -> None:
        super().__init__()
        self.theirs: dict[str, bytes] = {}
        self.deleted: set[str] = set()  # ids of frames
        self.lost: set[str] = set()  # whose class sees the row, and is content
        self.kept: tuple[set[str], Path] | None = None  # of yesterday: `deleted`, the database
        self.is_away = False
        self.number = 0
        self.disk, self.copy = self.media.with_name('disk'), self.media.with_name('yesterday')

    # --- at the observatory ---

    @initialize()
    def begin(self) -> None:
        """Records as tomtoolkit's pages make them, with two frames each; all are home."""
        self.clear()
        Owner.hook = None
        Owner.now = self
        for facility in FACILITIES:
            record = self.add_record(facility, status='')
            self.sky.add_request(int(record.observation_id))
            self.sky.complete(int(record.observation_id), frames=0)
            for _ in range(2):
                self.add_frame(int(record.observation_id))
        self.run()

    def clear(self) -> None:
        for things in (self.sky.requests, self.sky.groups, self.sky.observations, self.sky.frames):
            things.clear()
        self.sky.frames_of.clear()
        for model in (DataProduct, ObservationRecord, UpdateRun, StorageMark):
            model.objects.all().delete()
        for products in self.products.values():
            products.clear()
        shutil.rmtree(self.media)
        self.media.mkdir()

    def add_frame(self, request: int) -> None:
        self.number += 1
        self.sky.add_frame(request, extension='.fits', content=fits_file(self.number))
        self.list_products()

    def list_products(self) -> None:
        """What the classes list: the newest versions, at addresses that are fresh."""
        for facility, products in self.products.items():
            for record in ObservationRecord.objects.filter(facility=facility):
                frames = self.sky.frames_of[int(record.observation_id)]
                products[record.observation_id] = [product_of(self.sky, one) for one in frames]

    @rule(number=NUMBERS)
    def a_frame_appears(self, number: int) -> None:
        self.add_frame(chosen(sorted(self.sky.requests), number))

    @rule(number=NUMBERS)
    def a_new_version_appears(self, number: int) -> None:
        frame = self.sky.frames[chosen(sorted(self.sky.frames), number)]
        self.number += 1
        self.sky.reprocess(frame, content=fits_file(self.number))
        self.list_products()

    # --- the owner ---

    def a_product(self, number: int) -> DataProduct | None:
        rows = [row for row in DataProduct.objects.order_by('pk') if has_file(row)]
        return chosen(rows, number)

    @precondition(only_while_mounted)
    @rule(number=NUMBERS, how=st.sampled_from(['append', 'in place', 'shorten', 'empty']))
    def edits_a_file(self, number: int, how: str) -> None:
        if product := self.a_product(number):
            self.edit(product, how)

    def edit(self, product: DataProduct, how: str) -> None:
        path = Path(product.data.path)
        content = path.read_bytes()
        self.number += 1
        mark = str(self.number).encode().rjust(6)
        content = {
            'append': content + mark, 'in place': mark + content[6:],
            'shorten': content[:-7], 'empty': b'',
        }[how]  # fmt: skip
        path.write_bytes(content)
        self.theirs[product.data.name] = content

    @precondition(only_while_mounted)
    @rule(number=NUMBERS)
    def unpacks_a_file(self, number: int) -> None:
        """The row is told of another file, and the packed one goes."""
        if product := self.a_product(number):
            old, content = product.data.name, Path(product.data.path).read_bytes()
            Path(product.data.path).unlink()
            self.theirs.pop(old, None)
            self.number += 1
            product.data.name = f'{old.rpartition("/")[0]}/unpacked-{self.number}.fits'
            product.save()
            Path(product.data.path).write_bytes(b'unpacked: ' + content)
            self.theirs[product.data.name] = b'unpacked: ' + content

    @precondition(only_while_mounted)
    @rule(number=NUMBERS, with_file=st.booleans())
    def deletes_a_product(self, number: int, with_file: bool) -> None:
        """On its page, its file goes as well."""
        if product := self.a_product(number):
            self.delete(product, with_file)

    def delete(self, product: DataProduct, with_file: bool) -> None:
        if with_file:
            self.theirs.pop(product.data.name, None)
            product.data.delete()
        product.delete()
        if product.product_id:
            self.deleted.add(product.product_id)

    @precondition(only_while_mounted)
    @rule(number=NUMBERS)
    def loses_a_file(self, number: int) -> None:
        """`rm`, by mistake: a frame's row is filled again, whatever had become of it."""
        product = self.a_product(number)
        if (
            product
            and product.product_id
            and product.observation_record.facility != 'SavesByItself'
        ):
            Path(product.data.path).unlink()
            self.theirs.pop(product.data.name, None)

    @precondition(only_while_mounted)
    @rule(number=NUMBERS)
    def uploads_a_file(self, number: int) -> None:
        """Of the name of a frame, here or on its way."""
        frame: Frame = self.sky.frames[chosen(sorted(self.sky.frames), number)]
        record = ObservationRecord.objects.get(observation_id=frame.request.id)
        self.number += 1
        content = b'my own reduction %d' % self.number
        product = DataProduct(target=record.target, observation_record=record)
        product.data.save(frame.filename, ContentFile(content))
        self.theirs[product.data.name] = content

    @rule(facility=st.sampled_from(FACILITIES))
    def adds_a_record_anew(self, facility: str) -> None:
        record = ObservationRecord.objects.get(facility=facility)
        frames = self.sky.frames_of[int(record.observation_id)]
        record.delete()
        self.add_record(facility, status='', observation_id=record.observation_id)
        self.deleted -= {str(frame.id) for frame in frames}

    @rule(hook=st.sampled_from([None, 'append', 'delete']))
    def writes_a_hook(self, hook: str | None) -> None:
        Owner.hook = hook

    # --- the machine ---

    @precondition(lambda self: not self.is_away)
    @rule()
    def the_disk_is_unmounted(self) -> None:
        self.media.rename(self.disk)
        self.media.mkdir()
        self.is_away = True

    @precondition(lambda self: self.is_away)
    @rule()
    def the_disk_is_mounted_again(self) -> None:
        self.media.rmdir()  # nothing was written below it
        self.disk.rename(self.media)
        self.is_away = False

    @precondition(lambda self: connection.vendor == 'sqlite')
    @rule()
    def the_database_is_copied(self) -> None:
        copy_database(connection.settings_dict['NAME'], self.copy)
        self.kept = set(self.deleted), self.copy

    @precondition(lambda self: self.kept is not None)
    @rule()
    def the_database_of_yesterday_is_put_back(self) -> None:
        deleted, copy = self.kept
        copy_database(copy, connection.settings_dict['NAME'])
        self.deleted = set(deleted)
        saved = DataProduct.objects.filter(observation_record__facility='SavesByItself')
        root = self.disk if self.is_away else self.media
        self.lost |= {row.product_id for row in saved if not (root / row.data.name).is_file()}

    @rule()
    def a_run(self) -> None:
        self.run()

    def run(self) -> dict:
        """A run accounts for every record, and fails only where the storage is away."""
        status, report = updatedata()
        assert report['due'] == sum(report[ending] for ending in ENDINGS) - self.shared(report)
        assert not UpdateRun.objects.filter(status='running').exists()
        kinds = {failure['kind'] for failure in report['failures']}
        if self.is_away:
            assert (status, kinds) == (1, {'storage away'}), report
            assert not list(self.media.iterdir())
        else:
            assert (status, kinds, report['checked']) == (0, set(), len(FACILITIES)), report
        return report

    def shared(self, report: dict) -> int:
        return sum(failure['record'] is None for failure in report['failures'])

    # --- what always holds ---

    @invariant()
    def what_they_made_is_as_they_left_it(self) -> None:
        root = self.disk if self.is_away else self.media
        for name, content in self.theirs.items():
            assert (root / name).is_file(), f'{name} is gone'
            assert (root / name).read_bytes() == content, f'{name} was changed'

    @invariant()
    def what_they_deleted_stays_deleted(self) -> None:
        back = DataProduct.objects.filter(product_id__in=self.deleted)
        assert not back.exists(), f'{list(back)} came back'

    def teardown(self) -> None:
        """What the archive has is home, but for what the owner has deleted, or made better."""
        try:
            self.end_well()
        finally:
            if self.is_away:
                shutil.rmtree(self.media)
                self.disk.rename(self.media)

    def end_well(self) -> None:
        if self.is_away:
            self.the_disk_is_mounted_again()
        Owner.hook = None
        self.run()
        report = self.run()
        assert (report['saved'], report['repaired']) == (0, 0)
        self.what_they_made_is_as_they_left_it()
        self.what_they_deleted_stays_deleted()
        products = {row.product_id: row for row in DataProduct.objects.exclude(product_id=None)}
        stored = files()
        for frame in self.sky.frames.values():
            if str(frame.id) not in self.deleted:
                product = products.pop(str(frame.id))
                if product.product_id in self.lost:
                    continue
                content = stored[product.data.name]
                is_theirs = self.theirs.get(product.data.name) == content
                assert is_theirs or content in versions(frame), f'{product} is not the frame'
        assert not products, f'{products} are no frames'
        assert not (self.media / PARTS).exists() or not list((self.media / PARTS).iterdir())
        assert (self.media / MARK).read_text() == StorageMark.objects.get().mark


def versions(frame: Frame) -> list[bytes]:
    """What a stored frame may hold: the newest version, where the archive tells which that is."""
    record = ObservationRecord.objects.get(observation_id=frame.request.id)
    kept = frame.versions[:1] if record.facility in ('LCO', 'SOAR') else frame.versions
    return [b''.join(version.body.chunks()) for version in kept]


def has_file(product: DataProduct) -> bool:
    return bool(product.data) and Path(product.data.path).is_file()


def chosen(things: list, number: int) -> object:
    """One of these; None where there is none."""
    return things[number % len(things)] if things else None


def copy_database(source: Path | str, target: Path | str) -> None:
    """As `cp` does, and whole."""
    connections.close_all()
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def hook(products: list[DataProduct]) -> None:
    """What the owner's hook does with a product that has come."""
    for product in products:
        if Owner.hook == 'append':
            Owner.now.edit(product, 'append')
        elif Owner.hook == 'delete':
            Owner.now.delete(product, with_file=True)


def test_the_owners_work(sky, add_record, media, settings):
    settings.HOOKS = settings.HOOKS | {'data_product_post_save': f'{__name__}.hook'}
    Owner.sky, Owner.add_record, Owner.media = sky, staticmethod(add_record), media
    Owner.products = {
        facility.name: install(settings, facility) for facility in (Lists, SavesByItself)
    }
    run_state_machine_as_test(Owner, settings=few)
