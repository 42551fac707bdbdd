"""The small amount of language that matching needs: words with their places, stems, synonyms and verbs.

Pure. English first, with the commonest German verbs; whatever is not in these tables is simply not understood.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_WORD: Final = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}"  # a template stays one word, so that it is never taken apart and half used
    r"|[a-zA-Z][a-zA-Z0-9+.-]*://[^\s,;“”\"'<>]+"
    r"|[^\W_][\w-]*=(?:\"[^\"]*\"|[^\s,;]+)"
    r"|[^\W_]+(?:[-_.:/'’+][^\W_]+)*",
    re.DOTALL,
)
_PARTS: Final = re.compile(r"[-_./:\s]+")

#: The verb a group of words stands for. The first word of each row is the name used in keys and pages.
_VERB_ROWS: Final = """
deploy install setup provision rollout launch host stand-up spin-up bring-up redeploy installiere installieren deploye
configure config reconfigure konfiguriere konfigurieren
update change modify edit adjust refresh set aktualisiere aktualisieren andere
add append include insert register put enter list-in integrate hinzufuge hinzufugen erganze erganzen fuge trage
remove delete uninstall undeploy destroy teardown drop purge erase wipe unregister get-rid entferne entfernen losche loschen
upgrade bump
backup dump snapshot save archive sichere sichern
restore recover undo revert reverse wiederherstelle
check verify inspect validate probe audit prufe prufen kontrolliere uberprufe
restart reboot bounce neustarte
reload
start enable starte
stop disable halt pause stoppe
renew rotate erneuere
migrate move
sync synchronise synchronize mirror
patch
clean cleanup prune
create make build generate erstelle
test
""".strip()

VERB_OF: Final[dict[str, str]] = {}

#: Verbs that one playbook often serves alike: asking with one may well mean an offering with the other.
_RELATED: Final[dict[str, frozenset[str]]] = {}
for _group in (
    "add update configure",
    "update upgrade configure",
    "deploy create",
    "deploy update upgrade",
    "check test",
    "restart reload",
    "remove clean",
):
    _names = frozenset(_group.split())
    for _name in _names:
        _RELATED[_name] = _RELATED.get(_name, frozenset()) | (_names - {_name})

#: These say only that something shall be done; a noun such as “backup” then says what.
LIGHT_VERBS: Final = frozenset("run execute do make take perform create start trigger launch kick fuhre".split())
#: What these undo cannot be brought back by asking again, so they never stand for another verb.
DESTRUCTIVE: Final = frozenset({"remove", "restore", "clean"})

STOP_WORDS: Final = frozenset(
    """a an the this that these those our my your their its his her we i you they it he she us me them there here please
    kindly can could would will should shall may might must let lets want need like have has had get got be is are was were
    been being do does did to of on onto in into at for from with by as up off over out via and or but then also too now just so
    all any some every each existing current currently available new fresh again asap quickly soon immediately today right away
    instance service services server servers machine machines box stack app application applications tool tools playbook
    playbooks ansible job jobs thing things stuff one ones go ahead sure make hey hi hello thanks thank dear chiffon
    first second next finally after afterwards before once when while already still well ok okay valid
    bitte der die das den dem des ein eine einen einem und dann danach auf mit im am zum zur fur von unser unsere unseren
    meine meinen neu alle job called named name infrastructure environment environments network system hosts whether only simply really completely entirely fully hinzu""".split()
)

_SYNONYMS: Final = {
    "configuration": "config",
    "configurations": "config",
    "configs": "config",
    "cfg": "config",
    "settings": "config",
    "setting": "config",
    "konfiguration": "config",
    "configuring": "config",
    "pg": "postgres",
    "psql": "postgres",
    "postgresql": "postgres",
    "postgre": "postgres",
    "db": "database",
    "dbs": "database",
    "datenbank": "database",
    "cert": "certificate",
    "certs": "certificate",
    "zertifikat": "certificate",
    "zertifikate": "certificate",
    "tls": "certificate",
    "ssl": "certificate",
    "portale": "portal",
    "sicherung": "backup",
    "backups": "backup",
    "k8s": "kubernetes",
}
_UNSTEMMED: Final = frozenset({"kubernetes", "redis", "postgres", "traefik", "prometheus", "news", "dns", "series"})


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text: as written, folded, its stems (a hyphenated word has several), and where it stands."""

    text: str
    folded: str
    stems: tuple[str, ...]
    start: int
    end: int


def fold(text: str) -> str:
    """Lower case without accents or invisible characters, in compatibility form."""
    spread = unicodedata.normalize("NFKD", text).casefold()
    return "".join(ch for ch in spread if not unicodedata.combining(ch) and unicodedata.category(ch) != "Cf")


