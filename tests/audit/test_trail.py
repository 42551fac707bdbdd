"""What is recorded stays: no change, no removal, and nothing without its transaction."""

import hashlib
import json
from datetime import UTC, datetime

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from audit import partitions, trail
from audit.canonical import canonical, sha256_hex
from audit.context import SYSTEM, Actor, acting
from audit.decisions import DECISIONS, sentence
from audit.errors import NoTransaction, UnknownDecision
from audit.ids import uuid7
from audit.models import DecisionRecord
from audit.proof import ProofState, check_record

from .conftest import record

MARA = ("person", "mara")


@pytest.fixture
def one(db) -> DecisionRecord:
    written = record("person.signed_in", actor=SYSTEM, reason="for a test", subject=MARA)
    return DecisionRecord.objects.get(sequence=written.sequence)


@pytest.mark.e2e_04
@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE audit_decisionrecord SET service = 'another' WHERE sequence = %(sequence)s",
        "UPDATE audit_decisionrecord SET at = at + interval '2 months' WHERE sequence = %(sequence)s",
        "DELETE FROM audit_decisionrecord WHERE sequence = %(sequence)s",
        "UPDATE {partition} SET canonical = '{{}}' WHERE sequence = %(sequence)s",
        "DELETE FROM {partition} WHERE sequence = %(sequence)s",
        "TRUNCATE audit_decisionrecord",
        "TRUNCATE {partition}",
        "TRUNCATE audit_decisionrecord_default",
    ],
)
def test_the_database_refuses_to_alter_or_remove_a_record_even_for_the_owner(one, attack):
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM audit_decisionrecord WHERE sequence = %s", [one.sequence])
        partition = cursor.fetchone()[0]
    assert partition == f"audit_decisionrecord_{one.at:%Y_%m}"
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(attack.format(partition=partition), {"sequence": one.sequence})
    assert check_record(DecisionRecord.objects.get(sequence=one.sequence))


@pytest.mark.parametrize(
    "attack",
    [
        lambda one: DecisionRecord.objects.filter(sequence=one.sequence).update(service="another"),
        lambda one: DecisionRecord.objects.filter(sequence=one.sequence).delete(),
        lambda one: one.delete(),
        lambda one: one.save(force_update=True),
    ],
)
def test_the_orm_is_refused_as_well(one, attack):
    with pytest.raises(DatabaseError), transaction.atomic():
        attack(one)
    assert DecisionRecord.objects.get(sequence=one.sequence).reason == "for a test"


@pytest.mark.e2e_04
@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE audit_decisionrecord SET service = 'x'",
        "DELETE FROM audit_decisionrecord",
        "TRUNCATE audit_decisionrecord",
        "ALTER TABLE audit_decisionrecord DISABLE TRIGGER ALL",
        "DROP TABLE audit_decisionrecord",
    ],
)
def test_the_applications_role_has_not_even_the_right_to(application_url, attack):
    with psycopg.connect(application_url) as link, pytest.raises(psycopg.errors.InsufficientPrivilege):
        link.execute(attack)


def test_a_record_needs_a_transaction(transactional_db):
    with pytest.raises(NoTransaction):
        trail.record("person.signed_in", subject=MARA)


@pytest.mark.e2e_04
def test_a_record_goes_when_its_change_is_rolled_back_and_stays_when_it_commits(transactional_db):
    def change_and_fail():
        with transaction.atomic():
            trail.record("person.signed_in", subject=MARA)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    assert not DecisionRecord.objects.exists()
    with transaction.atomic():
        trail.record("person.signed_in", subject=MARA)
    assert DecisionRecord.objects.count() == 1


def test_who_acted_and_on_which_trace_comes_from_the_context(db):
    trace_id = uuid7()
    with transaction.atomic(), acting(Actor.agent("forge-01"), trace_id):
        inside = trail.record("person.signed_in", subject=MARA)
    outside = record("person.signed_in", actor=SYSTEM, subject=MARA)
    assert (inside.actor_kind, inside.actor, inside.trace_id) == ("agent", "forge-01", trace_id)
    assert (outside.actor_kind, outside.actor, outside.trace_id) == ("system", "chiffon", None)


