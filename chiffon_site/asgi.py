"""The split between HTTP and WebSocket."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chiffon_site.settings")
_http = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402 - these need the apps, which the line above has loaded
from django.conf import settings  # noqa: E402

from chiffon_site.sockets import sockets  # noqa: E402

# The scheme and the port are compared as well: another service on the same host is a stranger.
_ORIGINS = [
    settings.CHIFFON_PUBLIC_URL,
    f"http://127.0.0.1:{settings.ENVIRONMENT.port}",
    f"http://localhost:{settings.ENVIRONMENT.port}",
]

application = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": sockets(_ORIGINS),
    }
)
