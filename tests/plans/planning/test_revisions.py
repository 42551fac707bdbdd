"""A revision as a program would write it: handed back unchanged, it is the same plan, whatever it says."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models import Playbook, PlaybookRepository
from audit.context import Actor
from plans import services
from plans.digest import leaf
from plans.enums import RequestStatus
from plans.errors import Refused
from plans.models import Plan, Request, Revision, Step
from plans.planning.revisions import kept_of, program_of
from plans.planning.saving import contents_of, header_of
from plans.services.asking import valid_draft
from plans.services.revising import revision_before
from tests import factories
from tests.factories import step
from tests.homelab import Homelab
from tests.plans.execution.test_twelve_steps import twelve

pytestmark = pytest.mark.django_db
ECHO = {"tool": "diagnostic.echo", "input": {"value": [1, None, {"x": "{{ steps.first.output.value }}"}]}}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab é", max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=2),
    max_leaves=5,
)
RETRY = st.fixed_dictionaries(
    {},
    optional={
        "strategy": st.sampled_from(["none", "linear", "exponential"]),
        "attempts": st.integers(1, 10),
        "first_wait_seconds": st.floats(0, 9),
    },
)
MORE = st.fixed_dictionaries(
    {"input": st.fixed_dictionaries({"value": VALUES})},
    optional={
        "name": st.sampled_from(["Say it", ""]),
        "reason": st.sampled_from(["Because", ""]),
        "work_type": st.sampled_from(["", "special"]),
        "resources": st.just({"labels": ["gpu"]}),
        "timeout_seconds": st.integers(1, 3600),
        "retry": RETRY,
        "when": st.sampled_from(["", "true", "steps.first.status == 'completed'"]),
        "for_each": st.sampled_from([[], ["x", 2, None], "{{ steps.first.output.value }}"]),
        "rollback": st.just(ECHO),
        "depends_on": st.just(["first"]),
    },
)
FAILURE = st.sampled_from(
    [{}, {"on_failure": "continue"}, {"on_failure": "rollback"}, {"on_failure": "fallback", "fallback": ECHO}]
)


def read_again(plan):
    """The leaves and the header of a plan's revision as it is stored, and as its own program makes them."""
    before = revision_before(plan)
    draft = valid_draft(plan.goal, before.program, before.revision.budget, plan.max_parallel, kept=kept_of(before.rows))
    again = {key: leaf(content) for key, content in contents_of(draft).items()}
    return (before.revision.header, {row.key: row.leaf for row in before.rows}), (header_of(draft, {}), again)


@pytest.mark.parametrize("times", [0, 9])
def test_everything_a_plan_can_say_comes_back(requester, times):
    steps = twelve(times)
    plan = factories.make_plan(requester, steps, budget={"cost_ceiling": 2.5, "call_ceiling": 99}, max_parallel=2)
    stored, again = read_again(plan)
    assert stored == again and len(stored[1]) == 15


@given(more=MORE, failure=FAILURE)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_step_comes_back(requester, more, failure):
    if failure.get("on_failure") == "rollback":
        more = {**more, "rollback": ECHO}
    waits = {**more, "depends_on": ["first"]}
    plan = factories.make_plan(
        requester, [step("first"), {"key": "any", "tool": "diagnostic.echo", **waits, **failure}]
    )
    stored, again = read_again(plan)
    assert stored == again


def test_a_playbook_comes_back_with_its_variables_its_fallback_and_what_undoes_it(requester):
    repository = PlaybookRepository.objects.create(
        name="homelab", location="/x", commit="c" * 40, tree="t" * 40, inventory="hosts.yml"
    )
    for path, more in {
        "up.yml": {"reversible_by": "down.yml", "service": "kuma"},
        "down.yml": {},
        "other.yml": {},
    }.items():
        known = {"variables": [{"name": name, "type": "integer"} for name in ("port", "a")]}
        Playbook.objects.create(repository=repository, path=path, details=known, **more)
    by = lambda path, **values: {"tool": "ansible.playbook", "input": {"playbook": path, "variables": values}}  # noqa: E731
    up = {"key": "up", **by("up.yml", port=3001), "on_failure": "fallback", "fallback": by("other.yml", a=1)}
    plan = factories.make_plan(
        requester, [up, {"key": "check", "tool": "diagnostic.noop", "depends_on": ["up"], "on_failure": "rollback"}]
    )
    stored, again = read_again(plan)
    assert stored == again and set(stored[1]) == {"up", "check", "up.rollback"}


