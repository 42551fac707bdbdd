"""`chiffon user create`: the first person of an installation."""

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from audit.authority import Role, roles_of
from audit.models import DecisionRecord
from chiffon_site.accounts.people import NameTaken, create_person

pytestmark = pytest.mark.django_db


def make(**changes):
    return create_person(
        **{"name": "solo", "full_name": "Solo Person", "roles": ["approver", "requester"], "password": "a long one"}
        | changes
    )


def test_a_person_gets_the_roles_and_a_record():
    user = make()
    assert roles_of(user) == {Role.APPROVER, Role.REQUESTER}
    assert user.get_full_name() == "Solo Person"
    record = DecisionRecord.objects.get(type="person.added")
    assert (record.subject_id, record.metadata["roles"]) == ("solo", ["approver", "requester"])
    assert "a long one" not in record.canonical


def test_a_name_is_given_once(transactional_db):
    make()
    with pytest.raises(NameTaken, match="a person called solo already"):
        make()
    assert get_user_model().objects.filter(username="solo").count() == 1


@pytest.mark.parametrize("name", ["a b", "", "x" * 151, "a\x00b"])
def test_a_name_that_can_not_be_one_is_refused(name):
    with pytest.raises(ValidationError):
        make(name=name)
