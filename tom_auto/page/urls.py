"""The URLs below /automation/."""

from django.urls import path, register_converter
from django.urls.converters import IntConverter

from ..arrivals import feed, gallery, wishes
from . import at_work, buttons, monitoring, muting, views


class KeyConverter(IntConverter):
    """A key of the database: a number that fits into its column."""

    regex = '[0-9]{1,18}'


register_converter(KeyConverter, 'key')

app_name = 'automation'

urlpatterns = [
    path('', views.home, name='home'),
    path('facilities/', views.of_facilities, name='facilities'),
    path('at-work/', at_work.at_work, name='at-work'),
    path('hooks/retry/', at_work.retry_hooks, name='retry-hooks'),
    path('weeks/', views.weeks, name='weeks'),
    path('runs/', views.runs, name='runs'),
    path('runs/<key:pk>/', views.run, name='run'),
    path('progress/', buttons.progress, name='progress'),
    path('alerts/', muting.alerts, name='alerts'),
    path('alerts/mute/', muting.mute, name='mute'),
    path('alerts/unmute/<key:pk>/', muting.unmute, name='unmute'),
    path('alerts/test/', muting.test_message, name='test-message'),
    path('arrivals/', gallery.arrivals, name='arrivals'),
    path('arrivals/draw/', gallery.draw, name='draw'),
    path('arrivals/<key:pk>.jpg', gallery.picture, name='picture'),
    path('arrivals/<key:pk>/file/', feed.file, name='file'),
    path('arrivals/sent/', wishes.sent, name='sent'),
    path('arrivals/wish/', wishes.save_wish, name='save-wish'),
    path('arrivals/key/', wishes.make_key, name='make-key'),
    path('arrivals/targets/<key:pk>/', wishes.choose, name='choose'),
    path('arrivals.json', feed.as_json, name='feed'),
    path('arrivals.atom', feed.as_atom, name='atom'),
    path('unsubscribe/<path:token>/', wishes.unsubscribe, name='unsubscribe'),
    path('status.json', monitoring.status, name='status'),
    path('metrics', monitoring.metrics, name='metrics'),
    path('retry/', buttons.retry_all, name='retry-all'),
    path('retry/<key:pk>/', buttons.retry, name='retry'),
    path('targets/<key:pk>/update/', buttons.update, name='update'),
    path('<slug:job>/run/', buttons.start, name='start'),
    path('<slug:job>/pause/', buttons.pause, name='pause'),
    path('<slug:job>/resume/', buttons.resume, name='resume'),
]