@pytest.fixture
def from_words(requester, tmp_path):
    """A plan that came from words, with a limit, tags and everything a program can not say."""
    factories.make_policy()
    Homelab(tmp_path).read()
    who = Actor.person(requester)
    request = services.submit_request(actor=who, text="Deploy Uptime Kuma to the homelab")
    while request.status == RequestStatus.NEEDS_CLARIFICATION:
        assert request.decomposition
        answer = request.decomposition["ambiguities"][0]["options"][0]["value"]
        request = services.answer_request(actor=who, request_id=request.pk, text=answer)
    return Plan.objects.get(request=Request.objects.get(pk=request.pk))


def test_a_plan_from_words_comes_back_with_all_that_only_words_can_say(from_words, requester):
    stored, again = read_again(from_words)
    assert stored == again
    first = Step.objects.filter(plan=from_words).earliest("index")
    told = revision_before(from_words).program
    name, value = next((name, value) for name, value in first.input.items() if isinstance(value, int))
    told[0]["input"]["variables"][name] = value + 1
    services.revise_plan(actor=Actor.person(requester), plan_id=from_words.pk, steps=told, reason="Another port")
    now = Step.objects.get(revision=Revision.objects.get(plan=from_words, number=2), key=first.key)
    for kept in (
        "playbook",
        "hosts",
        "span",
        "reason",
        "service",
        "reversible_by",
        "estimated_seconds",
        "name",
        "retry",
    ):
        assert getattr(now, kept) == getattr(first, kept), kept
    others = {key: origin for key, origin in first.origins.items() if key != name}
    assert {key: origin for key, origin in now.origins.items() if key != name} == others
    assert now.origins[name] != first.origins[name] and now.input == {**first.input, name: value + 1}
    assert Plan.objects.get(pk=from_words.pk).summary == from_words.summary


def test_a_limit_goes_with_the_step_and_its_undoing_but_not_to_another_playbook(from_words):
    before = revision_before(from_words)
    row = before.rows[0]
    assert row.playbook
    row.playbook = {**row.playbook, "limit": "atlas", "tags": ["config"]}
    kept = kept_of(before.rows)
    steps = program_of(before.rows, before.upstream)
    undo = {"tool": "ansible.playbook", "input": {"playbook": row.playbook["path"], "variables": row.input}}
    (first, *_) = valid_draft("x", [{**steps[0], "rollback": undo}, *steps[1:]], {}, None, kept=kept).steps
    assert first.playbook and first.rollback and first.rollback.playbook
    assert (first.playbook["limit"], first.playbook["tags"]) == ("atlas", ["config"])
    assert first.rollback.playbook["limit"] == "atlas"
    (first, *_) = valid_draft("x", steps, {}, None).steps
    assert first.playbook and first.playbook["limit"] == ""


def test_a_plan_that_is_handed_back_as_it_is_makes_no_revision(from_words, requester):
    told = revision_before(from_words).program
    with pytest.raises(Refused, match="Nothing of what is approved would change"):
        services.revise_plan(actor=Actor.person(requester), plan_id=from_words.pk, steps=told, reason="x")


def test_a_newer_commit_of_the_playbooks_is_a_change(from_words, requester):
    PlaybookRepository.objects.update(commit="e" * 40)
    told = revision_before(from_words).program
    services.revise_plan(
        actor=Actor.person(requester), plan_id=from_words.pk, steps=told, reason="The playbook is mended"
    )
    assert Revision.objects.get(plan=from_words, number=2).commit == "e" * 40
