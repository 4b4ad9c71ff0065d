"""A Plan is what a changing command would do: steps, losses and facts, as plain data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from opsctl.core.action import (
    Action,
    Probe,
    action_from_json,
    action_to_json,
    probe_from_json,
    probe_to_json,
)

Safety = Literal["idempotent", "verify", "manual"]
"""idempotent: may run twice. verify: its check tells whether it ran. manual: a person tells."""


@dataclass(frozen=True)
class Undo:
    """How a done step is taken back: an action of its own, and the probe that proves it."""

    title: str
    action: Action
    check: Probe


@dataclass(frozen=True)
class Irreversible:
    """A step that cannot be taken back, and why."""

    because: str


@dataclass(frozen=True)
class Step:
    """One change, or, without an action, one look that must answer `applied`.

    `check` is asked before the step (applied: already done, absent: go, blocked: stop), after
    it (only applied counts as done) and after a crash. A step with safety `verify` must have
    one. `undo` is None for a step that changes nothing of the environment: a look, a backup.
    """

    id: str
    title: str
    safety: Safety
    action: Action | None = None
    check: Probe | None = None
    undo: Undo | Irreversible | None = None
    detail: tuple[str, ...] = ()
    """Lines shown under the title: the SQL, the target, the link."""
    independent: bool = False
    """Whether the steps after it are carried out although it failed: one message each."""

    def __post_init__(self) -> None:
        if self.safety not in ("idempotent", "verify", "manual"):
            raise ValueError(f"step {self.id} declares no known safety: {self.safety!r}")
        if self.safety == "verify" and self.check is None:
            raise ValueError(f"step {self.id} declares verify and has no check")
        if self.action is None and self.check is None:
            raise ValueError(f"step {self.id} neither acts nor looks")
        if self.action is not None and self.undo is None and self.safety != "idempotent":
            raise ValueError(f"step {self.id} acts and says nothing about undo")


@dataclass(frozen=True)
class Loss:
    """Something the plan takes away: `kind` is table, column, rows, value or other."""

    kind: str
    name: str
    rows: int | None
    """Rows of the table; None where it was not counted."""
    values: int | None
    """Values that are not null, or rows concerned."""
    kept: str
    """Where it is kept, in words; empty when it is gone for good."""


@dataclass(frozen=True)
class Plan:
    """A pure function of (facts, choices); two plans with the same hash do the same."""

    command: str
    """As typed: `rollback db`."""
    environment: str
    protected: bool
    title: str
    steps: tuple[Step, ...]
    losses: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()
    """What the person should know before agreeing, a sentence each."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON data: what was observed. Journalled, and replayed by resume."""
    estimate_s: float | None = None
    needs_name: bool = False
    """Whether it is agreed to by typing the environment's name, wherever and however undone."""
    lock: str = ""
    """What it holds while it runs, so that one of a kind runs at a time; empty: the environment."""
    resumable: bool = False
    """Whether it is resumed where it stopped though it changed nothing: a person's time is in it,
    in what they looked at and did by hand."""

    @property
    def holds(self) -> str:
        """The name of the lock that it holds while it runs."""
        return self.lock or self.environment

    def __post_init__(self) -> None:
        ids = [step.id for step in self.steps]
        if twice := {each for each in ids if ids.count(each) > 1}:
            # The journal tells steps by their ids: the second would be taken for done.
            raise ValueError(f"steps share an id: {', '.join(sorted(twice))}")

    @property
    def irreversible(self) -> tuple[Step, ...]:
        """The steps that cannot be undone, in order."""
        return tuple(step for step in self.steps if isinstance(step.undo, Irreversible))

    @property
    def agreed_by_name(self) -> bool:
        """Whether --yes is not enough, and the environment's name must be typed."""
        return self.needs_name or (self.protected and bool(self.irreversible))

    @property
    def hash(self) -> str:
        """SHA-256 over the whole plan as canonical JSON, hexadecimal."""
        text = json.dumps(plan_to_json(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON data."""
    return {
        "command": plan.command,
        "environment": plan.environment,
        "protected": plan.protected,
        "title": plan.title,
        "steps": [_step_to_json(step) for step in plan.steps],
        "losses": [asdict(loss) for loss in plan.losses],
        "notes": list(plan.notes),
        "facts": dict(plan.facts),
        "estimate_s": plan.estimate_s,
        **({"needs_name": True} if plan.needs_name else {}),
        **({"lock": plan.lock} if plan.lock else {}),
        **({"resumable": True} if plan.resumable else {}),
    }


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """Return the plan that `plan_to_json` wrote; raises KeyError, TypeError or ValueError."""
    try:
        return _plan_from_json(data)
    except (AttributeError, RecursionError) as error:
        raise ValueError(f"it is no plan: {type(error).__name__}") from None


def _plan_from_json(data: Mapping[str, Any]) -> Plan:
    return Plan(
        command=data["command"],
        environment=data["environment"],
        protected=data["protected"],
        title=data["title"],
        steps=tuple(_step_from_json(step) for step in data["steps"]),
        losses=tuple(Loss(**loss) for loss in data["losses"]),
        notes=tuple(data["notes"]),
        facts=data["facts"],
        estimate_s=data["estimate_s"],
        needs_name=data.get("needs_name", False),
        lock=data.get("lock", ""),
        resumable=data.get("resumable", False),
    )


def undo_plan(plan: Plan, *, run: str, done: tuple[str, ...]) -> Plan:
    """Return the plan that takes back the steps `done` of run `run`, last one first.

    Steps without an undo are left out; an irreversible step becomes a note.
    """
    steps: list[Step] = []
    notes: list[str] = []
    for step in reversed(plan.steps):
        if step.id not in done or step.undo is None:
            continue
        if isinstance(step.undo, Irreversible):
            notes.append(f"{step.title}: cannot be undone, {step.undo.because}")
            continue
        because = f"it undoes run {run}; run the command again instead"
        steps.append(
            Step(
                id=f"undo-{step.id}",
                title=step.undo.title,
                safety="verify",
                action=step.undo.action,
                check=step.undo.check,
                undo=Irreversible(because),
            )
        )
    return Plan(
        command=f"runs undo {run}",
        environment=plan.environment,
        protected=plan.protected,
        title=f"Undo: {plan.title}",
        steps=tuple(steps),
        notes=tuple(notes),
        facts={"undoes": run},
        lock=plan.lock,
    )


def _step_to_json(step: Step) -> dict[str, Any]:
    undo: dict[str, Any] | None = None
    if isinstance(step.undo, Irreversible):
        undo = {"because": step.undo.because}
    elif step.undo is not None:
        undo = {
            "title": step.undo.title,
            "action": action_to_json(step.undo.action),
            "check": probe_to_json(step.undo.check),
        }
    return {
        "id": step.id,
        "title": step.title,
        "safety": step.safety,
        "action": action_to_json(step.action) if step.action else None,
        "check": probe_to_json(step.check) if step.check else None,
        "undo": undo,
        "detail": list(step.detail),
        **({"independent": True} if step.independent else {}),
    }


def _step_from_json(data: Mapping[str, Any]) -> Step:
    undo: Undo | Irreversible | None = None
    raw = data["undo"]
    if raw is not None and "because" in raw:
        undo = Irreversible(raw["because"])
    elif raw is not None:
        undo = Undo(
            title=raw["title"],
            action=action_from_json(raw["action"]),
            check=probe_from_json(raw["check"]),
        )
    return Step(
        id=data["id"],
        title=data["title"],
        safety=data["safety"],
        action=action_from_json(data["action"]) if data["action"] else None,
        check=probe_from_json(data["check"]) if data["check"] else None,
        undo=undo,
        detail=tuple(data["detail"]),
        independent=data.get("independent", False),
    )
