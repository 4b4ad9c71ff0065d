"""The looks that the plans of `rollback app` and `rollback code` share."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from opsctl.adapters.health_watch import what_is_wrong
from opsctl.adapters.http import endpoint_probe, fetch_all
from opsctl.adapters.vercel import Deployment
from opsctl.areas.rollback.app_facts import Scene
from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import Exit
from opsctl.core.plan import Plan, Step
from opsctl.core.progress import duration

if TYPE_CHECKING:
    from opsctl.core.call import Call

_ATTEMPTS, _PAUSE_S = 8, 2.0
"""How often it is asked whether a request had any effect that nobody sees as open."""
_WAIT_S = 120
"""How long a move that Vercel says is under way is waited for."""
_BEFORE_POLLS, _BEFORE_PAUSE_S = 3, 0.3


def serves(call: Call, deployment: Deployment) -> Probe:
    """Return the look whether production serves a deployment: asked of every domain."""
    return own_probe(
        call,
        "app-serves",
        "--wait",
        str(_WAIT_S),
        operand=deployment.id,
        attempts=_ATTEMPTS,
        timeout_s=_WAIT_S + 60.0,
    )


def assigned(call: Call) -> Probe:
    """Return the look whether production builds go live by themselves."""
    return own_probe(call, "app-held", "--expect", "free", attempts=3)


def health_steps(call: Call) -> list[Step]:
    """Return a look at each health endpoint."""
    return [
        Step(
            id=f"health-{endpoint.name}",
            title=f"{endpoint.name} answers {endpoint.status}",
            safety="idempotent",
            check=endpoint_probe(endpoint),
            detail=(endpoint.url,),
        )
        for endpoint in call.environment.health
    ]


def watch_steps(call: Call, watch_s: float, before: dict[str, int] | None = None) -> list[Step]:
    """Return the look at the health for a while, beside how it was before, where that is known."""
    if watch_s <= 0 or not call.environment.health:
        return []
    names = ", ".join(each.name for each in call.environment.health)
    words = ["app-watch", "--for", f"{watch_s:g}"]
    if before is not None:
        words += ["--before", f"{before['failed']}/{before['asked']}"]
    return [
        Step(
            id="watch",
            title=f"{names} stays well for {duration(watch_s)}",
            safety="idempotent",
            check=own_probe(call, *words, timeout_s=watch_s + 120.0, tells=True),
            detail=("it ends at the second failure in a row of one of them",),
        )
    ]


def error_rate_now(call: Call) -> dict[str, int] | None:
    """Return how many of some answers are wrong now, before anything is changed."""
    endpoints = call.environment.health
    if not endpoints:
        return None
    asked = failed = 0
    for turn in range(_BEFORE_POLLS):
        if turn:
            time.sleep(_BEFORE_PAUSE_S)
        answers = fetch_all(endpoints)
        asked += len(endpoints)
        failed += sum(map(bool, map(what_is_wrong, endpoints, answers)))
    return {"asked": asked, "failed": failed}


def nothing(call: Call, scene: Scene, command: str, note: str) -> Plan:
    """Return the plan that does nothing, and why."""
    return Plan(
        command=command,
        environment=call.name,
        protected=call.environment.protected,
        title="Move nothing",
        steps=(),
        notes=(note,),
        facts={"live": asdict(scene.live)},
    )


def as_json(fact: Any) -> Any:
    """Return a dataclass as JSON data: what the journal gives back must be what went in."""
    return json.loads(json.dumps(asdict(fact)))


def own_probe(
    call: Call,
    *words: str,
    operand: str | None = None,
    attempts: int = 1,
    timeout_s: float = 120.0,
    tells: bool = False,
) -> Probe:
    """Return a look by a hidden command of this room; its exit code 3 is no answer.

    `operand` comes from outside: whatever it is, it is no option.
    """
    last = () if operand is None else ("--", operand)
    argv = ("opsctl", "rollback", *words, "--env", call.name, "--quiet")
    argv += last
    return Probe(
        Command(argv, cwd=str(call.root), timeout_s=timeout_s),
        Expect(exit_code=0, unsure=(int(Exit.UNKNOWN),)),
        attempts=attempts,
        pause_s=_PAUSE_S,
        tells=tells,
    )
