"""The plan stays in the canonical bytes alone, and the many records about plans, steps and attempts are found through their trace."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_records_are_shorter"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="decisionrecord", name="record_by_trace"),
        migrations.RemoveIndex(model_name="decisionrecord", name="record_by_rare_type"),
        migrations.RemoveIndex(model_name="decisionrecord", name="record_by_person"),
        migrations.RemoveIndex(model_name="decisionrecord", name="record_by_subject"),
        migrations.AddIndex(
            model_name="decisionrecord", index=models.Index(fields=["trace_id"], name="record_by_trace")
        ),
        migrations.AddIndex(
            model_name="decisionrecord",
            index=models.Index(
                condition=models.Q(
                    ("type__in", ("attempt.started", "attempt.completed", "plan.stage_changed", "tasks.committed")),
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
                condition=models.Q(("subject_kind__in", ("attempt", "plan", "step")), _negated=True),
                fields=["subject_id", "sequence"],
                name="record_by_subject",
            ),
        ),
        # Nothing is lost: each record's canonical bytes say it.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE audit_decisionrecord DROP COLUMN plan_id",
                    "ALTER TABLE audit_decisionrecord ADD COLUMN plan_id uuid",
                )
            ],
            state_operations=[migrations.RemoveField(model_name="decisionrecord", name="plan_id")],
        ),
    ]
