"""Steps as tests of the engine write them, and what became of them."""

from plans.models import Plan, Step
from tests.factories import step


def say(key, value=None, **more):
    """A step that answers a value."""
    return step(key, "diagnostic.echo", input={"value": key if value is None else value}, **more)


def failing(key, times=9, *, transient=False, **more):
    """A step that fails so often, then succeeds."""
    given = {"times": times, "failure_mode": "system" if transient else "user", "transient": transient}
    return step(key, "diagnostic.fail", input=given, **more)


def row(plan, key):
    """A step's row."""
    return Step.objects.get(plan=plan, key=key)


def output(plan, key):
    """What a step left."""
    return row(plan, key).output


def why(plan):
    """Why a plan is in its stage."""
    return Plan.objects.get(pk=plan.pk).stage_reason
