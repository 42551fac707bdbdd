"""A step waits from the start and is only read as pending before approval: to approve a plan no longer touches each of its steps."""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

# What LegalMoves.define() said when this was written: the trigger below asks this function.
FUNCTION = """
CREATE OR REPLACE FUNCTION legal_step_status_48490705(was text, now text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN was = now OR was || ':' || now = ANY ('{waiting:cancelled,waiting:failed,waiting:ready,waiting:running,waiting:skipped,ready:cancelled,ready:failed,ready:running,ready:skipped,ready:waiting,running:cancelled,running:completed,running:failed,running:ready,running:unknown,running:waiting,failed:cancelled,failed:ready,failed:skipped,failed:waiting,unknown:cancelled,unknown:failed,unknown:ready,unknown:skipped,unknown:waiting}'::text[]); END $$;
"""
# As plans/waiting.py words it.
WAIT = """
UPDATE plans_step step SET status = 'waiting', waiting_for = CASE
    WHEN step.kind = 'rollback' THEN 'Runs only if the plan is rolled back.'
    WHEN step.unmet = 0 THEN 'Waits for its turn.'
    ELSE (SELECT 'Waits for ' || CASE WHEN count(*) > 5 THEN count(*) || ' steps' ELSE string_agg(upstream.key, ', ' ORDER BY upstream.key) END || '.'
        FROM plans_dependency edge JOIN plans_step upstream ON upstream.id = edge.upstream_id WHERE edge.downstream_id = step.id) END
    WHERE step.status = 'pending';
SET CONSTRAINTS ALL IMMEDIATE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0018_fewer_indexes"),
    ]

    operations = [
        migrations.RunSQL(WAIT + FUNCTION, migrations.RunSQL.noop),
        pgtrigger.migrations.RemoveTrigger(
            model_name="step",
            name="legal_step_status",
        ),
        migrations.AlterField(
            model_name="step",
            name="status",
            field=models.CharField(
                choices=[
                    ("pending", "Pending"),
                    ("waiting", "Waiting"),
                    ("ready", "Ready"),
                    ("running", "Running"),
                    ("completed", "Completed"),
                    ("failed", "Failed"),
                    ("skipped", "Skipped"),
                    ("cancelled", "Cancelled"),
                    ("unknown", "Unknown"),
                ],
                default="waiting",
                max_length=16,
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="step",
            trigger=pgtrigger.compiler.Trigger(
                name="legal_step_status",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (NOT legal_step_status_48490705(OLD."status", NEW."status"))',
                    func='RAISE EXCEPTION \'pgtrigger: Invalid transition of field "status" from "%" to "%" on table %\', OLD."status", NEW."status", TG_TABLE_NAME;',
                    hash="d4f9085223ee51b6ef2ad6bd4e3ce0e133c64feb",
                    operation='UPDATE OF "status"',
                    pgid="pgtrigger_legal_step_status_fe362",
                    table="plans_step",
                    when="AFTER",
                ),
            ),
        ),
    ]
