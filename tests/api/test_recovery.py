"""What a program learns of a plan that stopped, and how it goes on with it."""

import pytest

from plans import services
from plans.models import Attempt, Plan
from tests import factories
from tests.api.conftest import is_problem
from tests.engine import Engine, stage
from tests.factories import step

pytestmark = pytest.mark.django_db


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def make(requester, approver, engine):
    factories.make_agent("infra-1", slots=4)

    def made(*steps):
        plan = factories.approve(factories.make_plan(requester, list(steps)), approver)
        engine.run()
        return plan

    return made


def broken(key="a", **more):
    return step(key, "diagnostic.fail", input={"times": 1, "transient": False}, **more)


def flaky(key="a", **more):
    return step(key, "diagnostic.fail", input={"times": 1}, retry={"attempts": 3, "first_wait_seconds": 60}, **more)


def test_a_plan_that_failed_says_what_is_done_and_how_to_go_on(as_requester, make):
    plan = make(step("before"), broken(depends_on=["before"]), step("after", depends_on=["a"]))
    told = as_requester.get(f"/plans/{plan.number}/partial-result").json()
    assert told["sentence"] == "before stays done. a failed. after did not start."
    assert (told["recoverable"], told["completed"], told["not_started"]) == (True, ["before"], ["after"])
    (begun,) = told["begun"]
    assert (begun["key"], begun["status"], begun["tries"], begun["checkpoint"]) == ("a", "failed", 1, None)
    assert begun["failure"]["mode"] == "system" and "can mend it" in begun["failure"]["mender"]
    ways = {way["kind"]: way for way in begun["recoveries"]}
    assert ways["retry"]["allowed"] and not ways["skip"]["allowed"]
    assert "approver" in ways["skip"]["why_not"]


def test_each_reader_is_told_what_is_open_to_them(as_approver, as_auditor, make):
    plan = make(broken())
    told = as_approver.get(f"/plans/{plan.pk}/partial-result").json()
    assert [way["allowed"] for way in told["begun"][0]["recoveries"]] == [True, True]
    told = as_auditor.get(f"/plans/{plan.pk}/partial-result").json()
    assert [way["allowed"] for way in told["begun"][0]["recoveries"]] == [False, False]


def test_a_plan_in_any_stage_has_an_answer(as_requester, requester, make, plan):
    told = as_requester.get(f"/plans/{plan.pk}/partial-result").json()
    assert (told["sentence"], told["recoverable"]) == ("Nothing of it has run.", False)
    done = make(step("b"))
    told = as_requester.get(f"/plans/{done.pk}/partial-result").json()
    assert (told["sentence"], told["because"]) == ("b stays done.", "The plan is completed; nothing is left to do.")


def test_strangers_learn_nothing(make, nobody):
    from audit.authority import Role
    from tests.api.conftest import Program

    plan = make(broken())
    stranger = Program(factories.make_token(factories.make_user("stranger", Role.REQUESTER)))
    is_problem(stranger.get(f"/plans/{plan.pk}/partial-result"), 404)
    is_problem(stranger.post(f"/plans/{plan.pk}/steps/a/give-up", {"reason": "x"}), 404)
    is_problem(nobody.get(f"/plans/{plan.pk}/partial-result"), 401)
    blind = Program(factories.make_token(plan.requester, "requests:write"))
    is_problem(blind.get(f"/plans/{plan.pk}/partial-result"), 403)


def test_a_waiting_step_tells_its_next_try_and_begins_it_when_asked(as_requester, make, engine):
    plan = make(flaky())
    told = as_requester.get(f"/plans/{plan.pk}").json()["steps"][0]
    assert told["status"] == "waiting"
    assert told["attempts"][0]["transient"] is True and told["attempts"][0]["next_at"] is None
    assert told["attempts"][1]["next_at"] and told["attempts"][1]["status"] == "due"
    begun = as_requester.get(f"/plans/{plan.pk}/partial-result").json()["begun"][0]
    assert (begun["next_try"], begun["most_tries"]) == (2, 3)
    assert begun["next_at"] == told["attempts"][1]["next_at"]
    assert as_requester.post(f"/plans/{plan.pk}/steps/a/retry").status_code == 200
    engine.run()
    assert stage(plan) == "completed"


