"""The URLs below /automation/."""

from django.urls import path, register_converter
from django.urls.converters import IntConverter

from . import buttons, monitoring, muting, views


class KeyConverter(IntConverter):
    """A key of the database: a number that fits into its column."""

    regex = '[0-9]{1,18}'


register_converter(KeyConverter, 'key')

app_name = 'automation'

urlpatterns = [
    path('', views.home, name='home'),
    path('facilities/', views.of_facilities, name='facilities'),
    path('weeks/', views.weeks, name='weeks'),
    path('runs/', views.runs, name='runs'),
    path('runs/<key:pk>/', views.run, name='run'),
    path('progress/', buttons.progress, name='progress'),
    path('alerts/', muting.alerts, name='alerts'),
    path('alerts/mute/', muting.mute, name='mute'),
    path('alerts/unmute/<key:pk>/', muting.unmute, name='unmute'),
    path('alerts/test/', muting.test_message, name='test-message'),
    path('status.json', monitoring.status, name='status'),
    path('metrics', monitoring.metrics, name='metrics'),
    path('retry/', buttons.retry_all, name='retry-all'),
    path('retry/<key:pk>/', buttons.retry, name='retry'),
    path('targets/<key:pk>/update/', buttons.update, name='update'),
    path('<slug:job>/run/', buttons.start, name='start'),
    path('<slug:job>/pause/', buttons.pause, name='pause'),
    path('<slug:job>/resume/', buttons.resume, name='resume'),
]
