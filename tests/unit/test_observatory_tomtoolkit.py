"""tomtoolkit's own facility classes find at the simulated observatory what they expect."""

import hashlib
import io
import json

import pytest
import requests
from tom_common.exceptions import ImproperCredentialsException
from tom_observations.facilities.blanco import BLANCOFacility
from tom_observations.facilities.lco import LCOFacility
from tom_observations.facilities.lco_redirect import LCORedirectFacility
from tom_observations.facilities.soar import SOARFacility

import faults
from simulated import Observatory

FACILITIES = [LCOFacility, SOARFacility, BLANCOFacility, LCORedirectFacility]


@pytest.fixture
def sky(settings):
    with Observatory() as sky:
        settings.FACILITIES = {name: sky.settings() for name in ('LCO', 'SOAR', 'BLANCO')}
        sky.add_request(1234, target='M 31')
        yield sky


@pytest.mark.parametrize('facility', FACILITIES)
def test_from_pending_to_frames_on_disk(sky, facility):
    from astropy.io import fits

    tom = facility()
    nothing_yet = {'state': 'PENDING', 'scheduled_start': None, 'scheduled_end': None}
    assert tom.get_observation_status(1234) == nothing_yet
    assert tom.data_products(1234) == []

    start = sky.schedule(1234).start
    status = tom.get_observation_status(1234)
    assert status['scheduled_start'] == start.isoformat().replace('+00:00', 'Z')

    frames = {frame.id: frame for frame in sky.complete(1234, frames=2)}
    status = tom.get_observation_status(1234)
    assert status['state'] == 'COMPLETED'
    assert status['state'] in tom.get_terminal_observing_states()

    products = tom.data_products(1234)
    assert {product['id'] for product in products} == frames.keys()
    for product in products:
        frame = frames[product['id']]
        assert (product['filename'], product['created']) == (frame.filename, frame.observed_at)
        content = requests.get(product['url'], timeout=5).content
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == frame.md5
        header = fits.open(io.BytesIO(content))['SCI'].header
        assert LCOFacility().is_fits_facility(header)
        assert LCOFacility().get_date_obs_from_fits_header(header)
    [one] = tom.data_products(1234, product_id=product['id'])
    assert one['filename'] == product['filename']
    assert one['url'] != product['url']


def test_it_asks_with_reqnum_and_meets_the_redirect(sky):
    LCOFacility().get_observation_status(1234)
    LCOFacility().data_products(1234)
    assert [seen.target for seen in sky.requests_seen] == [
        '/api/requests/1234',
        '/api/requests/1234/',
        '/api/requests/1234/observations/',
        '/frames/?REQNUM=1234&limit=1000',
    ]
    assert all(seen.had_token for seen in sky.requests_seen)


def test_all_pages_come_unless_the_count_is_an_estimate(sky):
    for _ in range(1100):
        sky.add_frame(1234, content=b'x')
    assert len(LCOFacility().data_products(1234)) == 1100
    sky.estimate = 1
    assert len(LCOFacility().data_products(1234)) == 1000


@pytest.mark.parametrize(
    ('fault', 'error'),
    [
        (faults.status(401), ImproperCredentialsException),
        (faults.status(403), ImproperCredentialsException),
        (faults.status(500), requests.HTTPError),
        (faults.html(), json.JSONDecodeError),
        (faults.reset(), requests.ConnectionError),
        (faults.answer({}), KeyError),
        (faults.answer([]), TypeError),
    ],
)
def test_what_it_makes_of_faults(sky, fault, error):
    sky.break_('/api/requests/', fault)
    with pytest.raises(error):
        LCOFacility().get_observation_status(1234)


def test_a_token_that_is_wrong_or_missing(sky, settings):
    sky.complete(1234)
    settings.FACILITIES = {'LCO': sky.settings(token='wrong')}
    with pytest.raises(ImproperCredentialsException):
        LCOFacility().get_observation_status(1234)
    with pytest.raises(ImproperCredentialsException):
        LCOFacility().data_products(1234)
    settings.FACILITIES = {'LCO': sky.settings(token='')}
    with pytest.raises(requests.HTTPError, match='404'):
        LCOFacility().get_observation_status(1234)
    assert LCOFacility().data_products(1234) == []  # without a word


@pytest.mark.django_db
def test_the_usual_way_to_save_products(sky, settings, tmp_path):
    from django.contrib.auth.models import User
    from tom_dataproducts.models import DataProduct
    from tom_observations.models import ObservationRecord
    from tom_targets.models import Target

    settings.MEDIA_ROOT = tmp_path
    [frame] = sky.complete(1234)
    record = ObservationRecord.objects.create(
        target=Target.objects.create(name='M 31', type='SIDEREAL', ra=10.68, dec=41.27),
        user=User.objects.create(username='ada'),
        facility='LCO',
        observation_id='1234',
        parameters={},
    )
    LCOFacility().update_observation_status('1234')
    record.refresh_from_db()
    assert record.status == 'COMPLETED'
    LCOFacility().save_data_products(record)
    product = DataProduct.objects.get()
    assert product.product_id == str(frame.id)
    assert product.data.read() == frame.content


@pytest.mark.django_db
def test_a_request_group_submitted_on_the_portal_becomes_records(sky):
    from django.contrib.auth.models import User
    from tom_targets.models import Target

    for number in (1, 2):
        sky.add_request(number, group=50, name='Light curve')
    target = Target.objects.create(name='M 31', type='SIDEREAL', ra=10.68, dec=41.27)
    user = User.objects.create(username='ada')
    group = LCORedirectFacility().request_id_to_group(50, user, target, {})
    assert group.name == 'Light curve'
    found = group.observation_records.values_list('observation_id', flat=True)
    assert sorted(found) == ['1', '2']
