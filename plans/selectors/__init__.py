"""Page-shaped reads: what a page needs, in a number of queries that does not grow with its rows."""

from __future__ import annotations

from plans.selectors.inbox import inbox_page, waiting_count
from plans.selectors.lists import plan_list, request_list
from plans.selectors.output import output_window
from plans.selectors.plan_page import plan_page
from plans.selectors.policy import active_policy, policy_page
from plans.selectors.request_page import request_page
from plans.selectors.run_page import run_page
from plans.selectors.tools import tool_calls
from plans.selectors.uses import uses_of

__all__ = [
    "active_policy",
    "inbox_page",
    "output_window",
    "plan_list",
    "plan_page",
    "policy_page",
    "request_list",
    "request_page",
    "run_page",
    "tool_calls",
    "uses_of",
    "waiting_count",
]