@lru_cache(maxsize=20_000)
def stem(folded: str) -> str:
    """A crude stem of a folded word: plural, -ing, -ed and a final e go, synonyms meet."""
    word = folded.removesuffix("'s").removesuffix("’s")
    word = _SYNONYMS.get(word, word)
    if len(word) <= 3 or word in _UNSTEMMED or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    word = _SYNONYMS.get(word, word)
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and _has_vowel(word[: -len(ending)]):
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


@lru_cache(maxsize=2_000)
def read_words(text: str) -> tuple[Word, ...]:
    """The words of a text in order. Templates, URLs and `name=value` pairs stay whole."""
    found = []
    for match in _WORD.finditer(text):
        folded = fold(match.group())
        stems = (folded,) if is_value(folded) else tuple(stem(part) for part in _PARTS.split(folded) if part)
        found.append(Word(match.group(), folded, stems, match.start(), match.end()))
    return tuple(found)


def stems_of(*texts: str) -> tuple[str, ...]:
    """The stems of all words of some texts, stop words left out, in order and without repeats."""
    found = (part for text in texts for word in read_words(text) for part in word.stems)
    return tuple(dict.fromkeys(part for part in found if part not in STOP_STEMS))


def is_value(folded: str) -> bool:
    """Whether a word can only be a value: a template, a URL or a `name=value` pair."""
    return folded.startswith(("{{", "{%")) or "://" in folded or "=" in folded


def verb_of(folded: str) -> str:
    """The verb a single word stands for, or an empty text."""
    return VERB_OF.get(folded) or VERB_OF.get(stem(folded)) or ""


def related_verbs(asked: str, offered: str) -> bool:
    """Whether someone who asks with one verb may mean an offering with the other."""
    return offered in _RELATED.get(asked, frozenset())


@dataclass(frozen=True, slots=True)
class VerbUse:
    """A verb in a text: its name, the positions of its words, and whether its words are a noun's as well."""

    verb: str
    positions: tuple[int, ...]
    light: bool = False


_PARTICLES: Final = {
    ("set", "up"): "deploy",
    ("roll", "out"): "deploy",
    ("spin", "up"): "deploy",
    ("bring", "up"): "deploy",
    ("stand", "up"): "deploy",
    ("richt", "ein"): "deploy",
    ("back", "up"): "backup",
    ("tear", "down"): "remove",
    ("tak", "down"): "remove",
    ("get", "rid"): "remove",
    ("throw", "away"): "remove",
    ("roll", "back"): "restore",
    ("shut", "down"): "stop",
    ("clean", "up"): "clean",
    ("look", "at"): "check",
    ("hook", "up"): "add",
    ("up", "running"): "deploy",  # “up and running”
    ("get", "running"): "deploy",
    ("get", "going"): "deploy",
    ("hav", "running"): "deploy",
}


def find_verbs(words: tuple[Word, ...]) -> tuple[VerbUse, ...]:
    """The verbs of a clause in order, two-word verbs (“back the database up”) included."""
    found: list[VerbUse] = []
    taken: set[int] = set()
    for at, word in enumerate(words):
        if at in taken or is_value(word.folded):
            continue
        head = stem(word.folded)
        for later in range(at + 1, min(at + 6, len(words))):
            name = _PARTICLES.get((head, words[later].folded))
            if name and (later == at + 1 or not any(verb_of(w.folded) for w in words[at + 1 : later])):
                found.append(VerbUse(name, (at, later)))
                taken |= {at, later}
                break
        else:
            name = verb_of(word.folded)
            if not name and "-" in word.folded:
                continue
            light = head in _LIGHT_STEMS
            if name or light:
                found.append(VerbUse(name or "run", (at,), light=light))
                taken.add(at)
    return tuple(found)


def verbs_in(*texts: str) -> tuple[str, ...]:
    """The verbs that some texts (file names with hyphens too) name, in order and without repeats."""
    found: list[str] = []
    for text in texts:
        words = read_words(_PARTS.sub(" ", text))
        found.extend(use.verb for use in find_verbs(words) if use.verb != "run")
    return tuple(dict.fromkeys(found))


def join_names(names: Iterable[str], *, word: str = "or") -> str:
    """Names as a person lists them: “a, b or c”."""
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} {word} {listed[-1]}" if listed else ""


def _has_vowel(part: str) -> bool:
    return any(ch in "aeiouy" for ch in part)


for _row in _VERB_ROWS.splitlines():
    _words = _row.split()
    for _word in _words:
        VERB_OF.setdefault(_word, _words[0])
        VERB_OF.setdefault(stem(_word), _words[0])
del VERB_OF["get-rid"], VERB_OF["list-in"]
VERB_OF.update(deployment="deploy", deploymen="deploy", installation="deploy", removal="remove", erneuern="renew")
_LIGHT_STEMS: Final = frozenset(stem(word) for word in LIGHT_VERBS)
STOP_STEMS: Final = STOP_WORDS | frozenset(stem(word) for word in STOP_WORDS)
