"""PlaybookDiscovery: finds the playbooks of a repository and reads what each needs, without running anything (INF-1).

Pure. A file that cannot be understood is kept with its reason; the scan as a whole always ends with an answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agents.playbooks.catalogue import Catalogue, Offering, PlaybookFile, offerings_of
from agents.playbooks.facts import Facts
from agents.playbooks.metadata import (
    inferred_aliases,
    inferred_risk,
    inferred_service,
    inferred_verbs,
    read_metadata,
)
from agents.playbooks.plays import PlayReader
from agents.playbooks.variables import collect
from agents.playbooks.yaml_safe import VAULT_HEADER, UnreadableYaml, decode, load

MOST_FILES: Final = 5_000
_SKIPPED: Final = frozenset(
    """roles collections molecule group_vars host_vars inventory inventories tasks handlers vars defaults meta templates
    files library filter_plugins lookup_plugins vars_plugins callback_plugins module_utils plugins node_modules venv
    __pycache__""".split()
)


@dataclass(frozen=True, slots=True)
class ScanProblem:
    """A file that discovery did not take up, and why."""

    path: str
    sentence: str


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The playbooks of a repository, sorted by path, and the files that were left aside with a reason."""

    playbooks: tuple[PlaybookFile, ...]
    problems: tuple[ScanProblem, ...] = ()

    @property
    def offerings(self) -> tuple[Offering, ...]:
        """Everything that can be asked for."""
        return tuple(offering for playbook in self.playbooks for offering in offerings_of(playbook))

    def catalogue(self, facts: Facts | None = None, *, commit: str = "") -> Catalogue:
        """The result as a catalogue, with the hosts and groups of the inventory's facts."""
        return Catalogue(
            offerings=self.offerings,
            playbooks=self.playbooks,
            hosts=facts.hosts if facts else (),
            groups=facts.groups if facts else (),
            commit=commit,
        )


def scan(root: Path) -> ScanResult:
    """Read every playbook under a folder.

    Never raises for what the files hold. Roles, collections, molecule scenarios, hidden folders and links that lead
    out of the folder are left aside. Raises NotADirectoryError when the folder itself is not there.
    """
    if not root.is_dir():
        raise NotADirectoryError(f"There is no folder {root.name} to look for playbooks in.")
    root = root.resolve()
    reader = PlayReader(root)
    playbooks: list[PlaybookFile] = []
    problems: list[ScanProblem] = []
    for count, path in enumerate(_files(root, problems)):
        name = path.relative_to(root).as_posix()
        if count >= MOST_FILES:
            problems.append(ScanProblem(name, f"Only the first {MOST_FILES} files were read."))
            break
        try:
            found = _read_playbook(path, name, reader)
        except OSError as error:
            problems.append(ScanProblem(name, f"The file cannot be read: {error.strerror or error}."))
        except UnreadableYaml as error:
            playbooks.append(_broken(name, error.sentence))
        except RecursionError:
            playbooks.append(_broken(name, "The file is nested too deeply to be understood."))
        else:
            playbooks.extend(found)
    return ScanResult(tuple(_with_undo(playbooks)), tuple(problems))


def read_one(root: Path, name: str) -> PlaybookFile | None:
    """One playbook of a folder as `scan` reads it, but for what only its neighbours tell: what undoes it.

    None if the file is not there, leads out of the folder, or is no playbook. Never raises for what it holds.
    """
    root = root.resolve()
    path = root / name
    try:
        if "\0" in name or not path.resolve().is_relative_to(root) or not path.is_file():
            return None
    except OSError:  # a name that no file can have
        return None
    try:
        found = _read_playbook(path, name, PlayReader(root))
    except OSError as error:
        return _broken(name, f"The file cannot be read: {error.strerror or error}.")
    except UnreadableYaml as error:
        return _broken(name, error.sentence)
    except RecursionError:
        return _broken(name, "The file is nested too deeply to be understood.")
    return found[0] if found else None


def _files(root: Path, problems: list[ScanProblem]) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root, followlinks=False):
        here = Path(folder)
        subfolders[:] = sorted(s for s in subfolders if s not in _SKIPPED and not s.startswith("."))
        for name in sorted(names):
            path = here / name
            if name.startswith(".") or path.suffix not in (".yml", ".yaml"):
                continue
            if path.is_symlink():
                target = path.resolve()
                shown = path.relative_to(root).as_posix()
                if not target.is_relative_to(root):
                    problems.append(ScanProblem(shown, "The link leads out of the repository and was not followed."))
                    continue
                if not target.is_file():
                    problems.append(ScanProblem(shown, "The link leads nowhere."))
                    continue
            if path.is_file():
                yield path


def _read_playbook(path: Path, name: str, reader: PlayReader) -> list[PlaybookFile]:
    text = decode(path.read_bytes())
    if text.startswith(VAULT_HEADER):
        return []
    document = load(text)
    plays = document.value
    if not isinstance(plays, list) or not any(isinstance(p, dict) and _is_play(p) for p in plays):
        return []  # some other YAML: a compose file, an inventory, a list of tasks
    metadata = read_metadata(text)
    reading = reader.read(path, plays)
    service = metadata.service or inferred_service(name)
    description = metadata.description or reading.first_name
    verbs = metadata.verbs or inferred_verbs(name, description)
    problems = (*reading.problems, *metadata.remarks, *document.remarks)
    playbook = PlaybookFile(
        path=name,
        service=service,
        description=description,
        variables=collect(
            reading.usage,
            prompts=reading.prompts,
            defaults=reading.defaults,
            known=reading.known,
            declared=metadata.required,
            types=metadata.types,
        ),
        tags=tuple(reading.tags),
        hosts=",".join(reading.hosts),
        roles=tuple(reading.roles),
        risk=metadata.risk or inferred_risk(verbs),
        reversible_by=metadata.reversible_by,
        aliases=metadata.aliases or inferred_aliases(service, description),
        verbs=verbs,
        task_count=reading.task_count,
        preview_obstacles=tuple(reading.obstacles),
        problems=tuple(dict.fromkeys(problems)),
        broken=reading.refused,
    )
    return [playbook]


def _is_play(item: dict[Any, Any]) -> bool:
    return "hosts" in item or "import_playbook" in item or "ansible.builtin.import_playbook" in item


def _broken(name: str, sentence: str) -> PlaybookFile:
    return PlaybookFile(path=name, service=inferred_service(name), problems=(sentence,), broken=True)


def _with_undo(playbooks: list[PlaybookFile]) -> Iterator[PlaybookFile]:
    paths = {playbook.path for playbook in playbooks}
    removers: dict[str, list[str]] = {}
    for playbook in playbooks:
        if "remove" in playbook.verbs and playbook.service and not playbook.broken:
            removers.setdefault(playbook.service, []).append(playbook.path)
    for playbook in playbooks:
        undo = removers.get(playbook.service, [])
        if playbook.reversible_by and playbook.reversible_by not in paths:
            remark = f"It says that {playbook.reversible_by} undoes it, but there is no such playbook."
            yield replace(playbook, reversible_by="", problems=(*playbook.problems, remark))
        elif not playbook.reversible_by and len(undo) == 1 and {"deploy", "create"} & set(playbook.verbs):
            yield replace(playbook, reversible_by=undo[0] if undo[0] != playbook.path else "")
        else:
            yield playbook
