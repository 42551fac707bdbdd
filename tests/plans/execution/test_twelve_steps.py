"""One plan of twelve steps with everything a plan can say, from its approval to its rollback, and on its pages."""

import pytest
from django.urls import reverse

from chiffon_site.cli.show import describe
from plans.models import Step
from plans.selectors.steps import graph_of
from tests.engine import Engine, stage, statuses
from tests.factories import step
from tests.plans.execution.steps import failing, output, row, say, why

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


def undo(value):
    return {"tool": "diagnostic.echo", "input": {"value": value}}


def twelve(times):
    """Find hosts, prepare and deploy on each, ask in two ways, verify, and tell; `verify` fails so often."""
    return [
        say("find", {"hosts": ["atlas", "forge", "nas"], "risky": False}),
        say("backup", depends_on=["find"]),
        say("lock", depends_on=["find"], rollback=undo("unlock")),
        say("prepare", "{{ index }} {{ item }}", for_each="{{ steps.find.output.value.hosts }}",
            depends_on=["backup", "lock"]),
        say("drain", depends_on=["prepare"], when="steps.find.output.value.risky"),
        say("deploy", "on {{ item }}", for_each=["atlas", "forge", "nas"], depends_on=["drain"],
            rollback=undo("remove {{ steps.deploy.output.items }}")),
        failing("dns", on_failure="fallback", fallback=undo("by hand"), depends_on=["deploy"]),
        failing("warm", on_failure="continue", depends_on=["deploy"]),
        say("config", "{{ steps.dns.output.value }}", depends_on=["dns"], rollback=undo("old config")),
        failing("verify", times, depends_on=["config", "warm"], on_failure="rollback"),
        say("announce", "{{ steps.deploy.output.items[0].value }}", depends_on=["verify"]),
        step("close", "diagnostic.noop", depends_on=["announce"]),
    ]  # fmt: skip


@pytest.fixture(params=[0, 60], ids=["one step per message", "agents go on by themselves"])
def engine(request):
    return Engine(go_on_for=request.param)


def test_it_goes_well(approved, engine):
    plan = approved(*twelve(0))
    engine.run()
    assert stage(plan) == "completed"
    assert why(plan) == "10 of 12 steps are done; drain was skipped; warm failed and was not needed."
    assert output(plan, "prepare") == {"items": [{"value": "0 atlas"}, {"value": "1 forge"}, {"value": "2 nas"}]}
    assert output(plan, "config") == {"value": "by hand"}
    assert output(plan, "announce") == {"value": "on atlas"}
    assert {key: status for key, status in statuses(plan).items() if key.endswith("rollback")} == {
        "config.rollback": "skipped", "deploy.rollback": "skipped", "lock.rollback": "skipped",
    }  # fmt: skip


def test_it_fails_late_and_everything_that_says_how_is_undone(approved, engine):
    plan = approved(*twelve(9))
    engine.run()
    assert stage(plan) == "failed"
    assert why(plan) == (
        "verify failed. config, deploy, lock were rolled back; find, backup, prepare, dns stay done and can not be undone."
    )
    assert output(plan, "deploy.rollback") == {
        "value": "remove [{'value': 'on atlas'}, {'value': 'on forge'}, {'value': 'on nas'}]"
    }
    assert statuses(plan)["announce"] == "waiting"


def drawn(plan):
    plan.refresh_from_db()
    return graph_of(plan, row(plan, "find").revision, link="?step={key}")[0]


def test_its_graph_shows_lists_conditions_fallbacks_and_rollbacks_as_they_go(approved, engine):
    plan = approved(*twelve(9))
    boxes = {box.node.key: box for box in drawn(plan).boxes}
    assert len(boxes) == 15
    assert boxes["prepare"].node.sub == "diagnostic.echo × each item"
    assert boxes["deploy"].node.sub == "diagnostic.echo × 3 items"
    assert boxes["dns"].node.sub == "diagnostic.fail or diagnostic.echo"
    assert boxes["drain"].node.marks == (("diff", "only if steps.find.output.value.risky"),)
    assert boxes["lock.rollback"].node.ghost
    assert boxes["lock.rollback"].x == boxes["lock"].x
    assert boxes["lock.rollback"].y > max(box.y for key, box in boxes.items() if not key.endswith("rollback"))
    engine.run()
    drawing = drawn(plan)
    boxes = {box.node.key: box for box in drawing.boxes}
    assert boxes["deploy"].node.state == "Completed, 3 of 3 done"
    assert [part.tone for part in boxes["deploy"].segments] == ["ok"]
    assert boxes["dns"].node.sub == "by fallback diagnostic.echo"
    assert not boxes["lock.rollback"].node.ghost
    assert drawing.says == "7 completed, 1 skipped, 2 failed, 2 waiting; 3 can be undone"
    assert all(box.x + box.width <= drawing.width and box.y + box.height <= drawing.height for box in boxes.values())


