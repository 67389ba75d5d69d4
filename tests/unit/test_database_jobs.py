"""What the main thread does with the database for several records at once."""

from time import sleep

import pytest
from django.core.management.base import CommandError
from django.db import connection
from django.db.models.signals import post_save, pre_save
from django.test.utils import CaptureQueriesContext
from tom_dataproducts.models import DataProduct

from tom_auto.arrivals.models import Arrival
from tom_auto.models import RecordSync, StoredFrame
from tom_auto.running import database_jobs
from tom_auto.running.database_jobs import DatabaseJob, Gathered
from tom_auto.sync import products

from .running import contents, files, updatedata

MANY = 20


def squares(numbers):
    return [number**2 for number in numbers]


def reciprocals(numbers):
    return [1 / number for number in numbers]


class TestWishes:
    """Without a database."""

    def test_of_a_kind_are_done_at_once_and_each_gets_its_own(self):
        wishes, done = Gathered(), []

        def noted(numbers):
            done.append(len(numbers))
            return squares(numbers)

        for number in range(5):
            wishes.add(DatabaseJob(noted, number), ('tag', number))
        found = [wishes.next() for _ in range(5)]
        assert found == [(('tag', number), number**2, None) for number in range(5)]
        assert done == [5]
        assert not wishes

    def test_where_it_fails_for_all_it_fails_only_for_the_one(self):
        wishes = Gathered()
        for number in (1, 0, 2):
            wishes.add(DatabaseJob(reciprocals, number), number)
        found = {tag: (result, error) for tag, result, error in (wishes.next() for _ in range(3))}
        assert (found[1], found[2]) == ((1, None), (0.5, None))
        assert isinstance(found[0][1], ZeroDivisionError)

    def test_by_themselves_are_done_one_by_one_and_what_is_late_between_them(self):
        """Hooks that take long are struck out before the one after the next begins."""
        wishes = Gathered()
        for number in range(3):
            wishes.add(DatabaseJob(squares, number, by_itself=True), number)
        order = []
        while wishes:
            tag, *_ = wishes.next()
            order.append(tag)
            if isinstance(tag, int):
                sleep(database_jobs.GATHER / 2)
                wishes.add(DatabaseJob(reciprocals, tag + 1), f'after {tag}')
                sleep(database_jobs.GATHER * 0.6)
        assert order == [0, 1, 'after 0', 'after 1', 2, 'after 2']

    def test_wait_only_so_long(self):
        wishes = Gathered()
        assert wishes.due_in() > 60
        wishes.add(DatabaseJob(squares, 2), 'tag')
        assert 0 < wishes.due_in() <= database_jobs.GATHER
        sleep(database_jobs.GATHER)
        assert wishes.due_in() == 0


@pytest.mark.django_db(transaction=True)
class TestRecords:
    @pytest.fixture
    def many(self, sky, observed):
        """Records with two frames each."""
        return [observed('LCO', '', frames=2) for _ in range(MANY)]

    def test_take_a_statement_each_and_a_few_for_all(self, sky, many):
        """15: it was 17 statements for each."""
        with CaptureQueriesContext(connection) as asked:
            status, report = updatedata()
        assert (status, report['saved']) == (0, 2 * MANY)
        assert sorted(files().values()) == contents(sky)
        assert len(asked) < 100 + 2 * MANY, [each['sql'][:80] for each in asked]

    def test_one_that_cannot_be_saved_takes_no_other_along(self, sky, many):
        """As a receiver of somebody's, which refuses a product."""
        refused = sky.frames_of[int(many[3].observation_id)][0].id

        def refuse(instance, **saved):
            if instance.product_id == str(refused):
                raise RuntimeError('not this one')

        pre_save.connect(refuse, sender=DataProduct)
        try:
            status, report = updatedata()
        finally:
            pre_save.disconnect(refuse, sender=DataProduct)
        assert (status, report['failed'], report['checked']) == (1, 1, MANY - 1)
        assert report['failures'][0]['record'] == many[3].pk
        assert DataProduct.objects.count() == 2 * MANY - 1 == Arrival.objects.count()
        assert updatedata()[0] == 0
        assert DataProduct.objects.count() == 2 * MANY == StoredFrame.objects.count()
        assert not StoredFrame.objects.filter(hooks_owed=True).exists()

    def test_a_page_that_is_faster_with_one_stops_no_other(self, sky, many, monkeypatch):
        other = sky.frames_of[int(many[3].observation_id)][0]
        write, stored = products.write, []

        def late(kept):
            if not stored:
                stored.append(
                    DataProduct.objects.create(
                        product_id=str(other.id), target=many[3].target, observation_record=many[3]
                    )
                )
            return write(kept)

        monkeypatch.setattr(products, 'write', late)
        status, report = updatedata()
        assert (status, report['failures']) == (0, [])
        assert DataProduct.objects.count() == 2 * MANY
        assert sorted(files().values()) == contents(sky)

    def test_that_share_a_frame_wait_for_no_place(self, sky, observed, add_record):
        """Those that waited for the frame took all the places of the one that had it."""
        record = observed('LCO', '', frames=1)
        for _ in range(MANY):
            add_record('LCO', '', observation_id=record.observation_id)
        status, report = updatedata('--workers', '1', '--deadline', '30')
        assert (status, report['checked'], report['saved']) == (0, MANY + 1, 1)

    def test_are_saved_with_the_signals_of_each(self, many):
        heard = []

        def hear(instance, created, raw, **saved):
            heard.append((instance.pk, created, raw))

        post_save.connect(hear, sender=DataProduct)
        try:
            updatedata()
        finally:
            post_save.disconnect(hear, sender=DataProduct)
        assert sorted(heard) == sorted(
            (pk, True, False) for pk in DataProduct.objects.values_list('pk', flat=True)
        )

    def test_owe_their_hooks_until_each_has_ended(self, many, settings):
        """Those of the user's, which may send a mail, are struck out at once."""
        settings.HOOKS = settings.HOOKS | {'observation_change_state': f'{__name__}.stop_at_last'}
        told.clear()
        with pytest.raises(CommandError, match='Stopped'):
            updatedata()
        owed = RecordSync.objects.filter(owes_hook=True).count()
        assert len(told) == 4
        assert owed == MANY - 3


told = []


def stop_at_last(record, previous):
    sleep(database_jobs.GATHER * 1.1)
    told.append(record.pk)
    if len(told) == 4:
        raise KeyboardInterrupt
