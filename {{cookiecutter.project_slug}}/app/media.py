"""Serves the data files, each to those who may see it.

tomtoolkit serves them with DEBUG alone, and then to everybody. Where a web server or an object
store serves them, this is never asked.
"""

from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import FileResponse, Http404, HttpRequest
from guardian.shortcuts import get_objects_for_user
from tom_dataproducts.models import DataProduct
from tom_targets.models import Target
from tom_targets.permissions import targets_for_user


def data_file(request: HttpRequest, name: str) -> FileResponse:
    """The file `name` of a data product; 404 where it is missing or not for this visitor."""
    product = visible_products(request.user).filter(Q(data=name) | Q(thumbnail=name)).first()
    if product is None:
        raise Http404(f'There is no file {name}.')
    field = product.data if product.data.name == name else product.thumbnail
    try:
        content = field.open('rb')
    except FileNotFoundError as error:
        raise Http404(f'The file {name} is missing.') from error
    # Not all of them come from an observatory: what a user uploads must not run as a page.
    return FileResponse(content, headers={'Content-Security-Policy': 'sandbox'})


def visible_products(user: object) -> QuerySet[DataProduct]:
    """The data products that `user` may see, by the rule of TARGET_PERMISSIONS_ONLY."""
    if not settings.TARGET_PERMISSIONS_ONLY:
        return get_objects_for_user(user, 'tom_dataproducts.view_dataproduct')
    targets = targets_for_user(user, Target.objects.all(), 'view_target')
    return DataProduct.objects.filter(target__in=targets)
