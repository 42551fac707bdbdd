"""Finds values in the words of a clause: places, times, ports, versions, names, URLs, lists.

Pure. A value is kept exactly as it was written; whether it fits its variable is decided when the variables are filled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from agents.playbooks.catalogue import Catalogue, Offering, Variable
from agents.playbooks.facts import Facts
from agents.playbooks.filling import Filled, described
from agents.playbooks.matching import services_named, vocabulary
from agents.playbooks.words import STOP_STEMS, Word, find_verbs, fold, is_value, join_names, read_words, stem

Span = tuple[int, int]

_SCHEDULE: Final = re.compile(
    r"\b(?:(?:once|twice|\w+\s+times)\s+(?:a|per|every|each)\s+(?:\w+)|every(?:\s+(?:other|single|\d+|two|three|six))?"
    r"(?:\s+(?:night|day|week|month|hour|minute|morning|evening|year|weekend|\w+days?|nights|days|weeks|hours|minutes|months))?"
    r"(?:\s+at\s+\d{1,2}(?:[:.]\d{2})?\s*(?:am|pm)?)?|daily|nightly|weekly|monthly|hourly|tonight|tomorrow"
    r"(?:\s+(?:morning|night|evening|at\s+\w+))?|(?:next|this|on|every)\s+(?:mon|tues|wednes|thurs|fri|satur|sun)days?"
    r"|next\s+(?:week|month|year)|at\s+(?:\d{1,2}[:.]\d{2}(?:\s*(?:am|pm))?|\d{1,2}\s*(?:am|pm|o'?clock|uhr)|midnight|noon)"
    r"|in\s+(?:\d+|an?|two|three)\s+(?:minutes?|hours?|days?|weeks?)|later|jede\s+\w+|täglich|wöchentlich|morgen)\b",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"\"([^\"]*)\"|“([^”]*)”|„([^“”]*)[“”]|(?<!\w)'([^']*)'(?!\w)")
_VERSION: Final = re.compile(r"v?\d+(?:\.\d+){1,3}(?:-[a-z0-9.]+)?")
_LINKS: Final = frozenset("to is of as be = number should on at set from equals".split())
_CALLED: Final = frozenset({"called", "named", "name", "namens"})
_PLACING: Final = frozenset({"to", "on", "onto", "in", "at", "into", "auf", "im"})
_DETERMINERS: Final = frozenset("the a an our my your this that its der die das dem den".split())
_NUMBER: Final = re.compile(r"[-+]?\d[\w.]*")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a clause wants its work done: the whole inventory, a group, a host, or a name that nobody knows."""

    kind: str
    name: str
    span: Span

    def to_json(self) -> dict[str, str]:
        """The place as a JSON object."""
        return {"kind": self.kind, "name": self.name}


@dataclass(frozen=True, slots=True)
class Said:
    """A value that was found in words, with its origin and the places of the words it accounts for."""

    value: Any
    origin: str
    spans: tuple[Span, ...]

    @property
    def filled(self) -> Filled:
        """The value with its origin, without its place."""
        return Filled(self.value, self.origin)


def known_words(facts: Facts) -> frozenset[str]:
    """The folded names that only ever carry values: hosts, groups, the inventory, and names in lists."""
    names = {fold(name) for name in (*facts.hosts, *facts.groups, facts.inventory_name) if name}
    return frozenset(names | {fold(name) for name in _list_items(facts)})


def find_schedule(text: str) -> tuple[Span, ...]:
    """The places of words that say when or how often."""
    return tuple(match.span() for match in _SCHEDULE.finditer(text))


def plain_values(text: str) -> tuple[Span, ...]:
    """The places of what can only be a value: quoted text, URLs, pairs and numbers."""
    values = (word for word in read_words(text) if is_value(word.folded) or _NUMBER.fullmatch(word.folded))
    return (*(m.span() for m in _QUOTED.finditer(text)), *((word.start, word.end) for word in values))


