from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from books import views

urlpatterns = [
    # At the root for probes inside the network, which know nothing of prefixes.
    path("healthz", views.healthz),
    path("version", views.version),
    path(f"{settings.PREFIX}healthz", views.healthz),
    path(f"{settings.PREFIX}version", views.version),
    path(f"{settings.PREFIX}admin/", admin.site.urls),
    path(settings.PREFIX, include("books.urls")),
]
