"""Which offering a piece of a request means: a score, the reasons for it, and whether it is sure enough (INF-6).

Pure. Nothing is learnt and nothing is drawn by lot: the same words over the same catalogue give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from rapidfuzz import process
from rapidfuzz.distance import OSA

from agents.playbooks.catalogue import Catalogue, Offering
from agents.playbooks.words import (
    DESTRUCTIVE,
    STOP_STEMS,
    VERB_OF,
    VerbUse,
    Word,
    find_verbs,
    is_value,
    join_names,
    read_words,
    related_verbs,
    stem,
    stems_of,
    verbs_in,
)

SURE: Final = 0.75  # from here on the best offering is taken, if no other comes close
POSSIBLE: Final = 0.4  # from here on it is worth a question
MARGIN: Final = 0.12  # a runner-up this close makes it a question
MOST_OPTIONS: Final = 5
MOST_SCORED: Final = 60  # offerings; up to here every word's are scored

_FROM_CONTEXT: Final = 0.85  # the service was named in an earlier clause
_PART_OF_NAME: Final = 0.6
_MISSPELT: Final = 0.95
_VERB_RELATED: Final = 0.85
_VERB_ABSENT: Final = 0.7
_VERB_OTHER: Final = 0.3
_ONLY_DESCRIBED: Final = 0.8  # several words of the description and no name
_HARDLY_DESCRIBED: Final = 0.6  # one such word


@dataclass(frozen=True, slots=True)
class MatchContext:
    """What is known besides the clause's own words.

    `service` is the one an earlier clause spoke of, `verb` the one that a clause without its own takes over (“postgres”
    in “deploy kuma and postgres”), and `explained` the places (start, end) in the clause that something else accounts for: hosts, values, times.
    """

    service: str = ""
    verb: str = ""
    explained: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """An offering with how well it fits (0 to 1), why, the words that spoke for it and those it leaves unexplained."""

    offering: Offering
    score: float
    explanation: tuple[str, ...]
    words: tuple[str, ...] = ()
    unexplained: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """What the matches of a clause come to: one sure match, a question with options, or nothing."""

    kind: Literal["match", "ask", "none"]
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True)
class _Entry:
    offering: Offering
    names: tuple[tuple[frozenset[str], str], ...]
    vocabulary: frozenset[str]
    qualifiers: frozenset[str]
    files: frozenset[str]


@dataclass(frozen=True)
class _Index:
    entries: tuple[_Entry, ...]
    by_stem: dict[str, frozenset[int]]
    name_stems: tuple[str, ...]
    services: dict[str, frozenset[str]]
    common: frozenset[str]
    by_service: dict[str, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Asked:
    words: tuple[Word, ...]
    content: tuple[Word, ...]
    verbs: frozenset[str]
    verb_text: str
    corrected: dict[str, str]
    stems: frozenset[str]


def match(clause: str, catalogue: Catalogue, context: MatchContext | None = None) -> tuple[Match, ...]:
    """The offerings that a clause may mean, best first, at most one per playbook and none below a score of 0.1."""
    context = context or MatchContext()
    index = _index(catalogue)
    asked = _understand(clause, index, context)
    # Words that half a large catalogue uses choose nothing, so they only count where there is nothing else.
    large = len(index.entries) > MOST_SCORED
    telling = [part for part in asked.stems if not large or part not in index.common]
    near = set().union(*(index.by_stem.get(part, frozenset()) for part in telling))
    if not near:
        near = set().union(*(index.by_stem.get(part, frozenset()) for part in asked.stems))
    if context.service:
        near |= index.by_service.get(context.service, frozenset())
    best: dict[str, Match] = {}
    for at in sorted(near):
        found = _score(index.entries[at], asked, index, context)
        rival = best.get(found.offering.playbook)
        if found.score >= 0.1 and (rival is None or found.score > rival.score):
            best[found.offering.playbook] = found
    return tuple(sorted(best.values(), key=lambda found: (-found.score, found.offering.key)))


def choose(matches: tuple[Match, ...]) -> Choice:
    """Take the best match when it is sure and alone, ask when it is not, and leave what is too far away."""
    if not matches or matches[0].score < POSSIBLE:
        return Choice("none")
    best = matches[0]
    close = tuple(found for found in matches if best.score - found.score < MARGIN)[:MOST_OPTIONS]
    if best.score >= SURE and len(close) == 1:
        return Choice("match", (best,))
    wider = tuple(found for found in matches if best.score - found.score < 2 * MARGIN)[:MOST_OPTIONS]
    return Choice("ask", close if len(close) > 1 else wider)


def services_named(clause: str, catalogue: Catalogue) -> tuple[str, ...]:
    """The services whose name or alias stands in a text, in order; context for what follows."""
    index = _index(catalogue)
    words = read_words(clause)
    stems = {part for word in words for part in word.stems}
    places: dict[str, int] = {}
    for at in sorted(set().union(*(index.by_stem.get(part, frozenset()) for part in stems))):
        entry = index.entries[at]
        if not entry.offering.service:
            continue
        for name, _ in entry.names:
            if name <= stems:
                first = min(word.start for word in words if name & set(word.stems))
                service = entry.offering.service
                places[service] = min(first, places.get(service, first))
    return tuple(sorted(places, key=lambda service: places[service]))


def vocabulary(catalogue: Catalogue) -> frozenset[str]:
    """The stems of every word that the catalogue uses."""
    return frozenset(_index(catalogue).by_stem)


@lru_cache(maxsize=8)
def _index(catalogue: Catalogue) -> _Index:
    entries = tuple(_entry(offering) for offering in catalogue.offerings)
    by_stem: dict[str, set[int]] = {}
    services: dict[str, set[str]] = {}
    by_service: dict[str, set[int]] = {}
    playbooks_of: dict[str, set[str]] = {}
    for at, entry in enumerate(entries):
        by_service.setdefault(entry.offering.service, set()).add(at)
        for name, _ in entry.names:
            if len(name) == 1:
                services.setdefault(next(iter(name)), set()).add(entry.offering.service)
        for part in entry.vocabulary.union(*(name for name, _ in entry.names), entry.files):
            by_stem.setdefault(part, set()).add(at)
            playbooks_of.setdefault(part, set()).add(entry.offering.playbook)
    total = len({entry.offering.playbook for entry in entries})
    return _Index(
        entries=entries,
        by_stem={part: frozenset(found) for part, found in by_stem.items()},
        name_stems=tuple({part for entry in entries for name, _ in entry.names for part in name if len(part) > 3}),
        services={part: frozenset(found) for part, found in services.items()},
        common=frozenset(part for part, found in playbooks_of.items() if total >= 5 and len(found) > 0.4 * total),
        by_service={service: frozenset(found) for service, found in by_service.items()},
    )


def _entry(offering: Offering) -> _Entry:
    file = offering.playbook.rpartition("/")[2].rpartition(".")[0]
    own = stems_of(offering.service.replace("-", " "))
    names = [(frozenset(own), offering.service)] if own else []
    for alias in offering.aliases:
        if parts := frozenset(stems_of(alias)):
            names.append((parts, alias))
    variables = [v.name.replace("_", " ") for v in offering.variables]
    verbs = set(verbs_in(file))
    qualifiers = {part for part in stems_of(file.replace("-", " ").replace("_", " ")) if part not in own}
    return _Entry(
        offering=offering,
        names=tuple(dict(reversed(names)).items()),
        vocabulary=frozenset(
            stems_of(
                file.replace("-", " ").replace("_", " "),
                offering.title,
                offering.description,
                *variables,
                *offering.tags,
            )
        ),
        qualifiers=frozenset(part for part in qualifiers if VERB_OF.get(part) not in verbs - {"configure"}),
        files=frozenset(
            {offering.playbook.casefold(), offering.playbook.rpartition("/")[2].casefold(), file.casefold()}
        ),
    )


def _understand(clause: str, index: _Index, context: MatchContext) -> _Asked:
    everything = read_words(clause)
    words = tuple(w for w in everything if not any(s <= w.start and w.end <= e for s, e in context.explained))
    uses = find_verbs(words) or _misspelt_verb(words, index)
    wanted, head = _wanted(uses, context)
    skipped = set(head) | {at for use in uses if use.light for at in use.positions}
    content = tuple(
        word
        for at, word in enumerate(words)
        if at not in skipped and not all(part in STOP_STEMS for part in word.stems) and len(word.folded) > 1
    )
    corrected: dict[str, str] = {}
    for word in content:
        for part in word.stems:
            if part not in index.by_stem and (near := _nearest(part, index.name_stems)):
                corrected[part] = near
    stems = {corrected.get(part, part) for word in content for part in word.stems}
    stems |= {word.folded for word in words}
    stems |= {stem(verb) for verb in wanted}  # a service may be called what the verb says: “back up”, backup
    text = " ".join(words[at].text for at in head)
    return _Asked(words, content, frozenset(wanted), text, corrected, frozenset(stems))


def _wanted(uses: tuple[VerbUse, ...], context: MatchContext) -> tuple[set[str], tuple[int, ...]]:
    real = [use for use in uses if not use.light]
    if context.verb:
        uses = (VerbUse(context.verb, ()), *uses)
        real = [uses[0], *real]
    if not uses:
        return set(), ()
    if not real:
        verb = uses[0].verb
        return (set() if verb == "run" else {verb}), uses[0].positions
    if uses[0].light or real[0].verb not in ("deploy", "create"):
        return {real[0].verb}, real[0].positions
    # “Set up a backup” asks for a backup, “deploy kuma” for a deployment.
    nouns = {use.verb for use in real[1:] if use.verb in ("backup", "check")}
    return {real[0].verb, *nouns}, real[0].positions


def _score(entry: _Entry, asked: _Asked, index: _Index, context: MatchContext) -> Match:
    offering = entry.offering
    reasons: list[str] = []
    stems = {asked.corrected.get(p, p) for word in asked.content for p in word.stems} | {stem(v) for v in asked.verbs}
    if asked.verbs and stem(next(iter(asked.verbs))) not in {p for name, _ in entry.names for p in name}:
        stems -= {stem(v) for v in asked.verbs} - {p for word in asked.content for p in word.stems}
    name_share, named = _name_share(entry, stems)
    filed = next((word for word in asked.words if word.folded in entry.files), None)
    named_words = tuple(w for w in asked.content if named & _parts(w, asked)) if name_share else ()
    if filed is not None:
        name_share, named_words = 1.0, (filed,)
        reasons.append(f"“{filed.text}” is the name of the playbook.")
    elif name_share:
        reasons.append(_name_reason(named_words, offering, asked))
    known = entry.vocabulary | named | entry.files
    described = tuple(
        word for word in asked.content if word not in named_words and _parts(word, asked) & entry.vocabulary
    )
    unexplained = tuple(
        word
        for word in asked.content
        if word not in named_words
        and not (_parts(word, asked) | {word.folded}) <= known
        and not _parts(word, asked) <= known
    )
    if described:
        listed = join_names((f"“{word.text}”" for word in described), word="and")
        reasons.append(f"{listed} {'is a word' if len(described) == 1 else 'are words'} of its description.")
    others = {s for word in asked.content for p in _parts(word, asked) for s in index.services.get(p, ())}
    bare = described or not asked.content
    if not name_share and bare and context.service == offering.service != "" and not (others - {offering.service}):
        name_share = _FROM_CONTEXT
        reasons.append(f"The request spoke of {offering.service} before.")
    if not name_share:
        telling = {p for word in described for p in _parts(word, asked) & entry.vocabulary} - index.common
        name_share = _ONLY_DESCRIBED if len(telling) > 1 else _HARDLY_DESCRIBED if telling else 0.0
    factor, reason = _verb_factor(asked, offering, filed is not None)
    reasons.append(reason)
    explained = 2 * len(named_words) + len(described) + (1 if asked.verbs and factor > _VERB_ABSENT else 0)
    total = explained + len(unexplained)
    coverage = explained / total if total else (1.0 if name_share else 0.0)
    score = name_share * factor * (0.45 + 0.55 * coverage)
    if entry.qualifiers and not described and filed is None and not (entry.qualifiers & stems):
        score *= 0.9  # the playbook is about one aspect of the service, which nobody mentioned
        if unexplained:
            score = min(score, SURE - 0.01)  # and the words speak of another: “add users to kuma”
    score *= _MISSPELT if any(_parts(word, asked) & set(asked.corrected.values()) for word in named_words) else 1.0
    risky = offering.verb in DESTRUCTIVE or offering.risk == "high"
    guessed = any(_parts(word, asked) & set(asked.corrected.values()) for word in named_words)
    if risky and (unexplained or guessed or factor < 1.0):
        score = min(score, SURE - 0.01)
        reasons.append("It takes something away, so nothing about it is guessed.")
    if unexplained:
        listed = join_names((f"“{word.text}”" for word in unexplained), word="and")
        reasons.append(f"Nothing in it speaks of {listed}.")
    words = tuple(word.text for word in asked.words if word in named_words or word in described)
    return Match(offering, round(min(score, 1.0), 3), tuple(r for r in reasons if r), words, unexplained)


def _name_share(entry: _Entry, stems: set[str]) -> tuple[float, frozenset[str]]:
    share, named = 0.0, frozenset[str]()
    for name, _ in entry.names:
        found = name & stems
        if not found:
            continue
        worth = 1.0 if found == name else _PART_OF_NAME * len(found) / len(name)
        share = max(share, worth)
        if worth == 1.0 or share < 1.0:
            named |= found
    return share, named


def _name_reason(words: tuple[Word, ...], offering: Offering, asked: _Asked) -> str:
    if not words:
        return f"What is asked for is what {offering.service} is called."
    listed = join_names((f"“{word.text}”" for word in words), word="and")
    misspelt = [word.text for word in words if any(part in asked.corrected for part in word.stems)]
    if misspelt:
        return f"{listed} is close to a name of {offering.service}, so it was read as that."
    return f"{listed} {'is a name' if len(words) == 1 else 'are names'} of {offering.service}."


def _verb_factor(asked: _Asked, offering: Offering, filed: bool) -> tuple[float, str]:
    text = f"“{asked.verb_text}”" if asked.verb_text else "The request"
    if offering.verb in asked.verbs:
        return 1.0, f"{text} asks to {offering.verb}, which is what it does."
    if not asked.verbs:
        return (1.0, "") if filed else (_VERB_ABSENT, "The words do not say what to do with it.")
    verb = sorted(asked.verbs)[0]
    if any(related_verbs(asked_verb, offering.verb) for asked_verb in asked.verbs):
        return _VERB_RELATED, f"{text} asks to {verb}, and it can {offering.verb}."
    return (0.6 if filed else _VERB_OTHER), f"{text} asks to {verb}, but it can only {offering.verb}."


def _parts(word: Word, asked: _Asked) -> set[str]:
    return {asked.corrected.get(part, part) for part in word.stems if part not in STOP_STEMS}


def _nearest(part: str, names: Iterable[str]) -> str:
    # Short words are too alike, and a first letter is rarely the one that is wrong.
    if len(part) < 4 or is_value(part) or not part.isalpha():
        return ""
    allowed = 1 if len(part) < 8 else 2
    found = process.extractOne(part, names, scorer=OSA.distance, score_cutoff=allowed)
    return found[0] if found and found[0][0] == part[0] and abs(len(found[0]) - len(part)) <= 1 else ""


def _misspelt_verb(words: tuple[Word, ...], index: _Index) -> tuple[VerbUse, ...]:
    for at, word in enumerate(words):
        if word.folded in STOP_STEMS:
            continue
        if len(word.folded) < 5 or any(part in index.by_stem for part in word.stems):
            return ()
        safe = [name for name, verb in VERB_OF.items() if verb not in DESTRUCTIVE and len(name) > 4]
        near = process.extractOne(word.folded, safe, scorer=OSA.distance, score_cutoff=1)
        return (VerbUse(VERB_OF[near[0]], (at,)),) if near and near[0][0] == word.folded[0] else ()
    return ()