def find_place(text: str, facts: Facts, catalogue: Catalogue) -> Place | None:
    """Where the clause points: the inventory, a group or a host; a place nobody knows has the kind `unknown`."""
    words = read_words(text)
    names = {fold(facts.inventory_name): ("inventory", facts.inventory_name)} if facts.inventory_name else {}
    names |= {fold(group): ("group", group) for group in facts.groups}
    names |= {fold(host): ("host", host) for host in facts.hosts}
    services = {part for offering in catalogue.offerings for part in fold(offering.service).split("-")}
    weak: Place | None = None
    hosts: list[Place] = []
    for at, word in enumerate(words):
        pair = word.folded + words[at + 1].folded if at + 1 < len(words) else ""
        before = [w.folded for w in words[max(0, at - 2) : at]]
        led = bool(before) and (before[-1] in _PLACING or (before[-1] in _DETERMINERS and before[0] in _PLACING))
        for name, end in (
            (word.folded, word.end),
            (pair, words[at + 1].end if pair else 0),
            (stem(word.folded), word.end),
        ):
            found = names.get(name) or (names.get(name.replace("-", "")) if name else None)
            if found and name and (led or found[0] != "group" or name not in services):
                place = Place(*found, (words[at - 1].start if led else word.start, end))
                if found[0] == "host":
                    hosts.append(place)
                elif led and found[0] == "group" and not hosts:
                    return place
                else:
                    weak = weak or place
                break
    if len({place.name for place in hosts}) > 1:
        span = (hosts[0].span[0], hosts[-1].span[1])
        return Place("several", join_names(dict.fromkeys(place.name for place in hosts), word="and"), span)
    if hosts:
        return hosts[0]
    return weak or _unknown_place(words, facts, catalogue, text)


def find_values(
    text: str, offering: Offering, facts: Facts, catalogue: Catalogue, place: Place | None, *, about: str = ""
) -> dict[str, Said]:
    """The values for an offering's variables that stand in a clause.

    `about` is the service that “it” stands for, if the clause points back at one.
    """
    words = read_words(text)
    quoted = {m.span(): next(g for g in m.groups() if g is not None) for m in _QUOTED.finditer(text)}
    found: dict[str, Said] = {}
    taken: set[int] = set()
    for variable in offering.variables:
        said = _find(variable, text, words, quoted, offering, facts, catalogue, place, taken, about)
        if said is not None:
            found[variable.name] = said
    return found


def _find(
    variable: Variable,
    text: str,
    words: tuple[Word, ...],
    quoted: Mapping[Span, str],
    offering: Offering,
    facts: Facts,
    catalogue: Catalogue,
    place: Place | None,
    taken: set[int],
    about: str,
) -> Said | None:
    meaning = [
        p for p in (stem(part) for part in variable.name.lower().split("_")) if p not in _service_stems(offering)
    ]
    if variable.type in ("list", "object"):
        return _listed(variable, text, words, facts)
    for word in words:
        name, _, value = word.text.partition("=")
        if value and fold(name) in (variable.name.lower(), "_".join(meaning), *meaning[-1:]):
            return Said(value.strip('"'), _origin(word.text), ((word.start, word.end),))
    if variable.type == "boolean":
        return _switch(meaning, words, text)
    if meaning[-1:] == ["servic"] and variable.type == "string":
        others = [s for s in services_named(text, catalogue) if s != offering.service]
        if len(others) == 1:
            spans = tuple((w.start, w.end) for w in words if set(w.stems) & _name_stems(others[0], catalogue))
            return Said(others[0], _origin(_between(text, spans)), spans)
        if not others and about and about != offering.service:
            return Said(about, f"request: {about}, named before", ())
    if set(meaning) & {"host", "hostname", "target", "node"} and place is not None and place.kind == "host":
        return Said(place.name, _origin(text[slice(*place.span)]), (place.span,))
    return _after_word(variable, meaning, text, words, quoted, taken, vocabulary(catalogue))


