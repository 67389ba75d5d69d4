"""The app that adds the automation to a TOM. List it in INSTALLED_APPS as 'tom_auto'."""

import sys
from contextlib import suppress

from django.apps import AppConfig
from django.core.signals import got_request_exception
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.signals import post_save, pre_delete
from django.urls import URLPattern, URLResolver, include, path

from . import startup


def leave_uncompiled(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Keep PostgreSQL from compiling questions: that takes a second, and answering them 0.06 s."""
    if connection.vendor == 'postgresql':
        # A pooler in between may refuse it; then pages are slow, and nothing else.
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute('SET jit = off')


def forget_lost_pictures(**_: object) -> None:
    """After a page that failed because a picture was removed, the next look works without the middleware."""
    from .arrivals.lost_pictures import forget_lost

    with suppress(Exception):  # the page has failed, and is answered so
        forget_lost(sys.exc_info()[1])


class TomAutoConfig(AppConfig):
    """The automation, as a plugin of tomtoolkit with its own pages and navigation link."""

    name = 'tom_auto'
    verbose_name = 'Automation'
    default_auto_field = 'django.db.models.AutoField'

    def ready(self) -> None:
        # Importing the others registers the system checks.
        from . import checks, conf  # noqa: F401
        from .arrivals.noting import follow, hand_on
        from .celery_tasks import setup  # noqa: F401

        connection_created.connect(leave_uncompiled)
        got_request_exception.connect(forget_lost_pictures)
        post_save.connect(follow, sender='tom_dataproducts.DataProduct')
        pre_delete.connect(hand_on, sender='tom_targets.BaseTarget')
        startup.has_ended()

    def include_url_paths(self) -> list[URLPattern | URLResolver]:
        return [path('automation/', include('tom_auto.page.urls'))]

    def profile_details(self) -> list[dict]:
        part = 'tom_auto/arrivals/profile.html'
        return [{'partial': part, 'context': 'tom_auto.arrivals.wishes.profile'}]

    def target_detail_buttons(self) -> list[dict]:
        part = 'tom_auto/arrivals/button.html'
        return [{'partial': part, 'context': 'tom_auto.arrivals.wishes.button'}]

    def nav_items(self) -> list[dict]:
        return [{'partial': 'tom_auto/nav.html'}]
