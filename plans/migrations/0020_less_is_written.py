"""What a step writes of itself is shorter: text instead of jsonb, what changes at the end of its row, no index on a plan's stage."""

from django.db import migrations, models

import audit.db

# Made anew after the migrations, with other arguments.
FORGET = """
DO $$ DECLARE old regprocedure; BEGIN
    FOR old IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname IN (
        'chiffon_finish', 'chiffon_next', 'chiffon_take', 'chiffon_claim')
    LOOP
        EXECUTE 'DROP FUNCTION ' || old;
    END LOOP;
END $$;
"""

# Of a row that is changed, PostgreSQL logs what lies between the first and the last byte that differ: so an attempt's columns that
# its end changes become its last ones. What depends on them goes with them and is made again as it was.
TOGETHER = """
DO $$
DECLARE
    v_columns text[] := '{status,lease_until,summary,output,resources_used,finished_at}';
    v_depend text[];
    v_triggers text[];
    v_column record;
    v_made text;
BEGIN
    SELECT array_agg(pg_get_triggerdef(oid) ||
            coalesce(format('; COMMENT ON TRIGGER %I ON plans_attempt IS %L', tgname, obj_description(oid, 'pg_trigger')), ''))
        INTO v_triggers FROM pg_trigger WHERE tgrelid = 'plans_attempt'::regclass AND NOT tgisinternal;
    SELECT array_agg(made) INTO v_depend FROM (
        SELECT pg_get_indexdef(indexrelid) AS made FROM pg_index WHERE indrelid = 'plans_attempt'::regclass
            AND pg_get_indexdef(indexrelid) ~ ' WHERE .*status'
        UNION ALL
        SELECT format('ALTER TABLE plans_attempt ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
            WHERE conrelid = 'plans_attempt'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) ~ 'status'
    ) found;
    FOR v_column IN SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
        WHERE attrelid = 'plans_attempt'::regclass AND attname = ANY (v_columns) AND NOT attisdropped ORDER BY array_position(v_columns, attname::text)
    LOOP
        EXECUTE format('ALTER TABLE plans_attempt ADD COLUMN %I %s', 'new_' || v_column.attname, v_column.type);
    END LOOP;
    UPDATE plans_attempt SET new_status = status, new_lease_until = lease_until, new_summary = summary, new_output = output,
        new_resources_used = resources_used, new_finished_at = finished_at;
    FOR v_column IN SELECT attname, attnotnull FROM pg_attribute
        WHERE attrelid = 'plans_attempt'::regclass AND attname = ANY (v_columns) AND NOT attisdropped
    LOOP
        EXECUTE format('ALTER TABLE plans_attempt DROP COLUMN %I CASCADE', v_column.attname);
        EXECUTE format('ALTER TABLE plans_attempt RENAME COLUMN %I TO %I', 'new_' || v_column.attname, v_column.attname);
        IF v_column.attnotnull THEN
            EXECUTE format('ALTER TABLE plans_attempt ALTER COLUMN %I SET NOT NULL', v_column.attname);
        END IF;
    END LOOP;
    FOREACH v_made IN ARRAY v_depend LOOP
        EXECUTE v_made;
    END LOOP;
    FOREACH v_made IN ARRAY coalesce(v_triggers, '{}') LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'plans_attempt'::regclass AND v_made LIKE 'CREATE TRIGGER ' || tgname || ' %') THEN
            EXECUTE v_made;
        END IF;
    END LOOP;
END $$;
"""

# The rows of this table are few, and read and removed together: an index would be half of what one of them writes.
NO_INDEX = "ALTER TABLE plans_unwrittentask DROP CONSTRAINT IF EXISTS plans_unwrittentask_pkey"
AN_INDEX = "ALTER TABLE plans_unwrittentask ADD PRIMARY KEY (attempt_id)"


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0004_records_say_still_less"),
        ("plans", "0019_steps_wait_from_the_start"),
    ]

    operations = [
        migrations.RunSQL(FORGET, migrations.RunSQL.noop),
        migrations.AlterField(model_name="event", name="data", field=audit.db.JsonTextField(default=dict)),
        migrations.AlterField(
            model_name="event",
            name="earlier",
            field=audit.db.JsonTextField(
                help_text="[attempt, step key, [[type, data, ms before this], …]], …", null=True
            ),
        ),
        # The few events of one transaction are put into the order of their ids by who reads them.
        migrations.RemoveIndex(model_name="event", name="event_by_plan"),
        migrations.AddIndex(model_name="event", index=models.Index(fields=["plan_id", "xid"], name="event_by_plan")),
        migrations.RunSQL(TOGETHER, migrations.RunSQL.noop),
        migrations.RunSQL(NO_INDEX, AN_INDEX),
        migrations.RemoveIndex(model_name="plan", name="plan_by_stage"),
        migrations.AddField(
            model_name="plan",
            name="ended",
            field=audit.db.Derived(
                db_persist=True,
                expression=models.Q(("stage__in", ["cancelled", "completed", "expired", "rejected"])),
                help_text="It is in a stage that it can not leave.",
                output_field=models.BooleanField(),
            ),
        ),
        migrations.AddIndex(
            model_name="plan",
            index=models.Index(condition=models.Q(("ended", False)), fields=["number"], name="plan_not_ended"),
        ),
        migrations.AlterField(
            model_name="step",
            name="released",
            field=models.BooleanField(
                default=False,
                help_text="The steps after it went on although it is not completed, and do not count it again.",
            ),
        ),
    ]