def _after_word(
    variable: Variable,
    meaning: list[str],
    text: str,
    words: tuple[Word, ...],
    quoted: Mapping[Span, str],
    taken: set[int],
    names: frozenset[str],
) -> Said | None:
    numeric = variable.type in ("integer", "number")
    last = set(meaning[-1:]) | (set(meaning) if numeric else set())
    label = variable.type == "string" and bool(set(meaning) & {"name", "databas", "title", "user", "label", "db"})
    for at, word in enumerate(words):
        if at in taken:
            continue
        hit = bool(set(word.stems) & last) and not is_value(word.folded)
        if not hit and not (label and word.folded in _CALLED):
            continue
        for later in range(at + 1, min(at + 4, len(words))):
            candidate = words[later]
            span, value = _whole(candidate, quoted)
            led = at > 0 and words[at - 1].folded in ("with", "using", "mit")
            called = word.folded in _CALLED or (led and later == at + 1 and candidate.folded not in _LINKS)
            meant = numeric and later == at + 1 and bool(set(word.stems) & set(meaning[-1:]))
            if _fits(variable, value, span in quoted, candidate, names, called=called, meant=meant):
                taken.add(later)
                # The variable's word stays to speak for the playbook; “called” only ever speaks for the value.
                start = word.start if word.folded in _CALLED else span[0]
                return Said(value, _origin(text[word.start : span[1]]), ((start, span[1]),))
            if candidate.folded not in _LINKS | _CALLED and not (set(candidate.stems) & set(meaning)):
                break
        if numeric and at > 0 and _NUMBER.fullmatch(words[at - 1].folded) and at - 1 not in taken:
            taken.add(at - 1)
            number = words[at - 1]
            return Said(number.text, _origin(text[number.start : word.end]), ((number.start, number.end),))
    if "version" in meaning:
        for word in words:
            if _VERSION.fullmatch(word.folded):
                return Said(word.text, _origin(word.text), ((word.start, word.end),))
    if variable.type == "string" and set(meaning) & {"url", "address", "link"}:
        for word in words:
            if "://" in word.text and "=" not in word.text.partition("://")[0]:
                return Said(word.text, _origin(word.text), ((word.start, word.end),))
    return None


def _fits(
    variable: Variable, value: str, is_quoted: bool, word: Word, names: frozenset[str], *, called: bool, meant: bool
) -> bool:
    folded = word.folded
    ordinary = folded in STOP_STEMS or bool(find_verbs((word,))) or bool(set(word.stems) & names)
    if variable.type in ("integer", "number"):
        # “port abc” is a wrong value rather than none, so it is taken and refused with a reason.
        return bool(_NUMBER.fullmatch(value)) or value.startswith(("{{", "{%")) or (meant and not ordinary)
    if is_quoted or value.startswith(("{{", "{%")) or called:
        return True
    if variable.type == "secret":
        return value.startswith(("env:", "file:", "vault:"))
    plain_word = folded not in STOP_STEMS and not find_verbs((word,)) and folded not in _CALLED
    return plain_word and (not set(word.stems) & names or bool(re.search(r"[\d_-]", folded)))


def _whole(word: Word, quoted: Mapping[Span, str]) -> tuple[Span, str]:
    for span, value in quoted.items():
        if span[0] <= word.start < span[1]:
            return span, value
    return (word.start, word.end), word.text


def _switch(meaning: list[str], words: tuple[Word, ...], text: str) -> Said | None:
    at = [next((i for i, w in enumerate(words) if part in w.stems), -1) for part in meaning]
    if not meaning or -1 in at:
        return None
    low, high = min(at), max(at)
    if high - low > 4:
        return None
    negated = any(
        w.folded in ("not", "no", "dont", "don't", "don’t", "without", "never") for w in words[max(0, low - 2) : high]
    )
    span = (words[max(0, low - 2)].start if negated else words[low].start, words[high].end)
    return Said(not negated, _origin(text[slice(*span)]), (span,))


