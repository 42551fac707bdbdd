"""The first approval policy: one approver, who is not the requester."""

from django.db import migrations


def make(apps, _editor):
    """Make it, unless a policy decides already."""
    policy = apps.get_model("plans", "ApprovalPolicy")
    if not policy.objects.filter(active=True).exists():
        policy.objects.create(name="default", version=1, because="The first policy of every installation.")


class Migration(migrations.Migration):
    dependencies = [("plans", "0002_initial")]

    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
