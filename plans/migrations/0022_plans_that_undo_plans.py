"""A plan says which one it was written to undo; until now only the trail did."""

import django.db.models.deletion
from django.db import migrations, models

SAID_SO_FAR = """
UPDATE plans_plan undo SET undoes_id = (said.record -> 'subject' ->> 'id')::uuid
FROM (SELECT canonical::jsonb AS record FROM audit_decisionrecord WHERE type = 'plan.undo_asked') said
WHERE undo.number = (said.record -> 'metadata' ->> 'number')::bigint
"""


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0021_revisions_carry_what_is_done"),
        ("audit", "0004_records_say_still_less"),
    ]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="undoes",
            field=models.ForeignKey(
                db_index=False,
                help_text="The plan that it was written to undo.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="undos",
                to="plans.plan",
            ),
        ),
        migrations.AddIndex(
            model_name="plan",
            index=models.Index(
                condition=models.Q(("undoes__isnull", False)), fields=["undoes"], name="plan_that_undoes"
            ),
        ),
        migrations.RunSQL(SAID_SO_FAR, migrations.RunSQL.noop),
    ]
