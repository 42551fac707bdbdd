"""Every HTTP path. The WebSocket paths are in `sockets.py`."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from chiffon_site.observability import health, metrics

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("api/", include("chiffon_site.api.urls")),
    path("accounts/tokens/", include("chiffon_site.accounts.urls")),
    path("accounts/", include("chiffon_site.accounts.doors")),
    path("admin/", admin.site.urls),
    path("", include("plans.urls")),
    path("", include("agents.urls")),
    path("", include("audit.urls")),
]

handler400 = "chiffon_site.error_pages.bad_request"
handler403 = "chiffon_site.error_pages.forbidden"
handler404 = "chiffon_site.error_pages.not_found"
handler500 = "chiffon_site.error_pages.server_error"
