"""The sequences that number plans and requests, and the table of output lines, partitioned by month.

Written by hand where Django cannot say it. An attempt's key is a UUID version 7, so all lines of an attempt lie in the
partition of the month in which it was made, and (attempt, seq) can be a real primary key.
"""

import django.db.models.functions.datetime
from django.db import migrations, models

TABLE = """
CREATE SEQUENCE plans_plan_number AS bigint;
CREATE SEQUENCE plans_request_number AS bigint;
CREATE TABLE plans_outputline (
    attempt_id uuid NOT NULL,
    seq integer NOT NULL CHECK (seq > 0),
    stream varchar(8) NOT NULL,
    text text NOT NULL,
    at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (attempt_id, seq)
) PARTITION BY RANGE (attempt_id);
CREATE TABLE plans_outputline_default PARTITION OF plans_outputline DEFAULT;
SELECT chiffon_make_partitions('plans_outputline', 'uuid7', 3);
"""

REVERSE = """
DROP TABLE plans_outputline;
DROP SEQUENCE plans_plan_number;
DROP SEQUENCE plans_request_number;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLE, REVERSE)],
            state_operations=[
                migrations.CreateModel(
                    name="OutputLine",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "attempt_id", "seq", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("attempt_id", models.UUIDField()),
                        ("seq", models.PositiveIntegerField()),
                        ("stream", models.CharField(max_length=8)),
                        ("text", models.TextField()),
                        ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "ordering": ["attempt_id", "seq"],
                    },
                ),
            ],
        ),
    ]