def _listed(variable: Variable, text: str, words: tuple[Word, ...], facts: Facts) -> Said | None:
    sample, origin = facts.variables.get(variable.name, (None, ""))
    items = sample if isinstance(sample, list) else []
    records = any(isinstance(item, dict) for item in items) or variable.default is None
    pairs = [w for w in words if "=" in w.text and not is_value(w.folded.partition("=")[0])]
    if variable.type == "object":
        if not pairs:
            return None
        value: Any = {w.text.partition("=")[0]: w.text.partition("=")[2].strip('"') for w in pairs}
        return Said(value, _origin(", ".join(w.text for w in pairs)), tuple((w.start, w.end) for w in pairs))
    by_name = {fold(str(item.get("name", "")) if isinstance(item, dict) else str(item)): item for item in items}
    chosen: list[Any] = []
    spans: list[Span] = []
    said: list[str] = []
    for at, word in enumerate(words):
        pair = f"{word.folded} {words[at + 1].folded}" if at + 1 < len(words) else ""
        if at and words[at - 1].folded in ("to", "into", "from") and "://" not in word.text:
            continue  # where the items go, or come from, is not one of them
        if pair and pair in by_name:
            chosen.append(by_name[pair])
            spans.append((word.start, words[at + 1].end))
        elif word.folded in by_name:
            chosen.append(by_name[word.folded])
            spans.append((word.start, word.end))
        elif word in pairs:
            name, _, url = word.text.partition("=")
            chosen.append({"name": name, "url": url.strip('"')} if records else word.text)
            spans.append((word.start, word.end))
            said.append(word.text)
        elif "://" in word.text and records:
            name, start = _name_for(words, at)
            chosen.append({"name": name, "url": word.text})
            spans.append((start, word.end))
            said.append(text[start : word.end])
    if not chosen:
        return None
    unique = [item for at, item in enumerate(chosen) if item not in chosen[:at]]
    taken = len(unique) - len(set(said))
    parts = [_origin(", ".join(dict.fromkeys(said)))] if said else []
    if taken > 0:
        parts.append(f"{origin} ({taken} of {len(items)})")
    return Said(unique, "; ".join(parts), tuple(spans))


def _name_for(words: tuple[Word, ...], at: int) -> tuple[str, int]:
    """The name of an address, said before it (“wiki at https://…”) or else read from it, and where the words begin."""
    for before in range(at - 1, max(-1, at - 6), -1):
        word = words[before]
        if word.folded in ("at", "with", "the", "url", "address", "link", "under", "on", "its", "and", "a", "an", "as"):
            continue
        called = before > 0 and words[before - 1].folded in _CALLED
        if called or not (word.folded in STOP_STEMS or find_verbs((word,)) or is_value(word.folded)):
            if not called and set(word.stems) & {"portal", "monitor", "entry", "site", "item"}:
                break
            return word.text, words[before - 1].start if called else word.start
        break
    host = urlsplit(words[at].text).hostname or words[at].text
    return host.split(".")[0], words[at].start


def _unknown_place(words: tuple[Word, ...], facts: Facts, catalogue: Catalogue, text: str) -> Place | None:
    names = vocabulary(catalogue)
    lists = {fold(name) for name in _list_items(facts)}
    quoted = [m.span() for m in _QUOTED.finditer(text)]
    for at, word in enumerate(words[:-1]):
        if word.folded not in _PLACING:
            continue
        rest = [w for w in words[at + 1 : at + 5] if w.folded not in _DETERMINERS]
        if not rest or rest[0].folded in STOP_STEMS or is_value(rest[0].folded) or rest[0].folded[0].isdigit():
            continue
        first = rest[0]
        inside = any(s <= first.start < e for s, e in quoted)
        if set(first.stems) & names or first.folded in lists or find_verbs((first,)) or inside:
            continue
        if any(w.folded in lists or set(w.stems) & names for w in rest[1:2]):
            continue
        return Place("unknown", first.text, (word.start, first.end))
    return None


def _list_items(facts: Facts) -> list[str]:
    found: list[str] = []
    for value, _ in facts.variables.values():
        for item in value if isinstance(value, list) else ():
            name = item.get("name") if isinstance(item, dict) else item
            if isinstance(name, str) and 2 < len(name) <= 60 and "{" not in name:
                found.append(name)
    return found


def _service_stems(offering: Offering) -> set[str]:
    return {stem(part) for part in fold(offering.service).replace("-", "_").split("_")}


def _name_stems(service: str, catalogue: Catalogue) -> set[str]:
    names = {service, *(a for o in catalogue.offerings if o.service == service for a in o.aliases)}
    return {part for name in names for word in read_words(name) for part in word.stems}


def _between(text: str, spans: tuple[Span, ...]) -> str:
    return text[spans[0][0] : spans[-1][1]] if spans else text


def _origin(words: str) -> str:
    return f"request: “{described(words)}”"