def test_a_type_that_is_not_in_the_table_is_refused(db):
    with pytest.raises(UnknownDecision, match="no decision type is called 'plan.eaten'"):
        record("plan.eaten", actor=SYSTEM, subject=MARA)


def test_a_record_without_the_facts_of_its_type_is_refused(db):
    with pytest.raises(UnknownDecision, match=r"plan\.approved needs digest, revision"):
        record("plan.approved", actor=SYSTEM, subject=MARA)
    assert not DecisionRecord.objects.exists()


def test_the_stored_bytes_are_the_canonical_form_and_their_hash_is_stored(one):
    assert one.sha256 == hashlib.sha256(one.canonical.encode()).hexdigest()
    content = json.loads(one.canonical)
    assert canonical(content).decode() == one.canonical
    assert (content["type"], content["reason"], content["actor"]) == (
        "person.signed_in",
        "for a test",
        {"kind": "system", "name": "chiffon"},
    )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), json_values, max_size=6))
def test_the_hash_does_not_depend_on_the_order_of_keys(value):
    assert sha256_hex(canonical(value)) == sha256_hex(canonical(dict(reversed(value.items()))))
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": 2**60}])
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(ValueError):
        canonical(value)


def test_facts_and_alternatives_come_back_and_the_columns_agree_with_the_bytes(db):
    written = record(
        "step.routed", actor=SYSTEM, subject=("step", uuid7()), alternatives=[{"agent": "forge-02", "score": 74.5}],
        step="deploy", agent="forge-01", reason="best", score=87, when=1.5e-7, nested={"ü": [None, True]},
    )  # fmt: skip
    stored = DecisionRecord.objects.get(sequence=written.sequence)
    assert check_record(stored).state is ProofState.MATCHES
    assert stored.alternatives == [{"agent": "forge-02", "score": 74.5}]


@pytest.mark.e2e_04
@pytest.mark.parametrize(
    ("column", "value", "state", "named"),
    [
        ("canonical", "{}", ProofState.BROKEN, ()),
        ("sha256", "0" * 64, ProofState.BROKEN, ()),
        ("service", "another", ProofState.COLUMNS_DIFFER, ("service",)),
        ("actor", "someone", ProofState.COLUMNS_DIFFER, ("actor",)),
        ("type", "person.signed_out", ProofState.COLUMNS_DIFFER, ("type",)),
        ("subject", "person:somebody", ProofState.COLUMNS_DIFFER, ("subject",)),
        ("subject", "", ProofState.COLUMNS_DIFFER, ("subject",)),
    ],
)
def test_an_altered_record_is_found_and_the_altered_column_named(one, column, value, state, named):
    setattr(one, column, value)
    proof = check_record(one)
    assert (proof.state, proof.differences, bool(proof)) == (state, named, False)


def test_a_record_altered_by_someone_who_can_switch_triggers_off_is_found(one):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_decisionrecord DISABLE TRIGGER USER")
        cursor.execute("UPDATE audit_decisionrecord SET service = 'another' WHERE sequence = %s", [one.sequence])
        cursor.execute("ALTER TABLE audit_decisionrecord ENABLE TRIGGER USER")
    assert check_record(DecisionRecord.objects.get(sequence=one.sequence)).differences == ("service",)


def test_what_is_empty_is_not_written_and_read_as_empty(db):
    one = record("person.signed_in", actor=SYSTEM, subject=("person", "p"))
    assert set(json.loads(one.canonical)) == {"actor", "at", "subject", "type", "v"}
    read = DecisionRecord.objects.get(sequence=one.sequence)
    assert (read.reason, read.alternatives, read.metadata, read.service) == ("", [], {}, "")
    assert check_record(read)


