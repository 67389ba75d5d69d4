"""The TOM's URLs: the data files, then the pages of tomtoolkit and of all apps, such as tom_auto.

Add your own pages in `include_url_paths` of app/apps.py, or here at the top of the list.
"""

from django.conf import settings
from django.urls import include, path

from tom_auto.data_files import data_file

urlpatterns = [
    path(f'{settings.MEDIA_URL.lstrip("/")}<path:name>', data_file),
    path('', include('tom_common.urls')),
]
