"""The TOM's own app. List it in INSTALLED_APPS as 'app': tomtoolkit skips other spellings."""

from django.apps import AppConfig


class TomAppConfig(AppConfig):
    """Your code, and the automation that keeps the TOM's data up to date."""

    name = 'app'
    verbose_name = 'Automation'

    def ready(self) -> None:
        from . import checks  # noqa: F401  (importing it registers the checks)

    def nav_items(self) -> list[dict]:
        """The link in the TOM's navigation bar."""
        return [{'partial': 'app/nav.html'}]