def test_a_record_of_the_first_version_still_proves_itself(db):
    trace, plan = uuid7(), uuid7()
    text = (
        '{"actor":{"kind":"system","name":"chiffon"},"alternatives":[],"at":"2026-11-20T10:00:00+00:00","metadata":{"now":"approved",'
        f'"was":"pending_approval"}},"plan_id":"{plan}","reason":"","service":"","subject":{{"id":"{plan}","kind":"plan"}},'
        f'"trace_id":"{trace}","type":"plan.stage_changed","v":1}}'
    )
    old = DecisionRecord(
        at=datetime(2026, 11, 20, 10, tzinfo=UTC), trace_id=trace, type="plan.stage_changed", actor_kind="system",
        actor="chiffon", canonical=text, sha256=hashlib.sha256(text.encode()).hexdigest(),
    )  # fmt: skip
    old.save(force_insert=True)
    read = DecisionRecord.objects.get(sequence=old.sequence)
    assert check_record(read)
    assert (read.subject_kind, read.subject_id, read.metadata["now"]) == ("plan", str(plan), "approved")


def test_a_hash_is_stored_as_bytes_and_read_as_digits(one):
    with connection.cursor() as cursor:
        cursor.execute("SELECT octet_length(sha256) FROM audit_decisionrecord WHERE sequence = %s", [one.sequence])
        assert cursor.fetchone() == (32,)
    assert DecisionRecord.objects.get(sha256=one.sha256).sha256 == hashlib.sha256(one.canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----",
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        "chf_0123456789abcdefghij-_",
        "$ANSIBLE_VAULT;1.1;AES256\n6162636465666768696a6b6c6d6e6f70",
    ],
)
def test_a_secret_of_a_known_shape_never_reaches_a_record(db, secret):
    written = record(
        "request.received", actor=SYSTEM, subject=("request", "1"), reason=f"see {secret}", text=[{"deep": secret}]
    )
    stored = DecisionRecord.objects.get(sequence=written.sequence)
    everything = stored.canonical + stored.reason + json.dumps(stored.metadata)
    assert secret not in everything
    assert secret.splitlines()[-1] not in everything
    assert "[hidden " in stored.reason
    assert check_record(stored)


@pytest.mark.parametrize("type_", sorted(DECISIONS))
def test_every_type_makes_a_sentence(type_):
    decision = DECISIONS[type_]
    said = sentence(
        type_, actor="Mara", subject="Plan 7", reason="because", facts={name: f"<{name}>" for name in decision.facts}
    )
    assert said
    assert "not recorded" not in said
    assert "{" not in said
    assert decision.tone in {"idle", "you", "run", "ok", "warn", "bad"}


@pytest.mark.parametrize("type_", sorted(DECISIONS))
def test_every_icon_of_a_type_is_in_the_sprite(type_, checkout):
    assert f'id="{DECISIONS[type_].icon}"' in (checkout / "static" / "icons.svg").read_text()


def test_a_sentence_says_what_is_missing_and_knows_no_unknown_type():
    assert (
        sentence("plan.approved", actor="M", subject="s", reason="", facts={})
        == "M approved revision (revision not recorded)"
    )
    assert sentence("plan.eaten", actor="M", subject="s", reason="hungry", facts={}) == "plan.eaten: hungry"
    assert (
        sentence("plan.rejected", actor="M", subject="s", reason="", facts={"revision": 2}) == "M rejected revision 2"
    )


def test_braces_in_what_a_person_wrote_are_only_text():
    said = sentence("request.received", actor="M", subject="s", reason="", facts={"text": "{actor.__class__} {0}"})
    assert said == "M asked: “{actor.__class__} {0}”"


def test_partitions_of_the_coming_months_are_made_once(db):
    partitions.ensure()
    assert partitions.ensure() == 0
    assert partitions.ensure(5) == 4  # two months more of two tables
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_decisionrecord'::regclass")
        assert cursor.fetchone()[0] == 7  # this month, five ahead, and the default


def test_a_new_partition_refuses_truncation_too(db):
    partitions.ensure(6)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_decisionrecord'::regclass"
        )
        children = [row[0] for row in cursor.fetchall()]
    for child in children:
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {child}")


def test_the_partition_function_serves_only_the_tables_it_was_made_for(db):
    with pytest.raises(DatabaseError, match="has no partitions"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT chiffon_make_partitions('auth_user', 'time', 1)")
