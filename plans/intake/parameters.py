"""The values and the place of one piece of work, and the questions where either is open. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

from agents.playbooks.catalogue import Catalogue, Offering
from agents.playbooks.facts import Facts
from agents.playbooks.filling import NO_SECRETS, Filled, UnusableValue, candidates, fill, is_needed, is_template
from plans.decomposition import Ambiguity
from plans.intake.questions import NOTHING, chosen, value_from, what_value, which_place
from plans.intake.slots import Place, Said


def fill_parameters(
    number: int,
    offering: Offering,
    said: Mapping[str, Said],
    facts: Facts,
    answers: Mapping[str, str],
    hints: tuple[str, ...],
) -> tuple[dict[str, Filled], tuple[Ambiguity, ...]]:
    """Fill an offering's variables; a value that does not fit, or a missing one, becomes a question.

    No secret is filled or asked for: secret_in_the_way() has spoken of it.
    """
    words = {name: found.filled for name, found in said.items()}
    earlier: dict[str, Filled] = {}
    wrong: dict[str, str] = {}
    asked: list[Ambiguity] = []
    for variable in offering.variables:
        key = f"clause-{number}:{variable.name}"
        if key not in answers or variable.type == "secret":
            continue
        known = _known(offering, variable.name, facts)
        question = what_value(key, variable, offering, known, ())
        try:
            earlier[variable.name] = value_from(question, variable, known, answers[key])
            words.pop(variable.name, None)  # it was asked because the words did not settle it
        except UnusableValue as error:
            wrong[variable.name] = error.sentence
            words.pop(variable.name, None)
    for _ in range(len(offering.variables) + 1):
        try:
            values, missing = fill(
                (v for v in offering.variables if v.name not in wrong),
                said=words,
                earlier=earlier,
                facts=facts,
                service=offering.service,
            )
        except UnusableValue as error:
            wrong[error.name] = error.sentence
        else:
            break
    absent = {variable.name for variable in missing}
    for variable in offering.variables:
        if variable.name in absent or variable.name in wrong:
            known = _known(offering, variable.name, facts)
            usable = hints if variable.type == "string" else ()
            key, problem = f"clause-{number}:{variable.name}", wrong.get(variable.name, "")
            asked.append(what_value(key, variable, offering, known, usable, problem))
    return values, tuple(asked)


def secret_in_the_way(offering: Offering, said: Container[str], facts: Facts) -> str:
    """Why work can not be asked for: it needs a secret, or words give it one. Empty if neither."""
    for variable in offering.variables:
        if variable.type == "secret" and (variable.name in said or is_needed(variable, facts)):
            why = "was to be given" if variable.name in said else "needs"
            return f"{offering.playbook} {why} the secret {variable.name}, and {NO_SECRETS}."
    return ""


def settle_place(
    number: int,
    place: Place | None,
    offering: Offering,
    catalogue: Catalogue,
    facts: Facts,
    answers: Mapping[str, str],
) -> tuple[Place | None, Ambiguity | None]:
    """The place that work is limited to, or a question when it is unknown or the playbook does not run there."""
    if place is None:
        return None, None
    playbook = catalogue.playbook(offering.playbook)
    allowed = _allowed_hosts(playbook.hosts if playbook else "", facts)
    problem = _problem(place, allowed, facts)
    if not problem:
        return place, None
    question = which_place(f"clause-{number}:place", place.name, offering, facts, tuple(sorted(allowed)), problem)
    answer = answers.get(question.key)
    picked = chosen(question, answer) if answer is not None else None
    if picked is None:
        return None, question
    if picked == NOTHING:
        return None, None
    if picked == facts.inventory_name:
        return Place("inventory", picked, place.span), None
    return Place("host", picked, place.span), None


def _problem(place: Place, allowed: frozenset[str], facts: Facts) -> str:
    if place.kind == "unknown":
        return f"“{place.name}” is no host, group or inventory that I know."
    if place.kind == "several":
        return f"{place.name} are several places, and a piece of work is limited to one."
    if place.kind == "inventory" or not allowed:
        return ""
    wanted = {place.name} if place.kind == "host" else set(facts.members.get(place.name, ()))
    return "" if wanted & allowed else f"The playbook does not run on {place.name}."


def _allowed_hosts(patterns: str, facts: Facts) -> frozenset[str]:
    if not facts.members and not facts.hosts:
        return frozenset()
    allowed: set[str] = set()
    for pattern in re.split(r"[,:]", patterns):
        if pattern in ("all", "*"):
            allowed |= set(facts.hosts)
        elif pattern in facts.members:
            allowed |= set(facts.members[pattern])
        elif pattern in facts.hosts:
            allowed.add(pattern)
        else:
            return frozenset()  # a pattern we do not work out: Ansible will
    return frozenset(allowed)


def _known(offering: Offering, name: str, facts: Facts) -> tuple[Filled, ...]:
    variable = next(v for v in offering.variables if v.name == name)
    return tuple(f for f in candidates(variable, facts, offering.service) if not is_template(f.value))
