"""The paths of requests, plans, runs and the policy."""

from __future__ import annotations

from django.urls import URLPattern, path, register_converter
from django.urls.converters import IntConverter

from plans.views import inbox, plans, policy, requests, revising, runs, shell, steering


class NumberConverter(IntConverter):
    """A plan's number: one that the database could hold; anything else is no address."""

    regex = "[1-9][0-9]{0,17}"


register_converter(NumberConverter, "number")

app_name = "plans"
urlpatterns: list[URLPattern] = [
    path("", inbox.inbox, name="inbox"),
    path("requests/", requests.requests, name="requests"),
    path("requests/new/", requests.new_request, name="new_request"),
    path("requests/<uuid:request_id>/", requests.conversation, name="request"),
    path("plans/", plans.plans, name="list"),
    path("plans/<number:number>/", plans.plan, name="plan"),
    path("plans/<number:number>/run/", runs.run, name="run"),
    path("plans/<number:number>/approve/", plans.approve, name="approve"),
    path("plans/<number:number>/reject/", plans.reject, name="reject"),
    path("plans/<number:number>/cancel/", steering.cancel, name="cancel"),
    path("plans/<number:number>/pause/", steering.pause, name="pause"),
    path("plans/<number:number>/resume/", steering.resume, name="resume"),
    path("plans/<number:number>/retry/", steering.retry, name="retry"),
    path("plans/<number:number>/undo/", steering.undo, name="undo"),
    path("plans/<number:number>/revise/", revising.revise, name="revise"),
    path("plans/<number:number>/revisions/", revising.revisions, name="revisions"),
    path("plans/<number:number>/steps/<str:key>/give-up/", steering.give_up, name="give_up_step"),
    path("plans/<number:number>/steps/<str:key>/skip/", steering.skip, name="skip_step"),
    path("plans/<number:number>/steps/<str:key>/retry/", runs.retry_step, name="retry_step"),
    path("policy/", policy.policy, name="policy"),
    path("theme/", shell.theme, name="theme"),
]
