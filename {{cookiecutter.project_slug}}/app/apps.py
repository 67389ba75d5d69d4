"""This TOM's own app. INSTALLED_APPS lists it as 'app', before 'tom_auto'."""

from django.apps import AppConfig


class MyAppConfig(AppConfig):
    """Your code. No update of the template or of tom_auto touches this directory.

    tomtoolkit asks each app for what it adds to the TOM. Uncomment a method to use it.
    """

    name = 'app'
    verbose_name = 'This TOM'

    # def nav_items(self):
    #     """Links in the navigation bar, each a template with one <li>: templates/app/nav.html."""
    #     return [{'partial': 'app/nav.html'}]

    # def include_url_paths(self):
    #     """Pages of your own."""
    #     from django.urls import include, path
    #
    #     return [path('mine/', include('app.urls'))]
