"""A data file goes to those who may see its target, and to nobody else."""

import pytest
from django.contrib.auth.models import User
from guardian.shortcuts import assign_perm
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target

from .running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def product(observed) -> DataProduct:
    """A frame of a target that is private."""
    record = observed()
    Target.objects.update(permissions=Target.Permissions.PRIVATE)
    updatedata()
    return DataProduct.objects.filter(observation_record=record).first()


def status(client, product: DataProduct) -> int:
    return client.get(f'/data/{product.data.name}').status_code


def test_it_comes_whole_and_cannot_run(admin_client, product):
    answer = admin_client.get(f'/data/{product.data.name}')
    assert b''.join(answer.streaming_content) == product.data.read()
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
