"""`chiffon show`: one plan, as an approver needs to read it."""

import argparse
import json
from typing import Any

from chiffon_site.cli.client import DONE, Client, add_common, path_of, run_with_client
from chiffon_site.cli.words import clock, duration, plain, print_json, stage, table


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_common(parser)
    parser.add_argument("plan", metavar="ID", help="the plan's number or id")


def run(args: argparse.Namespace) -> int:
    """Show the plan."""
    return run_with_client(args, _show)


def _show(client: Client, args: argparse.Namespace) -> int:
    plan = client.get(path_of("plans", args.plan))
    if args.json:
        print_json(plan)
    else:
        print(describe(plan))
    return DONE


def describe(plan: dict[str, Any]) -> str:
    """The plan as text: what it is for, what could go wrong, each step with its values, who answered."""
    lines = [
        f"Plan {plan['number']}, revision {plan['revision']}: {stage(plan['stage'])}",
        plain(plan["goal"]),
        "",
        f"Requester  {plan['requester']}, {clock(plan['created_at'])}",
        f"Risk       {plan['risk']}",
        f"Duration   {duration(plan['estimated_seconds'])} (estimated)",
        f"Digest     {plan['digest'] or 'none yet'}",
        f"Trace      {plan['trace_id']}",
    ]
    if plan["max_parallel"]:
        lines.append(f"Limit      {plan['max_parallel']} of its steps at once")
    if plan["rollback_reason"]:
        lines.append(f"Rollback   {plain(plan['stage_reason'] or plan['rollback_reason'])}")
    if plan["commit"]:
        lines.append(f"Commit     {plan['commit']}")
    if plan["budget"]:
        lines.append(f"Budget     {_budget(plan['budget'])}")
    if plan["policy"]:
        lines.append(f"Policy     {_policy(plan['policy'])}")
    lines += [f"  {_mark(fact)} {plain(fact.get('text', ''))}" for fact in plan["risk_facts"]]
    lines += [
        "",
        table(("#", "step", "status", "risk", "agent", "hosts", "what"), [_row(step) for step in plan["steps"]]),
    ]
    for step in plan["steps"]:
        lines += _details(step) if step["kind"] != "item" or step["error"] else []
    lines += [""] if plan["approvals"] else []
    for answer in plan["approvals"]:
        comment = f": {plain(answer['comment'])}" if answer["comment"] else ""
        what = (
            "it"
            if answer["revision"] == plan["revision"]
            else f"revision {answer['revision']}, which is no longer current"
        )
        lines.append(f"{answer['approver']} {answer['decision']} {what}, {clock(answer['at'])}{comment}")
    return "\n".join(lines)


def _budget(budget: dict[str, Any]) -> str:
    ceilings = {"call_ceiling": "calls", "cost_ceiling": "cost", "token_ceiling": "tokens"}
    spent = [
        f"{budget['spent'][measure]:g} of {budget[name]:g} {measure}"
        for name, measure in ceilings.items()
        if name in budget
    ]
    return f"{', '.join(spent)} spent; at the end of it {'stop' if budget['policy'] == 'block' else 'go on'}"


def _policy(policy: dict[str, Any]) -> str:
    asks = f"{policy['approvals_needed']} approver{'s' if policy['approvals_needed'] != 1 else ''}"
    return f"{policy['name']} v{policy['version']}: {asks}" + (", not the requester" if policy["four_eyes"] else "")


def _mark(fact: dict[str, Any]) -> str:
    return {"warn": "!", "bad": "!!", "ok": "+"}.get(str(fact.get("tone")), "-")


def _row(step: dict[str, Any]) -> tuple[object, ...]:
    what = step["playbook"]["path"] if step["playbook"] else step["tool"]
    return (
        {"item": "", "rollback": "undo"}.get(step["kind"], step["index"]),
        f"  {step['key']}" if step["kind"] == "item" else step["key"],
        stage(step["status"]),
        step["risk"],
        step["agent"] or "-",
        ", ".join(step["hosts"]) or "-",
        what,
    )


def _details(step: dict[str, Any]) -> list[str]:
    if step["kind"] == "item":  # its step says the rest
        return [
            "",
            f"{step['key']} ({plain(json.dumps(step['item'], ensure_ascii=False))})",
            f"   error: {plain(step['error'])}",
        ]
    lines = ["", f"{step['index']}. {plain(step['name'])}"]
    if step["reason"]:
        lines.append(f"   why: {plain(step['reason'])}")
    if step["depends_on"]:
        lines.append(f"   after: {', '.join(step['depends_on'])}")
    for name, value in step["input"].items():
        origin = step["origins"].get(name)
        told = plain(origin) if isinstance(origin, str) and origin else ""
        lines.append(
            f"   {plain(name)} = {plain(json.dumps(value, ensure_ascii=False))}" + (f"  ({told})" if told else "")
        )
    if step["carried_from"]:
        lines.append(f"   {stage(step['status'])} in revision {step['carried_from']}: it is not repeated")
    lines += _course(step)
    for label in ("waiting_for", "summary", "error"):
        if step[label]:
            lines.append(f"   {label.replace('_', ' ')}: {plain(step[label])}")
    return lines


def _course(step: dict[str, Any]) -> list[str]:
    """Whether and how often it runs, and what becomes of its failure, where that is not the usual."""
    lines = []
    if step["when"]:
        lines.append(f"   only if: {plain(step['when'])}")
    if step["for_each"] is not None:
        items = step["for_each"] if step["items"] is None else step["items"]
        lines.append(
            f"   for each of: {plain(items if isinstance(items, str) else json.dumps(items, ensure_ascii=False))}"
        )
    if step["on_failure"] != "stop":
        lines.append(f"   on failure: {step['on_failure']}")
    if step["fallback"]:
        given = plain(json.dumps(step["fallback"]["input"], ensure_ascii=False))
        used = " (it was used)" if any(one["by_fallback"] for one in step["attempts"]) else ""
        lines.append(f"   fallback: {step['fallback']['tool']} {given}{used}")
    return lines
