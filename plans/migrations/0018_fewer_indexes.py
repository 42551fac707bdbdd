"""Indexes that another one serves as well go, and so do functions that now take less or are gone."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Two are made anew after the migrations with other arguments; the old ones write columns that are gone.
FORGET = """
DO $$ DECLARE old regprocedure; BEGIN
    FOR old IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname IN (
        'chiffon_finish', 'chiffon_start', 'chiffon_wait_in_line', 'chiffon_tell_all')
    LOOP
        EXECUTE 'DROP FUNCTION ' || old;
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_records_are_shorter"),
        ("plans", "0017_checks_that_cost_less"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(FORGET, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="approval",
            name="policy",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="plans.approvalpolicy",
            ),
        ),
        migrations.AlterField(
            model_name="approval",
            name="requester",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="approval",
            name="revision",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="approvals",
                to="plans.revision",
            ),
        ),
        migrations.AlterField(
            model_name="plan",
            name="requester",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="plans",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
    ]
