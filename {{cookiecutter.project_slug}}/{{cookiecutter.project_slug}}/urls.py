"""The TOM's addresses: your own pages first, then the data files, then tomtoolkit's.

The pages of tom_auto and of other plugins come with tomtoolkit's.
"""

from django.conf import settings
from django.urls import include, path

from tom_auto.data_files import data_file

urlpatterns = [
    path(f'{settings.MEDIA_URL.lstrip("/")}<path:name>', data_file),
    path('', include('tom_common.urls')),
]
