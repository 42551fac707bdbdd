"""Who may do what: the one function that pages, API, sockets, admin, commands and the scheduler ask.

It sits in the lowest app because every other one asks it. What depends on an object (a plan's requester, four eyes) is
a rule that the object's own app registers here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from audit.context import Actor
from audit.errors import NotAllowed


class Role(StrEnum):
    """The roles, each a Django group of the same name."""

    REQUESTER = "requester"
    APPROVER = "approver"
    AUDITOR = "auditor"
    AGENT_ADMIN = "agent-admin"
    ADMINISTRATOR = "administrator"


class Action(StrEnum):
    """What can be asked of Chiffon."""

    ASK = "ask for work"
    SEE_REQUEST = "see this request"
    ANSWER_REQUEST = "answer in this conversation"
    SEE_PLANS = "see plans"
    SEE_PLAN = "see this plan"
    DECIDE_PLAN = "approve or reject this plan"
    OPERATE_PLAN = "retry or cancel work of this plan"
    SEE_AGENTS = "see agents"
    MANAGE_AGENTS = "manage agents"
    SEE_PLAYBOOKS = "see playbooks"
    REFRESH_PLAYBOOKS = "read the playbooks anew"
    SEE_AUDIT = "read the audit trail"
    SEE_TRACE = "read this trace"
    SEE_POLICY = "see approval policies"
    CHANGE_POLICY = "change approval policies"
    MANAGE_TOKENS = "make and revoke own tokens"
    BROWSE_ADMIN = "browse the records in the admin"
    MANAGE_PEOPLE = "add and change people"


_EVERYONE: Final = frozenset(Role)
_R = Role

ROLES_FOR: Final[Mapping[Action, frozenset[Role]]] = {
    Action.ASK: frozenset({_R.REQUESTER, _R.ADMINISTRATOR}),
    Action.SEE_REQUEST: _EVERYONE,
    Action.ANSWER_REQUEST: frozenset({_R.REQUESTER, _R.ADMINISTRATOR}),
    Action.SEE_PLANS: _EVERYONE,
    Action.SEE_PLAN: _EVERYONE,
    Action.DECIDE_PLAN: frozenset({_R.APPROVER}),
    Action.OPERATE_PLAN: frozenset({_R.REQUESTER, _R.APPROVER, _R.ADMINISTRATOR}),
    Action.SEE_AGENTS: _EVERYONE,
    Action.MANAGE_AGENTS: frozenset({_R.AGENT_ADMIN, _R.ADMINISTRATOR}),
    Action.SEE_PLAYBOOKS: _EVERYONE,
    Action.REFRESH_PLAYBOOKS: frozenset({_R.AGENT_ADMIN, _R.ADMINISTRATOR}),
    Action.SEE_AUDIT: frozenset({_R.AUDITOR, _R.ADMINISTRATOR}),
    Action.SEE_TRACE: _EVERYONE,
    Action.SEE_POLICY: _EVERYONE,
    Action.CHANGE_POLICY: frozenset({_R.ADMINISTRATOR}),
    Action.MANAGE_TOKENS: _EVERYONE,
    Action.BROWSE_ADMIN: frozenset({_R.AUDITOR, _R.ADMINISTRATOR}),
    Action.MANAGE_PEOPLE: frozenset({_R.ADMINISTRATOR}),
}

# What a token must carry, beside its person's role. An action that is absent here cannot be done with a token.
SCOPE_FOR: Final[Mapping[Action, str]] = {
    Action.ASK: "requests:write",
    Action.SEE_REQUEST: "plans:read",
    Action.ANSWER_REQUEST: "requests:write",
    Action.SEE_PLANS: "plans:read",
    Action.SEE_PLAN: "plans:read",
    Action.DECIDE_PLAN: "plans:approve",
    Action.OPERATE_PLAN: "requests:write",
    Action.SEE_AGENTS: "plans:read",
    Action.MANAGE_AGENTS: "agents:manage",
    Action.SEE_PLAYBOOKS: "plans:read",
    Action.REFRESH_PLAYBOOKS: "playbooks:write",
    Action.SEE_AUDIT: "audit:read",
    Action.SEE_TRACE: "audit:read",
}
SCOPES: Final = frozenset(SCOPE_FOR.values())


@dataclass(frozen=True, slots=True)
class Answer:
    """Yes, or no with a code and a sentence. `hidden`: the object must look as if it did not exist (404, not 403)."""

    allowed: bool
    code: str = ""
    sentence: str = ""
    hidden: bool = False

    def __bool__(self) -> bool:
        return self.allowed


YES: Final = Answer(True)
Rule = Callable[[Actor, frozenset[Role], Any], Answer]
_rules: dict[Action, Rule] = {}


def rule(action: Action) -> Callable[[Rule], Rule]:
    """Register the rule that looks at the object of an action. One rule an action."""

    def register(function: Rule) -> Rule:
        _rules[action] = function
        return function

    return register


def roles_of(user: Any) -> frozenset[Role]:
    """The roles of a user; none for someone who is signed out or disabled. Asked of the database once per user object."""
    if user is None or not getattr(user, "is_active", False) or not user.is_authenticated:
        return frozenset()
    known: frozenset[Role] | None = getattr(user, "_chiffon_roles", None)
    if known is None:
        names = set(user.groups.values_list("name", flat=True))
        known = frozenset(role for role in Role if role.value in names)
        user._chiffon_roles = known
    return known


def may(actor: Actor, action: Action, subject: Any = None) -> Answer:
    """Whether this actor may do this to this object: role first, then the token's scope, then the object's own rule.

    Chiffon itself may do everything; agents do nothing through here (they hold tokens of attempts instead).
    """
    if actor.kind == "system":
        return YES
    roles = roles_of(actor.user) if actor.kind == "person" else frozenset()
    if not roles & ROLES_FOR[action]:
        wanted = " or ".join(sorted(role.value for role in ROLES_FOR[action]))
        code = "not_an_approver" if action is Action.DECIDE_PLAN else "forbidden"
        return Answer(False, code, f"To {action.value} needs the role {wanted}.")
    if actor.scopes is not None and SCOPE_FOR.get(action) not in actor.scopes:
        wanted = SCOPE_FOR.get(action, "of a person, not of a token")
        return Answer(False, "scope_missing", f"To {action.value} needs a token with the scope {wanted}.")
    judge = _rules.get(action)
    if subject is not None and judge is not None:
        return judge(actor, roles, subject)
    return YES


def check(actor: Actor, action: Action, subject: Any = None) -> None:
    """Go on, or raise NotAllowed with the code and the sentence."""
    answer = may(actor, action, subject)
    if not answer:
        raise NotAllowed(answer.code, answer.sentence)
