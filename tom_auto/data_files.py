"""Serves each data file to those who may see it.

tomtoolkit serves them only with DEBUG on, and then to everybody. If a web server or an object store
serves the files, this view is never called.
"""

from django.db.models import Q
from django.http import FileResponse, Http404, HttpRequest

from .access import refuse_nul, visible_products


def data_file(request: HttpRequest, name: str) -> FileResponse:
    """The file `name` of a data product; 404 if it is missing or this visitor may not see it."""
    refuse_nul(name)
    product = visible_products(request.user).filter(Q(data=name) | Q(thumbnail=name)).first()
    if product is None:
        raise Http404(f'There is no file {name}.')
    field = product.data if product.data.name == name else product.thumbnail
    try:
        content = field.open('rb')
    except FileNotFoundError as error:
        raise Http404(f'The file {name} is missing.') from error
    # Not all files come from an observatory: an uploaded file must not run as a web page.
    return FileResponse(content, headers={'Content-Security-Policy': 'sandbox'})
