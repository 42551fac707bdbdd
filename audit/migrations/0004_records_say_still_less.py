"""What a record is about stands in a column only where that is how it is found: not for plans, steps and attempts, which have a trace.

Nothing is lost: each record's canonical bytes say it.
"""

from django.db import migrations, models

# The table's rows are written anew, which takes about a second for each 100 000 records.
ONE_COLUMN = """
ALTER TABLE audit_decisionrecord ALTER COLUMN subject_id TYPE text
    USING CASE WHEN subject_kind IN ('attempt', 'plan', 'step') THEN '' ELSE subject_kind || ':' || subject_id END;
ALTER TABLE audit_decisionrecord RENAME COLUMN subject_id TO subject;
ALTER TABLE audit_decisionrecord DROP COLUMN subject_kind, DROP COLUMN plan_id;
"""
THREE_COLUMNS = """
ALTER TABLE audit_decisionrecord RENAME COLUMN subject TO subject_id;
ALTER TABLE audit_decisionrecord ADD COLUMN subject_kind text NOT NULL DEFAULT '', ADD COLUMN plan_id uuid;
ALTER TABLE audit_decisionrecord ALTER COLUMN subject_kind TYPE text USING canonical::jsonb #>> '{subject,kind}',
    ALTER COLUMN subject_id TYPE text USING canonical::jsonb #>> '{subject,id}',
    ALTER COLUMN plan_id TYPE uuid USING (canonical::jsonb ->> 'plan_id')::uuid;
ALTER TABLE audit_decisionrecord ALTER COLUMN subject_kind DROP DEFAULT;
"""

# A partition remembers each column that was ever dropped, and its rows are eight bytes longer for it. Those that hold nothing yet,
# which on a new installation are all, are made anew without.
NEW_PARTITIONS = """
DO $$
DECLARE
    v_child regclass;
    v_filled boolean;
BEGIN
    FOR v_child IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'audit_decisionrecord'::regclass LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', v_child) INTO v_filled;
        IF NOT v_filled THEN
            EXECUTE format('DROP TABLE %s', v_child);
        END IF;
    END LOOP;
    PERFORM chiffon_make_partitions('audit_decisionrecord', 'time', 3);
    IF to_regclass('audit_decisionrecord_default') IS NULL THEN
        CREATE TABLE audit_decisionrecord_default PARTITION OF audit_decisionrecord DEFAULT;
        CREATE TRIGGER never_truncated BEFORE TRUNCATE ON audit_decisionrecord_default FOR EACH STATEMENT EXECUTE FUNCTION chiffon_refuse();
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_records_are_shorter"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="decisionrecord", name="record_by_trace"),
        migrations.RemoveIndex(model_name="decisionrecord", name="record_by_rare_type"),
        migrations.RemoveIndex(model_name="decisionrecord", name="record_by_person"),
        migrations.RemoveIndex(model_name="decisionrecord", name="record_by_subject"),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(ONE_COLUMN, THREE_COLUMNS),
                migrations.RunSQL(NEW_PARTITIONS, migrations.RunSQL.noop),
            ],
            state_operations=[
                migrations.RemoveField(model_name="decisionrecord", name="plan_id"),
                migrations.RemoveField(model_name="decisionrecord", name="subject_kind"),
                migrations.RemoveField(model_name="decisionrecord", name="subject_id"),
                migrations.AddField(
                    model_name="decisionrecord",
                    name="subject",
                    field=models.TextField(
                        default="", help_text="What it is about as kind:id; empty: found through its trace."
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="decisionrecord", index=models.Index(fields=["trace_id"], name="record_by_trace")
        ),
        migrations.AddIndex(
            model_name="decisionrecord",
            index=models.Index(
                condition=models.Q(
                    ("type__in", ("attempt.started", "attempt.completed", "plan.stage_changed")),
                    _negated=True,
                ),
                fields=["type", "sequence"],
                name="record_by_rare_type",
            ),
        ),
        migrations.AddIndex(
            model_name="decisionrecord",
            index=models.Index(
                condition=models.Q(("actor_kind", "person")), fields=["actor", "sequence"], name="record_by_person"
            ),
        ),
        migrations.AddIndex(
            model_name="decisionrecord",
            index=models.Index(
                condition=models.Q(("subject", ""), _negated=True),
                fields=["subject", "sequence"],
                name="record_by_subject",
            ),
        ),
    ]
