"""What is approved, as one hash: SHA-256 Merkle root (RFC 9162) over canonical JSON (RFC 8785) of everything with meaning.

Leaf 0 is the header (playbook commit and tree, budget, limits, number of steps, which of them are done); leaf n is the n-th step. Prose and the order of
keys are outside. A step's leaf with its proof shows that the step is part of what was approved, without the other steps.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from audit.canonical import canonical
from audit.merkle import leaf_hash, proofs, root, root_from_proof

VERSION: Final = 2

# The fields of a step that have meaning, and those that came with a later VERSION with the value that says nothing.
# A later field is only in the content where it says something, so that a plan digested before it keeps its digest.
_FIRST_FIELDS: Final = (
    "key",
    "tool",
    "input",
    "playbook",
    "depends_on",
    "agent_type",
    "work_type",
    "resources",
    "risk",
    "timeout_seconds",
    "retry",
    "idempotent",
    "when",
    "on_failure",
    "hosts",
    "preview",
)
_LATER_FIELDS: Final[Mapping[str, Any]] = {"kind": "step", "undoes": "", "for_each": None, "fallback": None}
STEP_FIELDS: Final = (*_FIRST_FIELDS, *_LATER_FIELDS)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A digest with the leaf and the proof of each step, in the order the steps were given. All hexadecimal."""

    digest: str
    leaves: tuple[str, ...]
    proofs: tuple[tuple[str, ...], ...]


def header_content(
    *,
    commit: str,
    tree: str,
    repository: str,
    budget: Mapping[str, Any],
    steps: int,
    max_parallel: int | None = None,
    carried: Iterable[str] = (),
    version: int = VERSION,
) -> dict[str, Any]:
    """What the digest covers besides the steps. `steps` counts every leaf: those that undo steps as well.

    `carried` are the keys of the steps that an earlier revision has done. Limit and carried steps are only in it where there are any,
    so that a plan without them keeps its digest.
    """
    content = {
        "v": version,
        "repository": repository,
        "commit": commit,
        "tree": tree,
        "budget": dict(budget),
        "steps": steps,
    }
    said = {} if max_parallel is None else {"max_parallel": max_parallel}
    done = sorted(carried)
    return {**content, **said, **({"carried": done} if done else {})}


def step_content(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the digest covers of one step. Raises KeyError if a field with meaning is missing."""
    later = {name: fields[name] for name, nothing in _LATER_FIELDS.items() if fields[name] != nothing}
    return {name: fields[name] for name in _FIRST_FIELDS} | later


def leaf(content: Mapping[str, Any]) -> str:
    """The leaf of a header or a step. Raises ValueError for numbers that RFC 8785 cannot hold."""
    return leaf_hash(canonical(dict(content))).hex()


def seal(header: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> Sealed:
    """The digest of a plan's content: `header` from header_content(), `steps` from step_content(), in order."""
    leaves = [leaf_hash(canonical(dict(content))) for content in (header, *steps)]
    return Sealed(
        digest=root(leaves).hex(),
        leaves=tuple(item.hex() for item in leaves[1:]),
        proofs=tuple(tuple(node.hex() for node in path) for path in proofs(leaves)[1:]),
    )


def digest_of(header: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> str:
    """The digest alone, for who only compares it."""
    return root([leaf_hash(canonical(dict(content))) for content in (header, *steps)]).hex()


def belongs(content: Mapping[str, Any], *, index: int, steps: int, siblings: Sequence[str], digest: str) -> bool:
    """Whether this content is the `index`-th of `steps` steps (from 1) under this digest."""
    found = root_from_proof(bytes.fromhex(leaf(content)), index, steps + 1, [bytes.fromhex(node) for node in siblings])
    return found is not None and found.hex() == digest
