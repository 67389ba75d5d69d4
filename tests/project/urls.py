"""The addresses of the test TOM: tomtoolkit's, which bring the library's along."""

from django.conf import settings
from django.urls import include, path

from tom_auto.data_files import data_file

urlpatterns = [
    path(f'{settings.MEDIA_URL.lstrip("/")}<path:name>', data_file),
    path('', include('tom_common.urls')),
]
