"""The strategy that needs no language model: clauses, matching against the catalogue, values from words and inventory.

Pure and deterministic. Where it is not sure it asks; what it does not understand it names; it never guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from agents.playbooks.catalogue import Catalogue, Offering
from agents.playbooks.facts import Facts
from agents.playbooks.filling import Filled
from agents.playbooks.matching import Choice, Match, MatchContext, choose, match, services_named
from agents.playbooks.words import STOP_STEMS, find_verbs, read_words, stems_of
from plans.decomposition import Ambiguity, Decomposition, OutOfScope, Span
from plans.intake.arrange import Draft, arrange, complexity_of
from plans.intake.clauses import Clause, ClauseKind, refers_back, split_clauses
from plans.intake.parameters import fill_parameters, secret_in_the_way, settle_place
from plans.intake.questions import GO_ON, NOTHING, chosen, go_on, which_offering
from plans.intake.slots import Place, Said, find_place, find_schedule, find_values, known_words, plain_values

NAME: Final = "catalogue"
_RESCORED: Final = 3
_DONE: Final = frozenset(
    "done ready finished up running complete completed over deployed installed there fertig".split()
)


@dataclass
class _Reading:
    text: str
    catalogue: Catalogue
    facts: Facts
    answers: Mapping[str, str]
    drafts: list[Draft] = field(default_factory=list)
    ambiguities: list[Ambiguity] = field(default_factory=list)
    left: list[OutOfScope] = field(default_factory=list)
    limits: list[tuple[int, Clause]] = field(default_factory=list)
    service: str = ""
    verb: str = ""
    lost: bool = False

    def leave(self, start: int, end: int, reason: str) -> None:
        self.left.append(OutOfScope(self.text[start:end], reason, (start, end)))


def decompose_by_catalogue(text: str, catalogue: Catalogue, facts: Facts, answers: Mapping[str, str]) -> Decomposition:
    """Take a checked text apart by matching its clauses against what the catalogue offers."""
    reading = _Reading(text, catalogue, facts, answers)
    for number, clause in enumerate(split_clauses(text, catalogue, known_words(facts)), start=1):
        _read_clause(reading, number, clause)
    stopped = _settle_limits(reading)
    subtasks = () if stopped else arrange(reading.drafts)
    if stopped:
        reading.ambiguities.clear()
        for draft in reading.drafts:
            reading.leave(*draft.words[0], "You said that nothing shall be planned.")
    if not subtasks and not reading.ambiguities and not reading.left:
        start = len(text) - len(text.lstrip())
        reading.leave(start, len(text.rstrip()), "No playbook matches these words.")
    return Decomposition(
        subtasks=subtasks,
        ambiguities=tuple(reading.ambiguities),
        out_of_scope=tuple(sorted(reading.left, key=lambda part: part.span)),
        complexity=complexity_of(reading.drafts, len(subtasks), len(reading.ambiguities)),
        decomposer=NAME,
    )


def _read_clause(reading: _Reading, number: int, clause: Clause) -> None:
    match clause.kind:
        case ClauseKind.LIMIT | ClauseKind.CONDITION:
            if not _tells_value(reading, clause):
                reading.limits.append((number, clause))
        case ClauseKind.STATEMENT:
            _remember_service(reading, clause)
            reading.leave(clause.start, clause.end, "It tells something and asks for nothing.")
        case ClauseKind.QUESTION:
            _read_question(reading, number, clause)
        case ClauseKind.WORK:
            words = read_words(clause.text)
            if words and all(word.folded in STOP_STEMS - {"everything", "it"} for word in words):
                return  # “hello”, “thank you”
            _read_work(reading, number, clause)


def _tells_value(reading: _Reading, clause: Clause) -> bool:
    """Whether a condition only gives the work before it a value: “warn if they expire within 14 days”."""
    if clause.kind is not ClauseKind.CONDITION or not reading.drafts or reading.drafts[-1].clause.end > clause.start:
        return False
    said = _values(reading, clause.text, reading.drafts[-1].offering, None)
    if said:
        _add_to_last(reading, clause, said)
    return bool(said)


def _says_more(reading: _Reading, offering: Offering, said: Mapping[str, Said], text: str) -> bool:
    """Whether a noun alone is more about the work before it: “…, database name billing”, “… and warn”."""
    if not reading.drafts or reading.drafts[-1].offering.playbook != offering.playbook:
        return False
    settled = {name for name, filled in reading.drafts[-1].parameters.items() if filled.origin.startswith("request")}
    return not settled & set(said) if said else not services_named(text, reading.catalogue)


def _add_to_last(reading: _Reading, clause: Clause, said: Mapping[str, Said]) -> None:
    draft = reading.drafts[-1]
    if reason := secret_in_the_way(draft.offering, said, reading.facts):
        reading.drafts.pop()
        asked = f"clause-{draft.number}:"
        reading.ambiguities[:] = [question for question in reading.ambiguities if not question.key.startswith(asked)]
        for start, end in (*draft.words, (clause.start, clause.end)):
            reading.leave(start, end, reason)
        return
    filled, questions = fill_parameters(draft.number, draft.offering, said, reading.facts, reading.answers, ())
    settled = {f"clause-{draft.number}:{name}" for name in said}
    reading.ambiguities[:] = [question for question in reading.ambiguities if question.key not in settled]
    reading.ambiguities.extend(question for question in questions if question.about in said)
    reading.drafts[-1] = replace(
        draft,
        parameters={**draft.parameters, **{name: filled[name] for name in said if name in filled}},
        words=(*draft.words, (clause.start, clause.end)),
    )


def _read_question(reading: _Reading, number: int, clause: Clause) -> None:
    matches = tuple(
        found for found in match(clause.text, reading.catalogue) if found.offering.verb in ("check", "test")
    )
    choice = choose(matches)
    if choice.kind == "none":
        _remember_service(reading, clause)
        reading.leave(clause.start, clause.end, "It is a question; Chiffon plans work and answers none.")
    else:
        picked = _ask_which(reading, number, clause, matches[:1])
        if picked is not None:
            _draft(reading, number, clause, picked, None, {}, answered=True)


def _read_work(reading: _Reading, number: int, clause: Clause) -> None:
    times = find_schedule(clause.text)
    visible = _blanked(clause.text, times)
    for start, end in times:
        reading.leave(
            clause.start + start, clause.start + end, "Work runs once, after approval; times and repetition come later."
        )
    place = find_place(visible, reading.facts, reading.catalogue)
    explained = (*times, *_plain_values(reading, clause.text), *((place.span,) if place else ()))
    context = MatchContext(service=reading.service, verb=reading.verb if clause.inherits else "", explained=explained)
    found = match(clause.text, reading.catalogue, context)
    values = {m.offering.key: _values(reading, visible, m.offering, place) for m in found[:_RESCORED]}
    matches = _rescored(reading, clause, context, found, values)
    uses = [use for use in find_verbs(read_words(visible)) if not use.light]
    if uses and not clause.inherits:
        reading.verb = uses[0].verb
    choice = choose(matches)
    if choice.kind == "match" and reading.lost and refers_back(clause.text) and not _names_itself(visible, choice):
        choice = Choice("ask", choice.matches)  # “its config” may be the config of what was not understood
    if choice.kind == "none":
        _leave_clause(reading, clause, visible)
        return
    picked = choice.matches[0] if choice.kind == "match" else _ask_which(reading, number, clause, choice.matches)
    if picked is not None:
        reading.lost = False
        reading.service = picked.offering.service or reading.service
        said = values.get(picked.offering.key)
        if said is None:
            said = _values(reading, visible, picked.offering, place)
        target = next((found.value for name, found in said.items() if name.endswith("_service")), "")
        reading.service = str(target) or reading.service  # in “back up kuma and remove it”, it is kuma
        if clause.inherits and _says_more(reading, picked.offering, said, visible):
            _add_to_last(reading, clause, said)
        else:
            _draft(reading, number, clause, picked, place, said, answered=choice.kind == "ask")


def _plain_values(reading: _Reading, text: str) -> tuple[Span, ...]:
    # Quotes around a service's name are emphasis, not a value: deploy "kuma".
    return tuple((s, e) for s, e in plain_values(text) if not services_named(text[s:e], reading.catalogue))


def _values(reading: _Reading, text: str, offering: Offering, place: Place | None) -> dict[str, Said]:
    about = reading.service if refers_back(text) else ""
    return find_values(text, offering, reading.facts, reading.catalogue, place, about=about)


def _names_itself(text: str, choice: Choice) -> bool:
    return bool(set(stems_of(choice.matches[0].offering.service)) & set(stems_of(text)))


def _rescored(
    reading: _Reading,
    clause: Clause,
    context: MatchContext,
    found: tuple[Match, ...],
    values: Mapping[str, Mapping[str, Said]],
) -> tuple[Match, ...]:
    """The matches again, now that the words which are an offering's values count as explained for it."""
    again = []
    for one in found:
        spans = tuple(span for said in values.get(one.offering.key, {}).values() for span in said.spans)
        if spans:
            wider = replace(context, explained=(*context.explained, *spans))
            fresh = match(clause.text, reading.catalogue, wider)
            one = next((m for m in fresh if m.offering.key == one.offering.key), one)
        again.append(one)
    return tuple(sorted(again, key=lambda m: (-m.score, m.offering.key)))


