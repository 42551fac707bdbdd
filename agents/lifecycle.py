"""The one way an agent changes its status: the table, a conditional update, a record."""

from __future__ import annotations

from typing import Any

from agents.enums import AgentStatus
from agents.errors import IllegalAgentMove
from agents.lifecycle_tables import AGENT_TRANSITIONS
from agents.models import Agent
from audit import trail
from audit.trail import requires_transaction

# Ready and busy change with every step; who chose the agent is recorded there, so these moves need no record.
_UNRECORDED = frozenset({AgentStatus.READY, AgentStatus.BUSY})


@requires_transaction
def move_agent(agent: Agent, *, to: AgentStatus, because: str, **fields: Any) -> bool:
    """Move an agent; being there already is fine. False if someone else moved it at the same moment.

    Raises IllegalAgentMove for a move that is not in the table.
    """
    was = AgentStatus(agent.status)
    if was is to:
        if fields:
            Agent.objects.filter(pk=agent.pk).update(**fields)
        return True
    if to not in AGENT_TRANSITIONS.get(was, frozenset()):
        raise IllegalAgentMove(f"{agent.name} is {was.label.lower()}; it can not become {to.label.lower()}.")
    if not Agent.objects.filter(pk=agent.pk, status=was).update(status=to, status_reason=because, **fields):
        return False
    agent.status, agent.status_reason = to, because
    if not {was, to} <= _UNRECORDED:
        trail.record("agent.status_changed", subject=("agent", agent.name), reason=because, was=str(was), now=str(to))
    return True
