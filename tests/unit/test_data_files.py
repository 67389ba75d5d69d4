"""A data file goes to those who may see its target, and to nobody else."""

import errno
import io
import re
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.files import File
from guardian.shortcuts import assign_perm
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target

from tom_auto import data_files
from tom_auto.conf import Automation

from .conftest import TEMPLATE
from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def product(observed) -> DataProduct:
    """A frame of a target that is private."""
    record = observed()
    Target.objects.update(permissions=Target.Permissions.PRIVATE)
    updatedata()
    return DataProduct.objects.filter(observation_record=record).first()


def body(answer) -> bytes:
    return b''.join(answer.streaming_content) if answer.streaming else answer.content


def status(client, product: DataProduct) -> int:
    return client.get(f'/data/{product.data.name}').status_code


def test_it_comes_whole_and_cannot_run(admin_client, product):
    answer = admin_client.get(f'/data/{product.data.name}')
    assert body(answer) == product.data.read()
    assert answer['Content-Security-Policy'] == 'sandbox'


def test_a_private_one_is_for_those_with_permission(client, product):
    someone = User.objects.create_user('someone')
    assert status(client, product) == 404
    client.force_login(someone)
    assert status(client, product) == 404
    assign_perm('tom_targets.view_target', someone, product.target)
    assert status(client, product) == 200


def test_an_open_one_is_for_everybody(client, product):
    Target.objects.update(permissions=Target.Permissions.OPEN)
    assert status(client, product) == 200


def test_products_may_have_permissions_of_their_own(client, product, settings):
    settings.TARGET_PERMISSIONS_ONLY = False
    someone = User.objects.create_user('someone')
    Target.objects.update(permissions=Target.Permissions.OPEN)
    client.force_login(someone)
    assert status(client, product) == 404
    assign_perm('tom_dataproducts.view_dataproduct', someone, product)
    assert status(client, product) == 200


@pytest.mark.parametrize('name', ['no.fits', '../manage.py', '%2e%2e/manage.py', '.gitkeep'])
def test_no_other_file_is_served(admin_client, product, name):
    assert admin_client.get(f'/data/{name}').status_code == 404


def test_a_row_without_its_file_is_a_404(admin_client, product):
    product.data.storage.delete(product.data.name)
    assert status(admin_client, product) == 404


@pytest.mark.parametrize('trouble', ['a directory', 'another owner', 'a bad disk'])
def test_one_that_cannot_be_read_is_named_in_the_log(
    admin_client, product, settings, monkeypatch, caplog, trouble
):
    """Not by a mail for each click."""
    settings.ADMINS = [('Ada', 'ada@example.org')]
    admin_client.raise_request_exception = False
    storage, name = product.data.storage, product.data.name
    if trouble == 'a directory':
        storage.delete(name)
        Path(product.data.path).mkdir()
    elif trouble == 'another owner':
        refused = PermissionError(errno.EACCES, 'Permission denied', name)
        monkeypatch.setattr(storage.__class__, '_open', Mock(side_effect=refused))
    else:
        broken = io.BytesIO(b'SIMPLE')
        broken.read = Mock(side_effect=OSError(errno.EIO, 'Input/output error'))
        monkeypatch.setattr(storage.__class__, '_open', lambda *words: File(broken))
    answer = admin_client.get(f'/data/{name}')
    assert (answer.status_code, mail.outbox) == (503, [])
    assert b'cannot be read' in answer.content
    assert f'{name} cannot be read: ' in caplog.text


# --- Parts, versions, and visitors that read slowly ------------------------------------------


@pytest.mark.parametrize('small', [True, False])
@pytest.mark.parametrize(
    ('asked', 'part'),
    [
        ('bytes=0-0', slice(0, 1)),
        ('bytes=100-', slice(100, None)),
        ('bytes=-10', slice(-10, None)),
        ('bytes=5-99999999', slice(5, None)),
        ('bytes=0-', slice(None)),
    ],
)
def test_a_part_of_it(admin_client, product, asked, part, small, monkeypatch):
    monkeypatch.setattr(data_files, 'SMALL', 10**9 if small else 0)
    whole = product.data.read()
    answer = admin_client.get(f'/data/{product.data.name}', headers={'Range': asked})
    assert answer.status_code == 206
    assert body(answer) == whole[part]
    start = range(len(whole))[part].start
    assert answer['Content-Range'] == f'bytes {start}-{start + len(whole[part]) - 1}/{len(whole)}'
    assert int(answer['Content-Length']) == len(whole[part])


