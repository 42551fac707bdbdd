"""What the comments at the head of a playbook say about it, and what is inferred where they say nothing.

Pure. The comments read `# chiffon: service=kuma`; the keys are those of the outside contract, and `aliases`, `verbs`
and `type.<variable>` besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, cast

from agents.playbooks.catalogue import RISK_LEVELS, VARIABLE_TYPES, RiskLevel, VariableType
from agents.playbooks.words import fold, read_words, stem, verb_of, verbs_in

_LINE: Final = re.compile(r"#\s*chiffon:\s*([\w.]+)\s*=\s*(.*?)\s*")
_GENERIC: Final = frozenset(
    """playbook playbooks site main all job jobs task tasks ansible run role roles service services the and to for of a
    an with common default setup""".split()
)
_LONGEST_HEAD: Final = 200  # lines
_RISKY: Final = frozenset({"remove", "restore", "clean", "migrate"})
_HARMLESS: Final = frozenset({"check", "test"})


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of one playbook; empty values were not given. `required` is None when nothing was declared."""

    service: str = ""
    description: str = ""
    required: tuple[str, ...] | None = None
    risk: RiskLevel | None = None
    reversible_by: str = ""
    aliases: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    types: Mapping[str, VariableType] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def read_metadata(text: str) -> Metadata:
    """Read the comments before the first line of content. What cannot be used becomes a remark, never an error."""
    values: dict[str, str] = {}
    types: dict[str, VariableType] = {}
    remarks: list[str] = []
    for number, line in enumerate(text.splitlines()[:_LONGEST_HEAD], start=1):
        if line.strip() and not line.startswith(("#", "---", "%")):
            break
        found = _LINE.fullmatch(line.strip())
        if not found:
            continue
        key, value = found.groups()
        if key.startswith("type."):
            if value in VARIABLE_TYPES:
                types[key.removeprefix("type.")] = cast("VariableType", value)
            else:
                remarks.append(f"“{value}” is no variable type (line {number}); known are {', '.join(VARIABLE_TYPES)}.")
        elif key in ("service", "description", "required_vars", "risk", "reversible_by", "aliases", "verbs"):
            values[key] = value[:500]
        else:
            remarks.append(f"The metadata key “{key}” is not known (line {number}).")
    risk = values.get("risk")
    if risk is not None and risk not in RISK_LEVELS:
        remarks.append(f"“{risk}” is no risk; known are {', '.join(RISK_LEVELS)}.")
        risk = None
    return Metadata(
        service=values.get("service", ""),
        description=values.get("description", ""),
        required=_listed(values["required_vars"]) if "required_vars" in values else None,
        risk=cast("RiskLevel | None", risk),
        reversible_by=values.get("reversible_by", ""),
        aliases=_listed(values.get("aliases", "")),
        verbs=tuple(dict.fromkeys(_verb(verb) for verb in _listed(values.get("verbs", "")))),
        types=types,
        remarks=tuple(remarks),
    )


def inferred_service(path: str) -> str:
    """The service that a file name speaks of: what is left without verbs and words that fit any playbook."""
    pure = PurePosixPath(path)
    for name in (pure.stem, *(part for part in reversed(pure.parts[:-1]))):
        words = [word for word in re.split(r"[-_.\s]+", fold(name)) if word]
        rest = [word for word in words if word not in _GENERIC and not verb_of(word) and not word.isdigit()]
        if rest:
            return "-".join(rest)
        nouns = [word for word in words if verb_of(word) in ("backup", "check") and word not in _GENERIC]
        if nouns:
            return nouns[0]
    return fold(pure.stem)


def inferred_verbs(path: str, description: str) -> tuple[str, ...]:
    """The verbs of the file name, else the first one of the description, else `run`."""
    return verbs_in(PurePosixPath(path).stem) or verbs_in(description)[:1] or ("run",)


def inferred_risk(verbs: tuple[str, ...]) -> RiskLevel:
    """High for what takes away, low for what only looks, else medium."""
    if _RISKY & set(verbs):
        return "high"
    return "low" if verbs and set(verbs) <= _HARMLESS else "medium"


def inferred_aliases(service: str, description: str) -> tuple[str, ...]:
    """Names in the description that hold the service's own name, such as “Uptime Kuma” for kuma."""
    wanted = {stem(part) for part in re.split(r"[-_\s]+", fold(service)) if part}
    run: list[str] = []
    found: list[str] = []
    for at, word in enumerate((*read_words(description), None)):
        if word is not None and word.text[:1].isupper() and not (at == 0 and verb_of(word.folded)):
            run.append(word.text)
            continue
        if len(run) > 1 and wanted & {stem(fold(part)) for part in run}:
            found.append(" ".join(run))
        run = []
    return tuple(dict.fromkeys(found))


def _verb(name: str) -> str:
    known = verbs_in(name)
    return known[0] if known else fold(name)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
