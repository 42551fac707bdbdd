"""What the playbook repository offers, as frozen values that travel as JSON.

Pure: nothing here knows Django, Celery or Channels. Discovery makes these, the database keeps them, matching reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

VariableType = Literal["string", "integer", "number", "boolean", "list", "object", "secret"]
RiskLevel = Literal["low", "medium", "high"]

VARIABLE_TYPES: Final[tuple[str, ...]] = get_args(VariableType)
RISK_LEVELS: Final[tuple[str, ...]] = get_args(RiskLevel)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable a playbook takes. `default` is None when there is none, or when only the run can compute it."""

    name: str
    type: VariableType = "string"
    required: bool = False
    default: Any = None
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        """The variable as a JSON object."""
        return {
            "name": self.name,
            "type": self.type,
            "required": self.required,
            "default": self.default,
            "description": self.description,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Variable:
        """Read what `to_json` wrote. Raises ValueError for a type we do not know."""
        if data.get("type", "string") not in VARIABLE_TYPES:
            raise ValueError(f"“{data.get('type')}” is no variable type; known are {', '.join(VARIABLE_TYPES)}.")
        return cls(
            name=str(data["name"]),
            type=cast("VariableType", data.get("type", "string")),
            required=bool(data.get("required", False)),
            default=data.get("default"),
            description=str(data.get("description", "")),
        )


@dataclass(frozen=True, slots=True)
class PlaybookFile:
    """One playbook file as discovery read it.

    `hosts` holds the plays' host patterns, joined by commas. `broken` means that nothing can be asked of it;
    `problems` says why, and also holds remarks on files that do work. `preview_obstacles` are the reasons why check
    mode is not run before approval.
    """

    path: str
    service: str = ""
    description: str = ""
    variables: tuple[Variable, ...] = ()
    tags: tuple[str, ...] = ()
    hosts: str = ""
    roles: tuple[str, ...] = ()
    risk: RiskLevel = "medium"
    reversible_by: str = ""
    aliases: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    task_count: int = 0
    preview_obstacles: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    broken: bool = False

    def to_json(self) -> dict[str, Any]:
        """The playbook as a JSON object."""
        return {
            "path": self.path,
            "service": self.service,
            "description": self.description,
            "variables": [variable.to_json() for variable in self.variables],
            "tags": list(self.tags),
            "hosts": self.hosts,
            "roles": list(self.roles),
            "risk": self.risk,
            "reversible_by": self.reversible_by,
            "aliases": list(self.aliases),
            "verbs": list(self.verbs),
            "task_count": self.task_count,
            "preview_obstacles": list(self.preview_obstacles),
            "problems": list(self.problems),
            "broken": self.broken,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlaybookFile:
        """Read what `to_json` wrote. Raises ValueError for a risk or a variable type we do not know."""
        if data.get("risk", "medium") not in RISK_LEVELS:
            raise ValueError(f"“{data.get('risk')}” is no risk; known are {', '.join(RISK_LEVELS)}.")
        return cls(
            path=str(data["path"]),
            service=str(data.get("service", "")),
            description=str(data.get("description", "")),
            variables=_variables(data),
            tags=_texts(data, "tags"),
            hosts=str(data.get("hosts", "")),
            roles=_texts(data, "roles"),
            risk=cast("RiskLevel", data.get("risk", "medium")),
            reversible_by=str(data.get("reversible_by", "")),
            aliases=_texts(data, "aliases"),
            verbs=_texts(data, "verbs"),
            task_count=int(data.get("task_count", 0)),
            preview_obstacles=_texts(data, "preview_obstacles"),
            problems=_texts(data, "problems"),
            broken=bool(data.get("broken", False)),
        )


@dataclass(frozen=True, slots=True)
class Offering:
    """Something that can be asked for: one verb that one playbook carries out."""

    key: str
    playbook: str
    verb: str
    service: str
    title: str
    description: str = ""
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()
    risk: RiskLevel = "medium"

    def to_json(self) -> dict[str, Any]:
        """The offering as a JSON object."""
        return {
            "key": self.key,
            "playbook": self.playbook,
            "verb": self.verb,
            "service": self.service,
            "title": self.title,
            "description": self.description,
            "aliases": list(self.aliases),
            "tags": list(self.tags),
            "variables": [variable.to_json() for variable in self.variables],
            "risk": self.risk,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Offering:
        """Read what `to_json` wrote. Raises ValueError for a risk or a variable type we do not know."""
        if data.get("risk", "medium") not in RISK_LEVELS:
            raise ValueError(f"“{data.get('risk')}” is no risk; known are {', '.join(RISK_LEVELS)}.")
        return cls(
            key=str(data["key"]),
            playbook=str(data["playbook"]),
            verb=str(data["verb"]),
            service=str(data.get("service", "")),
            title=str(data.get("title", "")),
            description=str(data.get("description", "")),
            aliases=_texts(data, "aliases"),
            tags=_texts(data, "tags"),
            variables=_variables(data),
            risk=cast("RiskLevel", data.get("risk", "medium")),
        )


@dataclass(frozen=True, eq=False)  # compared by identity, so that an index can be kept per catalogue
class Catalogue:
    """Everything that can be asked for at one commit, with the names of the inventory it runs against."""

    offerings: tuple[Offering, ...]
    playbooks: tuple[PlaybookFile, ...] = ()
    hosts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    commit: str = ""

    def offering(self, key: str) -> Offering | None:
        """The offering with this key, or None."""
        return next((offering for offering in self.offerings if offering.key == key), None)

    def playbook(self, path: str) -> PlaybookFile | None:
        """The playbook at this path, or None."""
        return next((playbook for playbook in self.playbooks if playbook.path == path), None)

    def to_json(self) -> dict[str, Any]:
        """The catalogue as a JSON object."""
        return {
            "offerings": [offering.to_json() for offering in self.offerings],
            "playbooks": [playbook.to_json() for playbook in self.playbooks],
            "hosts": list(self.hosts),
            "groups": list(self.groups),
            "commit": self.commit,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Catalogue:
        """Read what `to_json` wrote. Raises ValueError for a risk or a variable type we do not know."""
        return cls(
            offerings=tuple(Offering.from_json(item) for item in data.get("offerings", ())),
            playbooks=tuple(PlaybookFile.from_json(item) for item in data.get("playbooks", ())),
            hosts=_texts(data, "hosts"),
            groups=_texts(data, "groups"),
            commit=str(data.get("commit", "")),
        )


def offerings_of(playbook: PlaybookFile) -> tuple[Offering, ...]:
    """What can be asked of a playbook: one offering per verb, and none of a broken one."""
    if playbook.broken:
        return ()
    return tuple(
        Offering(
            key=f"{playbook.path}#{verb}",
            playbook=playbook.path,
            verb=verb,
            service=playbook.service,
            title=playbook.description or playbook.path,
            description=playbook.description,
            aliases=playbook.aliases,
            tags=playbook.tags,
            variables=playbook.variables,
            risk=playbook.risk,
        )
        for verb in playbook.verbs or ("run",)
    )


def _texts(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(str(item) for item in data.get(name, ()))


def _variables(data: Mapping[str, Any]) -> tuple[Variable, ...]:
    return tuple(Variable.from_json(item) for item in data.get("variables", ()))
