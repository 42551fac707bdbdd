"""The table of decision records, partitioned by month, and the function that makes partitions.

Written by hand where Django cannot say it: `PARTITION BY`, a primary key that holds the partition's column, and a
function that lets the application's role ask for next month's partition without owning the table.
"""

import django.db.models.functions.datetime
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

import audit.db

TABLE = """
CREATE SEQUENCE audit_decisionrecord_sequence AS bigint;
CREATE TABLE audit_decisionrecord (
    sequence bigint NOT NULL DEFAULT nextval('audit_decisionrecord_sequence'),
    at timestamptz NOT NULL DEFAULT statement_timestamp(),
    trace_id uuid,
    type text NOT NULL,
    actor_kind text NOT NULL,
    actor text NOT NULL,
    subject_kind text NOT NULL,
    subject_id text NOT NULL,
    service text NOT NULL,
    plan_id uuid,
    reason text NOT NULL,
    alternatives jsonb NOT NULL,
    metadata jsonb NOT NULL,
    canonical text NOT NULL,
    sha256 varchar(64) NOT NULL,
    PRIMARY KEY (sequence, at)
) PARTITION BY RANGE (at);
CREATE INDEX record_by_trace ON audit_decisionrecord (trace_id, sequence);
CREATE INDEX record_by_type ON audit_decisionrecord (type, sequence);
CREATE INDEX record_by_actor ON audit_decisionrecord (actor, sequence);
CREATE INDEX record_by_subject ON audit_decisionrecord (subject_kind, subject_id, sequence);
CREATE INDEX record_by_service ON audit_decisionrecord (service, sequence);
CREATE INDEX record_by_plan ON audit_decisionrecord (plan_id, sequence);
"""

# Months are half-open ranges in UTC. `kind` says what the partition key is: a time, or a UUID version 7, whose first
# 48 bits are Unix milliseconds (RFC 9562), so that a month of keys is a range of keys.
# SECURITY DEFINER: the application may ask for a partition of the tables that were made for it, and nothing else.
PARTITIONS = """
CREATE FUNCTION chiffon_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% on % is refused: the table is append-only', TG_OP, TG_TABLE_NAME; END $$;

CREATE FUNCTION chiffon_uuid7_floor(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

CREATE FUNCTION chiffon_make_partitions(parent text, kind text, ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first timestamptz := date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    since timestamptz;
    until timestamptz;
    child text;
    made integer := 0;
BEGIN
    IF (parent, kind) NOT IN (('audit_decisionrecord', 'time'), ('plans_outputline', 'uuid7')) THEN
        RAISE EXCEPTION '% has no partitions of kind %', parent, kind;
    END IF;
    FOR month IN 0..least(greatest(ahead, 0), 24) LOOP
        since := ((first AT TIME ZONE 'UTC') + make_interval(months => month)) AT TIME ZONE 'UTC';
        until := ((first AT TIME ZONE 'UTC') + make_interval(months => month + 1)) AT TIME ZONE 'UTC';
        child := parent || to_char(since AT TIME ZONE 'UTC', '_YYYY_MM');
        CONTINUE WHEN to_regclass(child) IS NOT NULL;
        IF kind = 'time' THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', child, parent, since, until);
        ELSE
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', child, parent,
                           chiffon_uuid7_floor(since), chiffon_uuid7_floor(until));
        END IF;
        IF parent = 'audit_decisionrecord' THEN  -- statement triggers are not inherited by partitions
            EXECUTE format('CREATE TRIGGER never_truncated BEFORE TRUNCATE ON %I '
                           'FOR EACH STATEMENT EXECUTE FUNCTION chiffon_refuse()', child);
        END IF;
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

CREATE TABLE audit_decisionrecord_default PARTITION OF audit_decisionrecord DEFAULT;
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON audit_decisionrecord_default
    FOR EACH STATEMENT EXECUTE FUNCTION chiffon_refuse();
SELECT chiffon_make_partitions('audit_decisionrecord', 'time', 3);
"""

REVERSE = """
DROP TABLE audit_decisionrecord;
DROP FUNCTION chiffon_make_partitions(text, text, integer);
DROP FUNCTION chiffon_uuid7_floor(timestamptz);
DROP FUNCTION chiffon_refuse();
DROP SEQUENCE audit_decisionrecord_sequence;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLE + PARTITIONS, REVERSE)],
            state_operations=[
                migrations.CreateModel(
                    name="DecisionRecord",
                    fields=[
                        (
                            "sequence",
                            models.BigIntegerField(
                                db_default=audit.db.NextVal("audit_decisionrecord_sequence"),
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("trace_id", models.UUIDField(null=True)),
                        ("type", models.TextField()),
                        ("actor_kind", models.TextField()),
                        ("actor", models.TextField()),
                        ("subject_kind", models.TextField()),
                        ("subject_id", models.TextField()),
                        (
                            "service",
                            models.TextField(default="", help_text="The service the subject belongs to, such as kuma."),
                        ),
                        (
                            "plan_id",
                            models.UUIDField(help_text="The plan this belongs to, if it belongs to one.", null=True),
                        ),
                        ("reason", models.TextField(default="")),
                        ("alternatives", models.JSONField(default=list)),
                        ("metadata", models.JSONField(default=dict)),
                        (
                            "canonical",
                            models.TextField(help_text="What is hashed: these bytes, never the columns beside them."),
                        ),
                        ("sha256", models.CharField(max_length=64)),
                    ],
                    options={
                        "verbose_name": "decision record",
                        "ordering": ["-sequence"],
                        "indexes": [
                            models.Index(fields=["trace_id", "sequence"], name="record_by_trace"),
                            models.Index(fields=["type", "sequence"], name="record_by_type"),
                            models.Index(fields=["actor", "sequence"], name="record_by_actor"),
                            models.Index(fields=["subject_kind", "subject_id", "sequence"], name="record_by_subject"),
                            models.Index(fields=["service", "sequence"], name="record_by_service"),
                            models.Index(fields=["plan_id", "sequence"], name="record_by_plan"),
                        ],
                    },
                ),
            ],
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="decisionrecord",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="4b2c049fde2a0d8209f7904406d9fed9cccec6ad",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_a34da",
                    table="audit_decisionrecord",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="decisionrecord",
            trigger=pgtrigger.compiler.Trigger(
                name="never_truncated",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot truncate rows from % table', TG_TABLE_NAME;",
                    hash="c13892fa2122913c77df5892e53c09d0c0f6ae15",
                    level="STATEMENT",
                    operation="TRUNCATE",
                    pgid="pgtrigger_never_truncated_79a05",
                    table="audit_decisionrecord",
                    when="BEFORE",
                ),
            ),
        ),
    ]
