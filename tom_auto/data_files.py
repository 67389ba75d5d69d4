"""Serves the data files, each to those who may see it.

tomtoolkit serves them with DEBUG alone, and then to everybody. Where a web server or an object
store serves them, this is never asked.
"""

from django.db.models import Q
from django.http import FileResponse, Http404, HttpRequest

from .access import visible_products


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
