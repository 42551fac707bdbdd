"""The questions a decomposition asks, and how an answer in a person's own words is read.

Pure. A question's key depends on the request's text alone, so that an answer still fits after another one came in.
"""

from __future__ import annotations

import re
from typing import Final

from rapidfuzz import fuzz

from agents.playbooks.catalogue import Offering, Variable
from agents.playbooks.facts import Facts
from agents.playbooks.filling import Filled, UnusableValue, described, is_template, typed
from agents.playbooks.matching import Match
from agents.playbooks.words import STOP_STEMS, find_verbs, fold, read_words
from plans.decomposition import Ambiguity, Option

NOTHING: Final = "none"
GO_ON: Final = "go on"

_ORDINALS: Final = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "former": 1,
}
_COUNTS: Final = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_NO: Final = frozenset("none neither no nothing skip leave cancel stop nope nein keine drop forget".split())
_YES: Final = frozenset("yes y yep yeah sure ok okay go proceed continue ja right correct".split())
_ALIKE: Final = 80  # rapidfuzz, 0 to 100
_PRECEDING: Final = re.compile(
    r"^\s*(?:(?:please\s+)?(?:use|call it|name it|take|make it|set it to|it is|it's|its|the name is|with|should be)\s+)",
    re.IGNORECASE,
)


def title(offering: Offering) -> str:
    """An offering in a few words: its title up to the first comma or colon."""
    short = re.split(r"[,;:.]\s", offering.title, maxsplit=1)[0].strip().rstrip(".")
    return short if len(short) <= 80 else f"{short[:79]}…"


def which_offering(key: str, words: str, matches: tuple[Match, ...]) -> Ambiguity:
    """Ask which of some offerings was meant, or whether the only one was."""
    options = tuple(
        Option(m.offering.key, title(m.offering), f"{m.offering.playbook}: {' '.join(m.explanation)}") for m in matches
    )
    question = f"Which of these do you mean by “{words}”?" if len(options) > 1 else f"Do you mean this by “{words}”?"
    return Ambiguity(key, question, (*options, Option(NOTHING, "None of these", "These words lead to no work.")), words)


def what_value(
    key: str,
    variable: Variable,
    offering: Offering,
    known: tuple[Filled, ...],
    hints: tuple[str, ...],
    problem: str = "",
) -> Ambiguity:
    """Ask for a variable's value, with what is known or was nearly said as options."""
    options = [Option(str(at), described(f.value), f.origin) for at, f in enumerate(known, start=1)]
    options += [Option(hint, hint, "a word of your request") for hint in hints]
    meaning = variable.description or variable.name.replace("_", " ")
    question = f"{title(offering)} needs a value for {meaning} ({variable.name}, {_kind(variable)}). Which one?"
    if problem:
        question = f"{problem} {question}"
    return Ambiguity(key, question, tuple(options), variable.name, free=True)


def which_place(
    key: str, name: str, offering: Offering, facts: Facts, allowed: tuple[str, ...], problem: str
) -> Ambiguity:
    """Ask where the work shall be done."""
    options = [Option(host, host, "host") for host in allowed]
    if facts.inventory_name:
        options.insert(
            0, Option(facts.inventory_name, facts.inventory_name, "the whole inventory, as the playbook says")
        )
    options.append(Option(NOTHING, "Nowhere, leave it out"))
    return Ambiguity(key, f"{problem} Where shall “{title(offering)}” run?", tuple(options), name)


def go_on(key: str, words: str, what: str) -> Ambiguity:
    """Ask whether to go on although a condition or limit cannot be watched."""
    return Ambiguity(
        key,
        f"“{words}” {what}. Shall I plan the rest all the same?",
        (
            Option(GO_ON, "Go on without it", "The plan is shown and approved before anything runs."),
            Option(NOTHING, "Plan nothing"),
        ),
        words,
    )


def chosen(question: Ambiguity, answer: str) -> str | None:
    """The value of the option that an answer means: by value, number, label or own words; None if none or several."""
    folded = fold(answer).strip().strip(".!\"'“”")
    for option in question.options:
        if folded and folded in (fold(option.value), fold(option.label)):
            return option.value
    words = [word.folded for word in read_words(answer)]
    offers_none = any(option.value == NOTHING for option in question.options)
    if words and words[0] in _NO and offers_none and not set(words) & _YES:
        return NOTHING
    real = [option for option in question.options if option.value != NOTHING]
    numbers = [int(word) for word in words if word.isdigit() and len(word) < 4]
    numbers = numbers or [_ORDINALS[word] for word in words if word in _ORDINALS]
    numbers = numbers or [_COUNTS[word] for word in words if word in _COUNTS]
    if len(numbers) == 1 and len(words) <= 4 and 1 <= numbers[0] <= len(question.options):
        return question.options[numbers[0] - 1].value
    if "last" in words and real and len(words) <= 4:
        return real[-1].value
    if len(real) == 1 and words and words[0] in _YES:
        return real[0].value
    return _nearest_option(real, answer)


def value_from(question: Ambiguity, variable: Variable, known: tuple[Filled, ...], answer: str) -> Filled:
    """The value that an answer gives a variable. Raises UnusableValue when it does not fit."""
    said = answer.strip()
    picked = None if not known else chosen(question, said)
    if picked is not None and picked.isdigit() and 1 <= int(picked) <= len(known):
        return known[int(picked) - 1]
    bare = said.strip("\"'“”„") if is_template(said) else _PRECEDING.sub("", said).strip().strip("\"'“”„.")
    if variable.type == "string" and not bare:
        raise UnusableValue(variable.name, f"The answer gives no value for {variable.name}.")
    return Filled(typed(variable, bare), f"answer: “{described(said)}”")


def _nearest_option(options: list[Option], answer: str) -> str | None:
    wanted = _telling(answer)
    if not wanted:
        return None
    verbs = {use.verb for use in find_verbs(read_words(answer))}
    scored = []
    for option in options:
        same_verb = bool(verbs & {option.value.rpartition("#")[2]})
        label = _telling(f"{option.label} {option.value.replace('#', ' ')}")
        share = 100 * len(wanted & label) / len(wanted)
        alike = fuzz.token_set_ratio(fold(answer), fold(option.label))
        scored.append(
            (max(share, alike) + (25 if same_verb else -25 if verbs and "#" in option.value else 0), option.value)
        )
    scored.sort(reverse=True)
    if not scored or scored[0][0] < _ALIKE or (len(scored) > 1 and scored[0][0] - scored[1][0] < 10):
        return None
    return scored[0][1]


def _telling(text: str) -> set[str]:
    return {part for word in read_words(text) for part in word.stems if part not in STOP_STEMS}


def _kind(variable: Variable) -> str:
    return {
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "yes or no",
        "list": "a list, such as name=https://address, name=https://address",
        "object": "name=value pairs",
    }[variable.type]