@pytest.mark.parametrize('asked', ['bytes=9-2', 'bytes=0-1,5-6', 'bytes=-', 'lines=1-2', 'x', '²'])
def test_a_part_that_nobody_can_mean_is_the_whole(admin_client, product, asked):
    answer = admin_client.get(f'/data/{product.data.name}', headers={'Range': asked})
    assert answer.status_code == 200
    assert body(answer) == product.data.read()


def test_a_part_beyond_the_end(admin_client, product):
    answer = admin_client.get(f'/data/{product.data.name}', headers={'Range': 'bytes=999999999-'})
    assert answer.status_code == 416
    assert answer['Content-Range'] == f'bytes */{product.data.size}'


def test_it_is_not_sent_twice_unless_it_changed(admin_client, product):
    page = f'/data/{product.data.name}'
    first = admin_client.get(page)
    had = {'If-None-Match': first['ETag']}
    assert admin_client.get(page, headers=had).status_code == 304
    dated = {'If-Modified-Since': first['Last-Modified']}
    assert admin_client.get(page, headers=dated).status_code == 304
    begun = {'Range': 'bytes=5-', 'If-Range': first['ETag']}
    assert admin_client.get(page, headers=begun).status_code == 206
    with Path(product.data.path).open('ab') as file:
        file.write(b'more')
    assert admin_client.get(page, headers=had).status_code == 200
    assert admin_client.get(page, headers=begun).status_code == 200  # all of the new version


def test_a_head(admin_client, product):
    answer = admin_client.head(f'/data/{product.data.name}')
    assert (answer.status_code, answer.content) == (200, b'')
    assert int(answer['Content-Length']) == product.data.size


def test_those_who_read_slowly_leave_threads_to_the_others(
    admin_client, product, automation, monkeypatch, settings
):
    settings.ADMINS = [('Ada', 'ada@example.org')]
    automation['DOWNLOADS'] = 2
    monkeypatch.setattr(data_files, 'SMALL', 10)
    page = f'/data/{product.data.name}'
    stalled = [admin_client.get(page) for _ in range(2)]
    refused = admin_client.get(page)
    assert (refused.status_code, refused['Retry-After']) == (503, '10')
    assert mail.outbox == [], 'anybody could have ADMINS be sent as many as they like'
    assert admin_client.get(page, headers={'Range': 'bytes=0-5'}).status_code == 206  # small
    for answer in stalled:
        answer.close()
        answer.close()
    again = [admin_client.get(page) for _ in range(3)]
    assert [answer.status_code for answer in again] == [200, 200, 503]
    for answer in again:
        answer.close()
    assert data_files._downloads.count == 0


def test_the_web_server_of_the_containers_has_threads_to_spare():
    [file] = TEMPLATE.glob('*gunicorn.conf.py*')
    [threads] = re.findall(r'^threads = (\d+)', file.read_text(), re.MULTILINE)
    assert int(threads) > Automation().DOWNLOADS


def test_a_server_in_front_sends_it(client, admin_client, product, automation):
    automation['DATA_BY_PROXY'] = '/internal-data/'
    DataProduct.objects.filter(pk=product.pk).update(data='m 31/ä?#.fits')
    answer = admin_client.get('/data/m%2031/%C3%A4%3F%23.fits')
    assert answer['X-Accel-Redirect'] == '/internal-data/m%2031/%C3%A4%3F%23.fits'
    assert answer['Content-Security-Policy'] == 'sandbox'
    assert answer.content == b''
    client.logout()
    assert client.get('/data/m%2031/%C3%A4%3F%23.fits').status_code == 404
