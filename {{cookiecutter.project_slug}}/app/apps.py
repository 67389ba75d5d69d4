"""The TOM's own app. List it in INSTALLED_APPS as 'app': tomtoolkit skips other spellings."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class TomAppConfig(AppConfig):
    """Your code, and the automation that keeps the TOM's data up to date."""

    name = 'app'
    verbose_name = 'Automation'

    def ready(self) -> None:
        from . import checks  # noqa: F401  (importing it registers the checks)
        from .sync import watch

        pre_migrate.connect(watch.stop, sender=self)
        post_migrate.connect(watch.begin, sender=self)

    def nav_items(self) -> list[dict]:
        """The link in the TOM's navigation bar."""
        return [{'partial': 'app/nav.html'}]
