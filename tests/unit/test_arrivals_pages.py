"""The gallery, the feed and the wishes: what they show, to whom, and what it costs."""

import html
import itertools
import json
import re
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone
from guardian.shortcuts import assign_perm
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target

from machine import within
from tom_auto import data_files
from tom_auto.arrivals import drawing_program, gallery, wishes
from tom_auto.arrivals.feed import ENTRIES, new_key
from tom_auto.arrivals.models import Arrival, FeedKey, Notice, Wish
from tom_auto.arrivals.noting import follow_all

from .page import came, seconds_used, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures('hourly')]

GALLERY = '/automation/arrivals/'
LARGEST_PAGE, SLOWEST_PAGE = 200_000, 0.2  # bytes, seconds


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """What is to be drawn in the background: nothing is, here."""
    found = []
    monkeypatch.setattr(gallery, 'draw_soon', found.append)
    return found


@pytest.fixture
def open_record(add_record):
    record = add_record()
    Target.objects.update(permissions='OPEN')
    return record


def drawn(record, name='a frame', **fields):
    """One with a picture."""
    arrival = came(record, name, picture='drawn', **fields)
    arrival.product.thumbnail.save('small.jpg', ContentFile(b'\xff\xd8\xff a picture'))
    return arrival


def pictures_of(page):
    return [int(pk) for pk in re.findall(rf'{GALLERY}(\d+)\.jpg', page)]


