"""The verbs of this app: what a page, the API, a command or the scheduler may ask for.

Each takes the actor, asks the one authorisation function, opens its transaction and writes its record in it.
"""

from __future__ import annotations

from plans.services.asking import answer_request, create_plan, submit_request
from plans.services.control import cancel_plan, pause_plan, resume_plan, skip_step
from plans.services.deciding import approve_plan, reject_plan
from plans.services.policy import change_policy
from plans.services.revising import revise_plan
from plans.services.running import give_up_step, retry_plan, retry_step
from plans.services.undoing import undo_plan

__all__ = [
    "answer_request",
    "approve_plan",
    "cancel_plan",
    "change_policy",
    "create_plan",
    "give_up_step",
    "pause_plan",
    "reject_plan",
    "resume_plan",
    "retry_plan",
    "retry_step",
    "revise_plan",
    "skip_step",
    "submit_request",
    "undo_plan",
]
