"""The TOM's addresses: all of tomtoolkit's, and room for your own above them."""

from django.conf import settings
from django.urls import include, path

from app.media import data_file

urlpatterns = [
    path('automation/', include('app.urls')),
    path(f'{settings.MEDIA_URL.lstrip("/")}<path:name>', data_file),
    path('', include('tom_common.urls')),
]