def _ask_which(reading: _Reading, number: int, clause: Clause, matches: tuple[Match, ...]) -> Match | None:
    """The match that an earlier answer chose; otherwise None, and the question or the refusal is noted."""
    question = which_offering(f"clause-{number}:offering", clause.text, matches)
    answer = reading.answers.get(question.key)
    picked = chosen(question, answer) if answer is not None else None
    if picked == NOTHING:
        reading.lost = True
        reading.leave(clause.start, clause.end, "You said that none of the known playbooks was meant.")
        return None
    by_key = {found.offering.key: found for found in matches}
    if picked is not None and picked in by_key:
        return by_key[picked]
    if answer is not None:
        question = replace(
            question, question=f"“{answer[:80]}” fits none of these, or more than one. {question.question}"
        )
    services = {found.offering.service for found in matches}
    if len(services) == 1:
        reading.service = services.pop()
    reading.ambiguities.append(question)
    return None


def _draft(
    reading: _Reading,
    number: int,
    clause: Clause,
    found: Match,
    place: Place | None,
    said: Mapping[str, Said],
    *,
    answered: bool,
) -> None:
    offering = found.offering
    if reason := secret_in_the_way(offering, said, reading.facts):
        reading.leave(clause.start, clause.end, reason)
        return
    settled, question = settle_place(number, place, offering, reading.catalogue, reading.facts, reading.answers)
    if question is not None:
        reading.ambiguities.append(question)
    elif place is not None and settled is None:
        reading.leave(clause.start, clause.end, f"You said that it shall not run at “{place.name}”.")
        return
    hints = tuple(word.text for word in found.unexplained)
    parameters, questions = fill_parameters(number, offering, said, reading.facts, reading.answers, hints)
    reading.ambiguities.extend(questions)
    used = {str(filled.value) for filled in parameters.values()}
    for word in found.unexplained:
        if word.text not in used:
            start = clause.start + word.start
            reason = f"{offering.playbook} says nothing of it; the rest of the sentence is understood."
            reading.leave(start, clause.start + word.end, reason)
    accounted = [*(span for value in said.values() for span in value.spans), *([place.span] if place else [])]
    for start, end in _plain_values(reading, clause.text):
        if not any(s < end and start < e for s, e in (*accounted, *find_schedule(clause.text))):
            reason = f"It is a value that {offering.playbook} has no use for."
            reading.leave(clause.start + start, clause.start + end, reason)
    reading.drafts.append(
        Draft(
            number=number,
            clause=clause,
            offering=offering,
            confidence=max(found.score, 0.95) if answered else found.score,
            parameters=parameters,
            place=settled.to_json() if settled else {},
            explanation=found.explanation,
            words=((clause.start, clause.end),),
            touches=_touched(offering, parameters),
        )
    )


