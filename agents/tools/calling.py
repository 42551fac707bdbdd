"""One call of a tool with everything around it: its cache, its events, its bugs, and whether it kept its promise."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from agents.errors import StateRefused
from agents.protocol import FailureMode, WorkRequest, WorkResult
from agents.tools import cache, results
from agents.tools.base import Tool, ToolContext

logger = logging.getLogger(__name__)


def call(
    tool: Tool,
    request: WorkRequest,
    context: ToolContext,
    *,
    user: str = "",
    forbidden: Callable[[], str] | None = None,
) -> WorkResult:
    """Do the work once, or answer it from the cache. A tool's bug is a terminal failure of the step and never raised.

    `user` is who asked for the plan; only tools that are cached per user need it. `forbidden` is asked right before the
    tool would be called, so not where the cache answers; it says why the call is not to be made, or nothing.
    """
    asked = _asked(request)
    if kept := cache.lookup(tool, asked, user=user):
        context.event("agent_thinking", {"text": f"Answers {tool.name} from the cache instead of calling it again."})
        return kept
    if forbidden and (why := forbidden()):
        return WorkResult.failed(FailureMode.POLICY, why)
    told = {"tool": tool.name, "playbook": request.playbook.path if request.playbook else ""}
    context.event("tool_executing", told)
    result = _run(tool, request, context)
    context.event("tool_completed", {"tool": tool.name, "outcome": str(result.outcome), "summary": result.summary})
    cache.store(tool, asked, result, user=user)
    return result


def _run(tool: Tool, request: WorkRequest, context: ToolContext) -> WorkResult:
    try:
        answer: object = tool.run(request, context)
    except StateRefused as error:  # what it wanted to keep can not be: the plan's trouble, and no bug of the tool
        return WorkResult.failed(FailureMode.USER, error.sentence)
    except (Exception, SystemExit) as error:  # sys.exit() in a tool must not take the agent with it
        logger.exception("tool %s raised", tool.name)
        return WorkResult.failed(FailureMode.AGENT, f"The tool {tool.name} broke: {type(error).__name__}.")
    return results.checked(tool, answer)


def _asked(request: WorkRequest) -> dict[str, Any]:
    """Everything in a request that decides what comes of it."""
    return {"input": request.input, "playbook": asdict(request.playbook) if request.playbook else None}
