"""The app that adds the automation to a TOM. List it in INSTALLED_APPS as 'tom_auto'."""

from django.apps import AppConfig
from django.urls import URLPattern, URLResolver, include, path


class TomAutoConfig(AppConfig):
    """The automation, as a plugin of tomtoolkit with its own pages and navigation link."""

    name = 'tom_auto'
    verbose_name = 'Automation'
    default_auto_field = 'django.db.models.AutoField'

    def ready(self) -> None:
        from . import checks, conf  # noqa: F401  (importing them registers the system checks)

    def include_url_paths(self) -> list[URLPattern | URLResolver]:
        return [path('automation/', include('tom_auto.page.urls'))]

    def nav_items(self) -> list[dict]:
        return [{'partial': 'tom_auto/nav.html'}]
