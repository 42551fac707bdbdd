"""The paths of agents and playbooks."""

from __future__ import annotations

from django.urls import URLPattern, path

from agents import views

app_name = "agents"
urlpatterns: list[URLPattern] = [
    path("agents/", views.agents, name="list"),
    path("agents/<slug:name>/", views.agent, name="agent"),
    path("breakers/<uuid:breaker_id>/reset/", views.reset_breaker, name="reset_breaker"),
    path("tools/", views.tools, name="tools"),
    path("tools/<str:name>/", views.tool, name="tool"),
    path("playbooks/", views.playbooks, name="playbooks"),
    path("playbooks/refresh/", views.refresh, name="refresh_playbooks"),
    path("playbooks/<uuid:playbook_id>/", views.playbook, name="playbook"),
]
