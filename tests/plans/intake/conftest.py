"""The example homelab as the decomposer sees it, read once."""

from __future__ import annotations

import pytest

from agents.playbooks.catalogue import Catalogue
from agents.playbooks.discovery import scan
from agents.playbooks.facts import Facts, read_facts
from plans.intake.decomposer import Decomposition, RequestDecomposer
from tests.plans.intake.accuracy import HOMELAB


@pytest.fixture(scope="session")
def homelab_facts() -> Facts:
    return read_facts(HOMELAB)


@pytest.fixture(scope="session")
def homelab(homelab_facts) -> Catalogue:
    return scan(HOMELAB).catalogue(homelab_facts, commit="0" * 40)


@pytest.fixture
def decompose(homelab, homelab_facts):
    def take_apart(text: str, **answers: str) -> Decomposition:
        keyed = {key.replace("__", ":").replace("clause_", "clause-"): answer for key, answer in answers.items()}
        return RequestDecomposer().decompose(text, homelab, homelab_facts, keyed)

    return take_apart
