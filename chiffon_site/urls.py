"""Every HTTP path and every WebSocket path."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from chiffon_site.observability import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
]

websocket_urlpatterns: list[URLPattern | URLResolver] = []