def _touched(offering: Offering, parameters: Mapping[str, Filled]) -> frozenset[str]:
    named = {
        str(filled.value).lower()
        for name, filled in parameters.items()
        if name.endswith("service") and isinstance(filled.value, str)
    }
    return frozenset({offering.service, *named} - {""})


def _leave_clause(reading: _Reading, clause: Clause, visible: str) -> None:
    named = services_named(visible, reading.catalogue)
    service = named[0] if named else reading.service if refers_back(clause.text) else ""
    if service:
        offered = sorted({o.verb for o in reading.catalogue.offerings if o.service == service})
        reason = f"{service} is known, but no playbook does this with it; what can be asked for: {', '.join(offered)}."
    else:
        reason = "No playbook matches these words."
    reading.lost = not service
    reading.service = service or reading.service
    reading.leave(clause.start, clause.end, reason)


def _remember_service(reading: _Reading, clause: Clause) -> None:
    named = services_named(clause.text, reading.catalogue)
    reading.service = named[0] if named else reading.service


def _settle_limits(reading: _Reading) -> bool:
    """Ask about conditions and limits that nobody would watch; True when the requester wants nothing planned."""
    stop = False
    for number, clause in reading.limits:
        words = reading.text[clause.start : clause.end]
        if not reading.drafts and not reading.ambiguities:
            reason = "It says what not to do." if clause.kind is ClauseKind.LIMIT else "It is only a condition."
            reading.leave(clause.start, clause.end, reason)
            continue
        if _is_order_only(reading, clause):
            _put_after(reading, number)
            continue
        what = "says what not to do" if clause.kind is ClauseKind.LIMIT else "is a condition, which I do not watch"
        question = go_on(f"clause-{number}:limit", words, what)
        answer = reading.answers.get(question.key)
        picked = chosen(question, answer) if answer is not None else None
        if picked == GO_ON:
            reading.leave(clause.start, clause.end, "You said to go on without it.")
        elif picked == NOTHING:
            stop = True
            reading.leave(clause.start, clause.end, "You said that nothing shall be planned.")
        else:
            reading.ambiguities.append(question)
    return stop


def _is_order_only(reading: _Reading, clause: Clause) -> bool:
    # “once it is up”, “when that is done”: among several pieces of work this only says in which order.
    led = reading.text[: clause.start].rstrip().lower()
    words = {word.folded for word in read_words(clause.text)}
    return (
        clause.kind is ClauseKind.CONDITION
        and len(reading.drafts) > 1
        and not led.endswith(("if", "unless", "falls", "wenn"))
        and bool(words & _DONE)
        and not words & {"not", "no", "never"}
    )


def _put_after(reading: _Reading, number: int) -> None:
    later = next((at for at, draft in enumerate(reading.drafts) if draft.number > number), len(reading.drafts) - 1)
    draft = reading.drafts[later]
    reading.drafts[later] = replace(draft, clause=replace(draft.clause, after=True))


def _blanked(text: str, spans: tuple[Span, ...]) -> str:
    for start, end in spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text
