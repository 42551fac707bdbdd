"""Every WebSocket path of this app."""

from __future__ import annotations

from django.urls import URLPattern, path

from plans.consumers.inbox import InboxConsumer
from plans.consumers.pages import InboxPageConsumer, PlanPageConsumer
from plans.consumers.plan import PlanConsumer

# Ids are plain text here: one that is no id ends like one that does not exist.
websocket_urlpatterns: list[URLPattern] = [
    path("ws/plans/<str:plan_id>/", PlanConsumer.as_asgi(), name="plan"),
    path("ws/inbox/", InboxConsumer.as_asgi(), name="inbox"),
    path("ws/pages/plans/<str:plan_id>/", PlanPageConsumer.as_asgi(), name="plan_page"),
    path("ws/pages/inbox/", InboxPageConsumer.as_asgi(), name="inbox_page"),
]