def test_its_pages_show_the_same_with_and_without_a_run(approved, engine, client, approver):
    client.force_login(approver)
    plan = approved(*twelve(9))
    page = client.get(reverse("plans:plan", args=[plan.number])).text
    assert "Runs once for each of 3 items: atlas, forge, nas, all side by side." in page
    assert "Runs once for each item of {{ steps.find.output.value.hosts }}, at most 200" in page
    assert "If it fails for good, <code>diagnostic.echo</code> goes on with" in page
    assert "on failure: undo what was done" in page
    assert "Undo deploy" in page
    assert "Only if the plan is rolled back" in page
    engine.run()
    page = client.get(reverse("plans:run", args=[plan.number]), {"step": "deploy.1"}).text
    assert "config, deploy, lock were rolled back" in page
    assert "Output of deploy.1" in page
    assert "by fallback diagnostic.echo" in page
    assert "7 of 12 steps done" in page
    assert "need a person" not in page  # nothing of it can go on
    assert 'id="step-deploy.1"' in page
    assert "Undo config" in page and "config.rollback</strong>" not in page
    assert client.get("/").status_code == 200
    assert "a person" not in client.get("/plans/").text


def test_after_its_rollback_it_says_what_stays_what_is_undone_and_that_it_does_not_go_on(
    approved, engine, client, approver
):
    client.force_login(approver)
    plan = approved(*twelve(9))
    engine.run()
    left = client.get(f"/api/v1/plans/{plan.number}/partial-result").json()
    assert left["sentence"].startswith(
        "find, backup, prepare and 1 more stay done. config, deploy and lock were rolled back. "
    )
    assert left["sentence"].endswith("announce and close did not start.")
    assert not left["recoverable"] and left["because"].startswith("It was rolled back")
    assert {way["allowed"] for step in left["begun"] for way in step["recoveries"]} == {False}
    page = client.get(reverse("plans:run", args=[plan.number])).text
    assert "Output of verify" in page  # the plan could do without warm, which failed before it


def test_while_a_list_runs_one_reads_an_item_and_not_the_step_that_says_nothing(approved, engine, client, approver):
    client.force_login(approver)
    plan = approved(step("all", "diagnostic.lines", input={"count": 3}, for_each=[1, 2]))
    engine.run()
    assert "Output of all.1" in client.get(reverse("plans:run", args=[plan.number])).text
    assert why(plan) == "Its step is done."


def test_the_api_tells_items_after_their_step_and_what_undoes_it_last(approved, engine, client, approver):
    client.force_login(approver)
    plan = approved(*twelve(9))
    engine.run()
    told = client.get(f"/api/v1/plans/{plan.number}").json()
    keys = [one["key"] for one in told["steps"]]
    assert keys[:7] == ["find", "backup", "lock", "prepare", "prepare.0", "prepare.1", "prepare.2"]
    assert keys[-3:] == ["config.rollback", "deploy.rollback", "lock.rollback"]
    by_key = {one["key"]: one for one in told["steps"]}
    item = by_key["prepare.1"]
    assert (item["kind"], item["parent"], item["item"], item["item_index"]) == ("item", "prepare", "forge", 1)
    assert item["task_id"] == str(Step.objects.get(plan=plan, key="prepare.1").pk)
    assert by_key["prepare"]["items"] == ["atlas", "forge", "nas"]
    assert by_key["prepare"]["for_each"] == "{{ steps.find.output.value.hosts }}"
    assert by_key["dns"]["fallback"] == {"tool": "diagnostic.echo", "input": {"value": "by hand"}, "playbook": None}
    assert [(one["tool"], one["by_fallback"]) for one in by_key["dns"]["attempts"]] == [
        ("diagnostic.fail", False), ("diagnostic.echo", True),
    ]  # fmt: skip
    assert (by_key["lock.rollback"]["kind"], by_key["lock.rollback"]["parent"]) == ("rollback", "lock")
    assert told["rollback_reason"] == "verify failed."
    text = describe(told)
    assert "Rollback   verify failed. config, deploy, lock were rolled back;" in text
    assert 'for each of: ["atlas", "forge", "nas"]' in text
    assert 'fallback: diagnostic.echo {"value": "by hand"} (it was used)' in text
    assert "only if: steps.find.output.value.risky" in text