def test_a_waiting_step_is_given_up_with_a_reason(as_requester, make):
    plan = make(flaky())
    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": None}, {"reason": 5}, {"reason": "x", "hosts": []}):
        is_problem(as_requester.post(f"/plans/{plan.pk}/steps/a/give-up", body), 422)
    told = as_requester.post(f"/plans/{plan.pk}/steps/a/give-up", {"reason": "the host is gone"})
    assert told.status_code == 200 and told.json()["stage"] == "failed"
    is_problem(as_requester.post(f"/plans/{plan.pk}/steps/a/give-up", {"reason": "again"}), 409, "illegal_transition")


@pytest.mark.parametrize("key", ["nothing", "A", "a%00", "a%20b", "x" * 500])
def test_a_step_that_is_not_there_is_not_given_up(as_requester, make, key):
    plan = make(flaky())
    is_problem(as_requester.post(f"/plans/{plan.pk}/steps/{key}/give-up", {"reason": "x"}), 404)


@pytest.mark.parametrize("hosts", ["all", "", "web1", ["web1"], 1, True, {}])
def test_hosts_are_unfinished_or_not_said(as_requester, make, hosts):
    plan = make(broken())
    for path in (f"/plans/{plan.pk}/retry", f"/plans/{plan.pk}/steps/a/retry"):
        is_problem(as_requester.post(path, {"hosts": hosts}), 422)
    assert Attempt.objects.filter(plan=plan).count() == 1


def test_hosts_that_are_not_known_are_a_conflict_and_nothing_is_tried(as_requester, make):
    plan = make(broken())
    for path in (f"/plans/{plan.pk}/retry", f"/plans/{plan.pk}/steps/a/retry"):
        problem = is_problem(as_requester.post(path, {"hosts": "unfinished"}), 409, "hosts_unknown")
        assert "Try it as a whole" in problem["detail"]
    assert (Attempt.objects.filter(plan=plan).count(), stage(plan)) == (1, "failed")


def test_a_narrowed_try_shows_its_hosts(as_requester, make, requester):
    from audit.context import Actor

    plan = make(broken())
    services.retry_step(actor=Actor.person(requester), plan_id=plan.pk, key="a")
    Attempt.objects.filter(plan=plan, number=2).update(only_hosts=["web1"])
    attempts = as_requester.get(f"/plans/{plan.pk}").json()["steps"][0]["attempts"]
    assert [one["only_hosts"] for one in attempts] == [None, ["web1"]]


@pytest.mark.parametrize(
    ("retry", "named"),
    [
        ({"attempts": 10**6}, "attempts"),
        ({"attempts": 0}, "attempts"),
        ({"attempts": 2.5}, "attempts"),
        ({"first_wait_seconds": -1}, "first_wait_seconds"),
        ({"first_wait_seconds": 10**400}, "first_wait_seconds"),
        ({"longest_wait_seconds": 10**9}, "longest_wait_seconds"),
        ({"factor": 1e308}, "factor"),
        ({"factor": "2"}, "factor"),
        ({"strategy": "forever"}, "strategy"),
        ({"strategy": None}, "strategy"),
        ({"jitter": 1}, "jitter"),
    ],
)
def test_a_retry_policy_out_of_bounds_is_named_before_anyone_is_asked(as_requester, retry, named):
    answer = as_requester.post("/plans", {"goal": "Try", "steps": [step("a", retry=retry)]})
    (error,) = is_problem(answer, 422)["errors"]
    assert error["loc"][:3] == ["body", "steps", 0] and named in error["msg"]
    assert not Plan.objects.exists()