class TestGallery:
    def test_shows_each_frame_newest_first_with_what_its_header_says(self, client, open_record):
        first = drawn(
            open_record, filter='rp', exposure='60', level='91', taken='2026-11-25T04:13:12'
        )
        second = drawn(open_record, 'another')
        page = text(client, GALLERY)
        assert pictures_of(page) == [second.pk, first.pk]
        assert 'LCO, rp, 60 s, level 91' in page
        assert '2026-11-25 04:13 UTC' in page
        assert f'href="/targets/{open_record.target_id}/">M 31</a>' in page
        assert f'href="{GALLERY}{first.pk}/file/"' in page
        assert 'hx-get="/automation/arrivals/?most=12"' in text(client)
        home = text(client, '/automation/')
        assert home.index('What came in') < home.index('Latest runs')

    def test_twenty_four_a_page_and_older_ones_behind_a_link(self, client, open_record):
        frames = [drawn(open_record, f'frame {n}').pk for n in range(30)]
        page = text(client, GALLERY)
        assert pictures_of(page) == frames[::-1][:24]
        older = re.search(rf'href="({GALLERY}\?before=\d+)"', page)[1]
        assert pictures_of(text(client, older)) == frames[::-1][24:]
        few = text(client, f'{GALLERY}?most=12')
        assert pictures_of(few) == frames[::-1][:12]
        assert f'before={frames[-12]}"' in few

    def test_filters(self, client, add_record, open_record):
        other = Target.objects.create(name='M 33', type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
        day = timezone.now() - timedelta(days=3)
        old, new = drawn(open_record, 'old', at=day), drawn(add_record('SOAR', target=other), 'new')
        for query, frames in {
            'target=m+33': [new], 'target=31': [old], 'target=x': [], 'facility=SOAR': [new],
            'facility=LCO&target=33': [], f'day={day:%Y-%m-%d}': [old], 'day=1999-01-01': [],
            'day=9999-12-31': [], 'target=m': [new, old],
        }.items():  # fmt: skip
            page = text(client, f'{GALLERY}?{query}')
            assert pictures_of(page) == [frame.pk for frame in frames], query

    def test_the_first_day_of_the_calendar(self, client, open_record, settings):
        settings.TIME_ZONE = 'Asia/Tokyo'
        drawn(open_record)
        assert pictures_of(text(client, f'{GALLERY}?day=0001-01-01')) == []

    def test_only_what_the_visitor_may_see(self, client, login, hidden):
        arrival = drawn(hidden)
        address = f'{GALLERY}{arrival.pk}.jpg'
        login('ann')
        for query in ('', '?target=Secret', '?facility=LCO'):
            assert 'Secret' not in text(client, GALLERY + query).replace('value="Secret"', '')
            assert pictures_of(text(client, GALLERY + query)) == []
        assert client.get(address).status_code == 404
        assert 'Secret' not in text(client, '/')
        assign_perm('tom_targets.view_target', User.objects.get(username='ann'), hidden.target)
        assert pictures_of(text(client, GALLERY)) == [arrival.pk]
        assert client.get(address).status_code == 200

    def test_permissions_of_their_own_and_a_target_that_is_hidden(
        self, client, login, hidden, settings
    ):
        settings.TARGET_PERMISSIONS_ONLY = False
        user, team = login('ann'), Group.objects.create(name='team')
        user.groups.add(team)
        shown = drawn(hidden, 'shown')
        drawn(hidden, 'not shown')
        assign_perm('tom_dataproducts.view_dataproduct', team, shown.product)
        page = text(client, GALLERY)
        assert pictures_of(page) == [shown.pk]
        assert 'A target that you may not see' in page
        assert 'Secret' not in page
        assert pictures_of(text(client, f'{GALLERY}?target=Secret')) == []

    def test_page_for(self, client, open_record, automation):
        arrival = drawn(open_record)
        automation['PAGE_FOR'] = 'staff'
        assert client.get(GALLERY).status_code == 302
        assert client.get(f'{GALLERY}{arrival.pk}.jpg').status_code == 302

    def test_the_browser_keeps_a_picture_until_it_changes(self, client, open_record):
        arrival = drawn(open_record)
        address = re.search(rf'src="({GALLERY}[^"]+)"', text(client, GALLERY))[1]
        answer = client.get(address)
        assert answer.content == b'\xff\xd8\xff a picture'
        assert answer['Content-Type'] == 'image/jpeg'
        assert 'private' in answer['Cache-Control']
        assert 'max-age=604800' in answer['Cache-Control']
        known = client.get(address, headers={'If-None-Match': answer['ETag']})
        assert (known.status_code, known.content) == (304, b'')
        DataProduct.objects.update(modified=timezone.now() + timedelta(seconds=5))
        assert address not in text(client, GALLERY)
        arrival.product.thumbnail.storage.delete(arrival.product.thumbnail.name)
        assert client.get(address).status_code == 404

    @pytest.mark.parametrize('page', [GALLERY, '/'])
    def test_what_is_not_drawn_the_page_asks_for_by_post_until_it_is(
        self, client, open_record, own_templates, asked, page
    ):
        waiting = came(open_record, 'one', picture='waiting')
        shown = text(client, page)
        assert 'Not drawn yet' in shown
        assert client.get(f'{GALLERY}draw/').status_code == 405
        assert asked == []  # a GET starts nothing
        again = re.search(r'<div hx-post="([^"]+look=1)"', shown)[1]
        part = client.post(html.unescape(again)).content.decode()
        assert 'Not drawn yet' in part
        assert 'look=2"' in part
        Arrival.objects.update(picture='broken', trouble='too many pixels')
        part = client.post(html.unescape(again)).content.decode()
        assert 'Cannot be drawn: too many pixels' in part
        assert 'hx-post' not in part
        assert '<form' not in part
        Arrival.objects.update(picture='gone')
        part = client.post(html.unescape(again)).content.decode()
        assert 'Its file is gone' in part
        assert 'hx-post' not in part
        assert 'hx-post' in text(client, page)  # it may be there again
        assert asked == [[waiting.pk], [], [waiting.pk]]
        Arrival.objects.update(picture='waiting')
        last = client.post(f'{GALLERY}draw/?look={gallery.LOOKS}').content.decode()
        assert 'look=' not in last

    def test_only_who_sees_the_page_has_pictures_drawn(
        self, client, login, hidden, asked, automation
    ):
        waiting = came(hidden, 'hidden', picture='waiting')
        login('ann')
        client.post(f'{GALLERY}draw/')
        assign_perm('tom_targets.view_target', User.objects.get(username='ann'), hidden.target)
        client.post(f'{GALLERY}draw/')
        automation['PAGE_FOR'] = 'staff'
        assert client.post(f'{GALLERY}draw/').status_code == 204
        assert asked == [[], [waiting.pk]]

    def test_no_answer_leads_away_from_the_page(self, open_record, asked, automation):
        """A browser without cookies, or with an old token, gets its pictures, and no log-in page."""
        waiting = came(open_record, 'one', picture='waiting')
        browser = Client(enforce_csrf_checks=True)
        for automation['PAGE_FOR'], status in (('everyone', 200), ('staff', 204)):
            answer = browser.post(f'{GALLERY}draw/', headers={'HX-Request': 'true'})
            assert answer.status_code == status
            assert 'HX-Redirect' not in answer
        assert asked == [[waiting.pk]]

    def test_the_newest_four_on_the_home_page(self, client, open_record, own_templates):
        frames = [drawn(open_record, f'frame {n}').pk for n in range(6)]
        assert pictures_of(text(client, '/')) == frames[:1:-1]

    def test_two_hundred_thousand_frames(self, client, login, add_record, settings):
        """For somebody who sees all of them, two thousand, or none, by either kind of rights."""
        many(add_record, 200_000)
        target = Target.objects.get(name='T 7')
        users = [login('boss', is_superuser=True), login('ann'), login('stranger')]
        assign_perm('tom_targets.view_target', users[1], target)
        products = DataProduct.objects.filter(target=target)
        assign_perm('tom_dataproducts.view_dataproduct', users[1], products)
        if connection.vendor == 'postgresql':  # does so by itself, a little later
            connection.cursor().execute('ANALYZE')
        assert within(cheapest(follow_all)[0], SLOWEST_PAGE)
        queries = ('', '?before=1000', '?target=T+7', '?facility=SOAR', '?day=2026-01-02')
        for settings.TARGET_PERMISSIONS_ONLY in (True, False):
            for user, query in itertools.product(users, queries):
                client.force_login(user)
                cost, answer = cheapest(client.get, GALLERY + query)
                size = len(answer.content)
                print(f'{user} {query}: {cost * 1000:.0f} ms, {size} bytes')  # noqa: T201
                assert size < LARGEST_PAGE
                assert within(cost, SLOWEST_PAGE), (user, query)


def cheapest(act, *arguments):
    """The best of a few times, as this machine has other things to do, and what came of it."""
    times = []
    for _ in range(5):
        begun = seconds_used()
        answer = act(*arguments)
        times.append(seconds_used() - begun)
    return min(times), answer


def many(add_record, count):
    """So many frames of a hundred private targets, a few of them of SOAR."""
    for n in range(100):
        Target.objects.create(name=f'T {n}', type='SIDEREAL', ra=1, dec=1, permissions='PRIVATE')
    first = drawn(add_record(target=Target.objects.get(name='T 0')))
    product, target = first.product, Target.objects.get(name='T 0').pk
    products = copies(DataProduct, product, product_id="'p' || i", target_id=f'{target} + i % 100')
    begin = timezone.now().replace(year=2026, month=1, day=1)
    facility = "CASE WHEN i % 1000 = 0 THEN 'SOAR' ELSE 'LCO' END"
    arrivals = copies(
        Arrival, first, product_id=f'{product.pk} + i', target_id=f'{target} + i % 100',
        facility=facility, at=by_seconds(begin),
    )  # fmt: skip
    with connection.cursor() as cursor:
        for statement in (products, arrivals):
            cursor.execute(statement, [count])
    assert Arrival.objects.count() == DataProduct.objects.count() == count + 1


def copies(model, row, **columns):
    """The statement that makes copies of `row`, which number `i` tells apart."""
    quoted = {
        field.column: f'"{field.column}"'
        for field in model._meta.concrete_fields
        if not field.primary_key
    }
    values = ', '.join(columns.get(name, text) for name, text in quoted.items())
    return (
        'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s) '  # noqa: S608
        f'INSERT INTO {model._meta.db_table} ({", ".join(quoted.values())}) '
        f'SELECT {values} FROM n, {model._meta.db_table} WHERE id = {row.pk}'
    ).replace(' % ', ' %% ')


def by_seconds(begin):
    """The moment `i` seconds after `begin`, in SQL."""
    if connection.vendor == 'postgresql':
        return f"timestamp with time zone '{begin.isoformat()}' + i * interval '1 second'"
    return f"datetime('{begin:%Y-%m-%d %H:%M:%S}', i || ' seconds')"


class TestFeed:
    def test_what_came_in_order_and_after_a_number(self, client, open_record):
        frames = [came(open_record, f'f {n}', filter='rp') for n in range(3)]
        told = client.get('/automation/arrivals.json').json()
        assert [entry['id'] for entry in told['frames']] == [frame.pk for frame in frames]
        assert told['last'] == frames[-1].pk
        entry = told['frames'][0]
        assert (entry['target'], entry['filter'], entry['facility']) == ('M 31', 'rp', 'LCO')
        later = client.get(f'/automation/arrivals.json?after={frames[1].pk}').json()
        assert [entry['id'] for entry in later['frames']] == [frames[2].pk]
        none = client.get(f'/automation/arrivals.json?after={frames[2].pk}').json()
        assert none == {'frames': [], 'last': frames[2].pk}

    def test_who_was_told_of_nothing_asks_after_0_and_misses_none(self, client, open_record):
        assert client.get('/automation/arrivals.json').json() == {'frames': [], 'last': 0}
        frames = [came(open_record, f'f {n}') for n in range(ENTRIES + 1)]
        told = client.get('/automation/arrivals.json?after=0').json()['frames']
        assert [entry['id'] for entry in told] == [frame.pk for frame in frames[:-1]]

    @pytest.mark.parametrize('after', [None, 0])
    def test_a_reader_far_behind_hears_of_frames_that_were_moved(
        self, client, add_record, target, monkeypatch, after
    ):
        monkeypatch.setattr('tom_auto.arrivals.feed.MANY', 8)
        monkeypatch.setattr('tom_auto.arrivals.feed.ENTRIES', 7)
        shown = Target.objects.create(name='M 33', type='SIDEREAL', ra=1, dec=1, permissions='OPEN')
        hidden, seen = add_record(), add_record(target=shown)
        Target.objects.filter(pk=target.pk).update(permissions='PRIVATE')
        frames = [came(hidden if n % 5 == 0 else seen, f'f {n}').pk for n in range(31)]
        DataProduct.objects.filter(arrival__in=frames[::10]).update(target=shown)
        expected = [pk for n, pk in enumerate(frames) if n % 5 or n % 10 == 0]
        got, last = [], after
        while True:
            asked = {} if last is None else {'after': last}
            news = client.get('/automation/arrivals.json', asked).json()
            got += [frame['id'] for frame in news['frames']]
            last = news['last']
            if not news['frames'] or after is None:
                break
        assert got == (expected if after == 0 else expected[-7:])

    def test_a_key_lets_one_read_what_its_user_may_see_until_it_is_renewed(
        self, client, login, hidden, settings
    ):
        settings.AUTH_STRATEGY, settings.OPEN_URLS = 'LOCKED', ['/automation/arrivals.*']
        user = login('ann')
        assign_perm('tom_targets.view_target', user, hidden.target)
        came(hidden, 'one')
        keys = []
        for _ in range(2):
            page = client.post('/automation/arrivals/key/', {'next': '/automation/'}, follow=True)
            keys.append(re.search(r'arrivals\.json\?token=([\w-]+)', page.content.decode())[1])
        assert keys[1] not in FeedKey.objects.get().digest
        client.logout()
        for feed in ('json', 'atom'):
            answers = [client.get(f'/automation/arrivals.{feed}?token={key}') for key in keys]
            assert [answer.status_code for answer in answers] == [401, 200]
            assert b'Secret Star' in answers[1].content
            assert client.get(f'/automation/arrivals.{feed}').status_code in (401, 403)
        user.is_active = False
        user.save()
        assert client.get(f'/automation/arrivals.json?token={keys[1]}').status_code == 401

    def test_a_key_lets_one_read_the_files(self, client, login, hidden, media):
        user = login('ann')
        assign_perm('tom_targets.view_target', user, hidden.target)
        arrival, key = came(hidden, 'one'), new_key(user)
        client.logout()
        [entry] = client.get(f'/automation/arrivals.json?token={key}').json()['frames']
        address = f'http://testserver{GALLERY}{arrival.pk}/file/'
        assert entry['data'] == address
        place = media / arrival.product.data.name
        assert client.get(f'{address}?token={key}').status_code == 404  # the file is missing
        place.parent.mkdir(parents=True)
        place.write_bytes(b'SIMPLE')
        answer = client.get(f'{address}?token={key}')
        assert (answer.status_code, answer.content) == (200, b'SIMPLE')
        assert answer['Content-Disposition'] == 'inline; filename="image.fits"'
        assert client.get(address).status_code == 404

    def test_a_store_with_signed_addresses(self, client, open_record, settings):
        """Neither the address, which ends soon, nor the place, which names the target, is told."""
        settings.STORAGES = settings.STORAGES | {'default': {'BACKEND': f'{__name__}.Store'}}
        arrival = came(open_record, 'one')
        for feed in ('json', 'atom'):
            told = client.get(f'/automation/arrivals.{feed}').content.decode()
            assert f'http://testserver{GALLERY}{arrival.pk}/file/"' in told
            assert 'signature' not in told
            assert 'm-31' not in told
        answer = client.get(f'{GALLERY}{arrival.pk}/file/')
        assert answer['Location'] == f'https://store/{arrival.product.data.name}?signature=1'

    def test_a_store_says_no_name_of_a_hidden_target(self, client, login, hidden, settings):
        settings.STORAGES = settings.STORAGES | {'default': {'BACKEND': f'{__name__}.Store'}}
        settings.TARGET_PERMISSIONS_ONLY = False
        arrival, user = came(hidden, 'one'), login('ann')
        arrival.product.data.storage.save(arrival.product.data.name, ContentFile(b'SIMPLE'))
        assign_perm('tom_dataproducts.view_dataproduct', user, arrival.product)
        answer = client.get(f'{GALLERY}{arrival.pk}/file/')
        assert (answer.status_code, answer.content) == (200, b'SIMPLE')
        assert arrival.product.data.name not in text(client, GALLERY)

    def test_a_store_that_is_away(self, client, open_record, settings):
        settings.STORAGES = settings.STORAGES | {'default': {'BACKEND': f'{__name__}.Store'}}
        Store.is_away = True
        arrival = came(open_record, 'one', picture='drawn')
        DataProduct.objects.update(thumbnail='small.jpg')
        try:
            assert client.get(f'{GALLERY}{arrival.pk}.jpg').status_code == 404
            request = RequestFactory().get('/')
            assert data_files.sent(request, arrival.product.data).status_code == 503
        finally:
            Store.is_away = False

    @pytest.mark.parametrize('wanted', ['application/atom+xml', 'image/fits', 'text/html', '*/*'])
    def test_a_program_may_say_what_it_would_rather_have(self, client, open_record, media, wanted):
        arrival = came(open_record, 'one')
        place = media / arrival.product.data.name
        place.parent.mkdir(parents=True)
        place.write_bytes(b'SIMPLE')
        for page in ('.json', '.atom', f'/{arrival.pk}/file/'):
            answer = client.get(f'/automation/arrivals{page}', headers={'accept': wanted})
            assert answer.status_code == 200

    def test_a_key_is_for_those_who_may_read_the_feed(self, client, login, settings):
        settings.TOM_AUTO |= {'PAGE_FOR': 'staff'}
        user = login('ann')
        profile = text(client, '/users/profile/')
        assert 'only for users who can see the automation page' in profile
        assert '/automation/arrivals/key/' not in profile
        client.post('/automation/arrivals/key/')
        assert not FeedKey.objects.exists()
        told = client.get(f'/automation/arrivals.json?token={new_key(user)}')
        assert (told.status_code, 'can see the automation page' in told.text) == (401, True)

    def test_strangers_see_nothing_that_is_hidden(self, client, hidden):
        came(hidden, 'one')
        assert client.get('/automation/arrivals.json').json()['frames'] == []
        assert b'Secret' not in client.get('/automation/arrivals.atom').content

    def test_atom_is_well_formed_whatever_a_name_contains(self, client, open_record):
        Target.objects.update(name='<M> & \x0b 31')
        came(open_record, 'one')
        answer = client.get('/automation/arrivals.atom')
        assert answer['Content-Type'].startswith('application/atom+xml')
        feed = ET.fromstring(answer.content)  # noqa: S314
        [title] = [each.text for each in feed.iter('{http://www.w3.org/2005/Atom}title')][1:]
        assert title == '<M> &  31: image.fits'


class Store(InMemoryStorage):
    """Stands for a store such as S3. Its errors are of no kind that Python knows."""

    is_away = False

    def url(self, name):
        return f'https://store/{name}?signature=1'

    def open(self, name, mode='rb'):
        if self.is_away:
            raise Exception('EndpointConnectionError')
        return super().open(name, mode)


class TestWishes:
    def choose(self, client, **fields):
        fields = {'when': 'daily', 'about': 'own', 'hour': '7', 'zone': 'Europe/London'} | fields
        return client.post('/automation/arrivals/wish/', fields | {'next': '/users/profile/'})

    def test_are_on_the_profile_page(self, client, login, open_record):
        came(open_record, 'old')
        login('ann', email='ann@example.org')
        assert 'New data' in text(client, '/users/profile/')
        assert self.choose(client).status_code == 302
        wish = Wish.objects.get(user__username='ann')
        assert (wish.when, wish.about, wish.hour) == ('daily', 'own', 7)
        assert wish.told_up_to == Arrival.objects.get().pk  # what came before is no news
        page = text(client, '/users/profile/')
        assert re.search(r'The next one: \d{4}-\d\d-\d\d 07:00 \(Europe/London\)', page)
        self.choose(client, when='never')
        assert Wish.objects.get().when == 'never'

    def test_the_next_mail_in_the_time_zone_of_the_user(self, client, login, settings):
        settings.TIME_ZONE = 'America/Santiago'
        login('ann')
        self.choose(client, hour='9', zone='Asia/Tokyo')
        assert ' 09:00 (Asia/Tokyo)' in text(client, '/users/profile/')

    @pytest.mark.parametrize('wish', ['new', 'of before'])
    def test_what_happens_while_a_wish_is_saved_stays(self, client, login, monkeypatch, wish):
        """A second click; a run that tells something."""
        ann, read = login('ann'), wishes.wish_or_new
        if wish == 'of before':
            Wish.objects.create(user=ann, when='at once', told_at=timezone.now())

        def meanwhile(user):
            found = read(user)
            fields = {'when': 'at once', 'told_up_to': 5, 'told_at': timezone.now()}
            Wish.objects.update_or_create(user=user, defaults=fields)
            return found

        monkeypatch.setattr(wishes, 'wish_or_new', meanwhile)
        assert self.choose(client).status_code == 302
        kept = Wish.objects.get()
        assert (kept.when, kept.told_up_to) == ('daily', 5)

    def test_nothing_odd_is_kept(self, client, login):
        login('ann')
        for odd in ({'hour': '25'}, {'zone': 'Mars/Olympus'}, {'when': 'often'}, {'about': 'x'}):
            self.choose(client, **odd)
        assert not Wish.objects.exists()
        assert client.get('/automation/arrivals/wish/').status_code == 405

    def test_a_user_without_an_address_is_told_so(self, client, login):
        login('ann')
        assert 'has no e-mail address' in text(client, '/users/profile/')

    def test_the_button_of_a_target(self, client, login, open_record):
        login('ann', email='ann@example.org')
        page, target = f'/targets/{open_record.target_id}/', open_record.target
        button = f'/automation/arrivals/targets/{target.pk}/'
        assert '>Tell me about new data<' in text(client, page)
        assert (
            'at ann@example.org'
            in client.post(button, {'next': page}, follow=True).content.decode()
        )
        wish = Wish.objects.get()
        assert (wish.when, wish.about, list(wish.targets.all())) == (
            'at once', 'chosen', [target.basetarget_ptr if hasattr(target, 'basetarget_ptr') else target],
        )  # fmt: skip
        assert '>Do not tell me about new data<' in text(client, page)
        assert 'M 31' in text(client, '/users/profile/')
        client.post(button)
        assert not wish.targets.exists()
        Wish.objects.update(about='all')
        assert 'tell me about new data' not in text(client, page).lower()

    def test_nobody_chooses_a_target_that_is_hidden(self, client, login, hidden):
        login('ann')
        client.post(f'/automation/arrivals/targets/{hidden.target_id}/')
        assert not Wish.objects.exists()

    def test_a_superuser_sees_what_was_sent_and_nobody_else(self, client, login, staff):
        wish = Wish.objects.create(user=staff, when='at once', told_at=timezone.now())
        now = timezone.now()
        Notice.objects.create(
            wish=wish, state='sent', message_id='<1@tom>', address='staff@example.org', after=0,
            up_to=5, frames=5, at=now, claimed_until=now,
        )  # fmt: skip
        assert client.get('/automation/arrivals/sent/').status_code == 302  # to log in as somebody
        login('boss', is_superuser=True)
        page = text(client, '/automation/arrivals/sent/')
        assert 'staff@example.org' in page
        assert '&lt;1@tom&gt;' in page


def test_nothing_is_drawn_by_a_page_itself(client, open_record, monkeypatch):
    came(open_record, 'one', picture='waiting')
    monkeypatch.setattr(drawing_program.Program, 'draw', lambda *args: json.loads('not called'))
    text(client, GALLERY)
    text(client, '/')
