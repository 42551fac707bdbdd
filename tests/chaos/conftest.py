"""An installation to be killed piece by piece."""

import pytest

from tests.processes import Installation


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """`chiffon up --demo` in a folder of its own."""
    installation = Installation(tmp_path_factory.mktemp("chaos") / "data")
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()
