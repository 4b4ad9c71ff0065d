"""The steps of this room's plans, carried out in this process as the engine does."""

from __future__ import annotations

import json
from typing import Any

from opsctl.adapters.incidents import event_from_json
from opsctl.areas.incident import tell
from opsctl.areas.incident.facts import store_of
from opsctl.cli.quick_incident import understood
from opsctl.core.action import Command, Probe
from opsctl.core.call import Call
from opsctl.core.errors import OpsError
from opsctl.core.plan import Plan, plan_to_json
from opsctl.engine.store import SqliteJournal


def carry_out(call: Call, plan: Plan, run: str) -> None:
    """Do what the engine does with such a plan, and write down what is verified."""
    journal = SqliteJournal(call.root / ".opsctl" / "state.db")
    note = {"plan": plan_to_json(plan), "sha256": plan.hash}
    journal.append(run, "planned", step=None, actor="me", data=note)
    for step in plan.steps:
        code = look(call, step.check)
        if code == 1:
            act(call, step.action)
            code = next((0 for _ in range(4) if look(call, step.check) == 0), 1)
        if code == 0:
            journal.append(run, "verified", step=step.id, actor="me", data={})
    journal.close()


def look(call: Call, check: Probe | None) -> int:
    """Return the exit code of a step's look; a step without one is to be done."""
    return 1 if check is None else act(call, check.action)


def act(call: Call, action: Any) -> int:
    """Run a step's command in this process and return its exit code."""
    assert isinstance(action, Command)
    wanted = understood(list(action.argv[1:]))
    assert wanted is not None
    if wanted["command"] == "record":
        store_of(call).add(event_from_json(json.loads(action.stdin or "")))
        return 0
    do = tell.tell if wanted["command"] == "tell" else tell.told
    try:
        report = do(
            call, wanted["channel"], incident=wanted["--incident"],
            message=wanted.get("--message"),
        )  # fmt: skip
    except OpsError as error:
        return int(error.exit)
    return int(report.exit)
