"""The roles as groups."""

from typing import Any

from django.db import migrations

# Written out: a migration says what was true when it was made.
ROLES = ("requester", "approver", "auditor", "agent-admin", "administrator")


def add_roles(apps: Any, schema_editor: Any) -> None:
    """Make the groups that are not there yet."""
    group = apps.get_model("auth", "Group")
    for name in ROLES:
        group.objects.get_or_create(name=name)


class Migration(migrations.Migration):
    """Roles are groups of the same name."""

    dependencies = [("accounts", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(add_roles, migrations.RunPython.noop)]
