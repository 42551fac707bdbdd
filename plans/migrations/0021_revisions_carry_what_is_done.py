"""A step may keep what an earlier revision has done, and an approval names who wrote the revision it answers."""

import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0020_less_is_written"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="step",
            name="what_was_approved_is_fixed",
        ),
        migrations.AddField(
            model_name="approval",
            name="author",
            field=models.ForeignKey(
                db_index=False,
                help_text="Who wrote the revision that was answered.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="step",
            name="carried_from",
            field=models.ForeignKey(
                db_index=False,
                help_text="The step of an earlier revision that did this work; its result is kept, and it does not run again.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="carried_into",
                to="plans.step",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="step",
            trigger=pgtrigger.compiler.Trigger(
                name="what_was_approved_is_fixed",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.\"leaf\" > '')",
                    func='RAISE EXCEPTION \'pgtrigger: Cannot update of "key", "tool", "input", "playbook", "agent_type", "work_type", "resources", "risk", "timeout_seconds", "retry", "idempotent", "when", "on_failure", "for_each", "fallback", "kind", "parent_id", "carried_from_id", "item", "item_index", "hosts", "leaf", "proof", "index" rows from % table\', TG_TABLE_NAME;',
                    hash="c9d8efeafa5a5e9bc7e12702c968454b3877ffa2",
                    operation='UPDATE OF "key", "tool", "input", "playbook", "agent_type", "work_type", "resources", "risk", "timeout_seconds", "retry", "idempotent", "when", "on_failure", "for_each", "fallback", "kind", "parent_id", "carried_from_id", "item", "item_index", "hosts", "leaf", "proof", "index"',
                    pgid="pgtrigger_what_was_approved_is_fixed_9a249",
                    table="plans_step",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="approval",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("four_eyes", False),
                    ("decision", "rejected"),
                    ("author__isnull", True),
                    models.Q(("approver", models.F("author")), _negated=True),
                    _connector="OR",
                ),
                name="four_eyes_forbids_approving_ones_own_revision",
            ),
        ),
    ]
