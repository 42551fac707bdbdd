"""What is told of a plan is kept as text, and functions that take it so are made anew after the migrations."""

from django.db import migrations

import audit.db

FORGET = """
DO $$ DECLARE old regprocedure; BEGIN
    FOR old IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname IN (
        'chiffon_finish', 'chiffon_next', 'chiffon_take', 'chiffon_claim')
    LOOP
        EXECUTE 'DROP FUNCTION ' || old;
    END LOOP;
END $$;
"""


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
    ]
