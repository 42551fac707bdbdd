"""What can go wrong with agents and playbooks. Each has a code for trail and API, and a sentence for a person.

AgentsError
├── NoSuchAgent           404
├── AgentNameTaken        409: another machine already runs an agent of that name
├── IllegalAgentMove      409: its status does not allow it
├── NoSuchPlaybook        404
├── NoSuchBreaker         404
├── ReasonMissing         422: a person must say why
├── BreakerUnreachable    503: Redis, which keeps the breakers, does not answer now
├── NoSuchTool            404
├── RepositoryUnreadable  409: the playbook repository can not be read now
└── StateRefused          422: what a tool wants to remember can not be, and why
"""

from __future__ import annotations


class AgentsError(Exception):
    """The root of this app's errors. `status` is the HTTP status that fits it."""

    code = "agents_error"
    status = 400

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NoSuchAgent(AgentsError):
    """No agent of that name has registered."""

    code = "not_found"
    status = 404


class AgentNameTaken(AgentsError):
    """Another agent of that name is alive."""

    code = "agent_name_taken"
    status = 409


class IllegalAgentMove(AgentsError):
    """The agent's status does not allow this."""

    code = "illegal_transition"
    status = 409


class NoSuchPlaybook(AgentsError):
    """The catalogue has no such playbook."""

    code = "not_found"
    status = 404


class NoSuchTool(AgentsError):
    """No tool of that name is installed, or it is turned off."""

    code = "not_found"
    status = 404


class RepositoryUnreadable(AgentsError):
    """The playbook repository can not be read now; what was found before stays."""

    code = "repository_unreadable"
    status = 409


class NoSuchBreaker(AgentsError):
    """No breaker has that id."""

    code = "not_found"
    status = 404


class ReasonMissing(AgentsError):
    """A person must say why, because others read it."""

    code = "reason_missing"
    status = 422


class BreakerUnreachable(AgentsError):
    """Redis, which keeps the breakers, does not answer now; meanwhile they count as closed."""

    code = "breaker_unreachable"
    status = 503


class StateRefused(AgentsError):
    """What a tool wants to remember, recall or forget can not be: no such scope, too large, no room, or it is over."""

    code = "state_refused"
    status = 422
