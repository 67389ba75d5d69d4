"""The TOM's addresses: all of tomtoolkit's, and room for your own above them."""

from django.urls import include, path

urlpatterns = [
    path('automation/', include('app.urls')),
    path('', include('tom_common.urls')),
]
