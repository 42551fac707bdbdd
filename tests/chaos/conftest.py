"""An installation to be killed piece by piece."""

import pytest

from tests.chaos.rigged import RiggedHouse


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """`chiffon up --demo` in a folder of its own, whose effects are counted and whose programs die where they are told to."""
    installation = RiggedHouse(tmp_path_factory.mktemp("chaos"))
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()
