"""What README.md tells people to type exists, and what it shows is there."""

import re
from pathlib import Path

import pytest

from chiffon_site.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_every_make_target_it_names_exists():
    named = set(re.findall(r"^make ([a-z]+)", "".join(blocks("sh")), re.MULTILINE)) | set(
        re.findall(r"`make ([a-z]+)`", README)
    )
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check"} <= named
    assert named <= targets


def test_every_command_it_names_exists():
    named = set(re.findall(r"chiffon ([a-z]+)", "\n".join(blocks("sh")))) | set(
        re.findall(r"`chiffon ([a-z]+)", README)
    )
    assert {"up", "ask", "doctor"} <= named
    assert named <= set(COMMANDS)
    missing = [name for name in sorted(named) if not (ROOT / "chiffon_site" / "cli" / f"{name}.py").exists()]
    assert missing == []


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_and_picture_is_there(target):
    assert (ROOT / target).exists()


def test_every_variable_it_names_is_read_and_every_one_that_is_read_is_named():
    named = set(
        re.findall(r"\b(?:CHIFFON_[A-Z_]*[A-Z]|DATABASE_URL|REDIS_URL|CELERY_BROKER_URL|OTEL_[A-Z_]+)\b", README)
    )
    source = (ROOT / "chiffon_site/environment.py").read_text() + (ROOT / "chiffon_site/cli/client.py").read_text()
    known = set(re.findall(r"\"(CHIFFON_[A-Z_]+|[A-Z_]*_URL|OTEL_[A-Z_]+)\"", source))
    assert named - known - {"CHIFFON_LLM"} == set()
    internal = {"CHIFFON_PROCESS"}
    unnamed = {name for name in known - named - internal if not name.startswith("CHIFFON_LLM_")}
    assert unnamed == set()


def test_every_place_on_the_map_exists():
    folder = ROOT
    for line in blocks("text")[0].splitlines():
        places = [word for word in re.split(r"\s{2,}", line.strip()) if re.fullmatch(r"[\w/*.-]+(?:\.py|/)", word)]
        indented = line.startswith("  ")
        for place in places:
            if not indented:
                folder = ROOT / place
            found = list((folder if indented else ROOT).glob(place.rstrip("/")))
            assert found, f"{place} of the map is not in {folder}"
