"""What tests of revisions ask about: a step that fails for good, the rows of a revision, what ran, what its readers are told."""

from plans.models import Attempt, Revision, Step
from tests.factories import step

BROKEN = {"times": 9, "transient": False}


def broken(key="fail", **more):
    return step(key, "diagnostic.fail", input=BROKEN, **more)


def rows(plan, number):
    found = Step.objects.filter(plan=plan, revision__number=number).order_by("index")
    return {row.key: row for row in found}


def states(plan, number=2):
    return {key: row.status for key, row in rows(plan, number).items()}


def started(plan):
    return list(
        Attempt.objects.filter(plan=plan, started_at__isnull=False).order_by("pk").values_list("step__key", flat=True)
    )


def facts(plan):
    return [fact["text"] for fact in Revision.objects.get(plan=plan, number=plan.revision_number).risk_facts]
