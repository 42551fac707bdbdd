"""The trail's pages."""

from __future__ import annotations

from django.urls import path

from audit import views

app_name = "audit"
urlpatterns = [
    path("audit/", views.records, name="list"),
    path("audit/traces/<uuid:trace_id>/", views.trace, name="trace"),
    path("audit/records/<int:sequence>/", views.record, name="record"),
    path("audit/tasks/<uuid:task_id>/", views.task, name="task"),
]
