"""Many calls at the edge of a budget at the same moment, on connections of their own."""

import functools
import threading

import pytest
from django.db import connection

from agents.protocol import FailureMode, Outcome, ResourcesUsed, WorkResult
from agents.tools.registry import find_tool
from audit.authority import Role
from audit.models import DecisionRecord
from plans.execution import attempt, finish, spending
from plans.execution.claims import Claimed
from plans.models import BudgetLedger, BudgetReservation, Plan
from tests import factories
from tests.engine import Engine, claim, stage, statuses, together
from tests.factories import make_user, step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e_03]


class Sampler(threading.Thread):
    """Reads what is spent and held again and again, as others may see it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan, self.seen, self.over = plan, set[int](), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            for ledger in BudgetLedger.objects.filter(plan=self.plan):
                self.seen.add(ledger.calls_spent + ledger.calls_held)
        connection.close()


@pytest.fixture
def budgeted(transactional_db):
    requester, approver = make_user("requester", Role.REQUESTER), make_user("approver", Role.APPROVER)
    factories.make_agent("infra-1", slots=64)

    def make(*steps, **budget):
        return factories.approve(factories.make_plan(requester, steps, budget=budget), approver)

    return make


def call(held: Claimed) -> bool:
    """What an agent does with a claimed attempt; whether the tool was called."""
    tool = find_tool(held.step.tool)
    assert tool is not None
    refusal = spending.reserve(held, tool, held.step.input)
    used = ResourcesUsed(cost=0.1, tokens=0)
    done = WorkResult.failed(FailureMode.POLICY, refusal) if refusal else WorkResult(Outcome.COMPLETED, resources=used)
    assert finish.finish(held.attempt_id, token=held.token, result=done, lines=(0, ""))
    return not refusal


@pytest.mark.slow
def test_of_fifty_calls_at_once_no_more_are_made_than_the_ceiling(budgeted):
    engine = Engine()
    plan = budgeted(*(step(f"s{n}", "diagnostic.spend", input={"cost": 0.1}) for n in range(50)), call_ceiling=20)
    claimed = [claim(pk, token) for pk, token, _ in engine.dispatch()]
    sampler = Sampler(plan)
    sampler.start()
    try:
        answers = together(*(functools.partial(call, held) for held in claimed))
    finally:
        sampler.over.set()
        sampler.join()
    assert sorted(answers) == [False] * 30 + [True] * 20
    assert max(sampler.seen) <= 20
    ended = list(statuses(plan).values())
    assert (ended.count("completed"), ended.count("failed")) == (20, 30)
    ledger = BudgetLedger.objects.get(plan=plan)
    assert ledger.spent.to_json() == {"cost": 2, "calls": 20, "tokens": 0}
    assert ledger.held.to_json() == {"cost": 0, "calls": 0, "tokens": 0}
    assert BudgetReservation.objects.filter(settled_at__isnull=False).count() == 20
    engine.sweep()
    assert stage(plan) == "failed"
    for level in ("budget.warned", "budget.exceeded"):
        assert DecisionRecord.objects.filter(trace_id=plan.trace_id, type=level).count() == 1


def test_costs_at_once_never_pass_the_ceiling_and_leave_no_room_unused(budgeted):
    engine = Engine()
    for _ in range(3):
        plan = budgeted(*(step(f"s{n}", "diagnostic.spend", input={"cost": 0.3}) for n in range(8)), cost_ceiling=1)
        together(*(functools.partial(attempt.run, pk, token=token, go_on_for=0) for pk, token, _ in engine.dispatch()))
        ledger = BudgetLedger.objects.get(plan=plan)
        assert (ledger.spent.to_json()["cost"], ledger.held.to_json()["cost"]) == (0.9, 0)
        engine.sweep()
        assert stage(plan) == "failed"
