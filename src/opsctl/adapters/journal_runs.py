"""What opsctl did, read from the journal: runs with their plans' titles, and their steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from opsctl.adapters.state import StateConnection, open_state
from opsctl.core.journal import damaged, read_data
from opsctl.core.state_place import StatePlace

_EVENTS = "SELECT run, step, kind, at, actor, data FROM event ORDER BY seq"


@dataclass
class RunStep:
    """One step of a run, as far as it came."""

    id: str
    title: str
    began_at: float | None = None
    ended_at: float | None = None
    state: str = "pending"
    """pending, started, done, failed or unknown."""
    detail: str = ""


@dataclass
class JournalRun:
    """One run of a plan."""

    id: str
    command: str
    environment: str
    title: str
    actor: str
    began_at: float
    facts: Mapping[str, Any]
    ended_at: float | None = None
    state: str = "stopped"
    """finished, aborted, or stopped where it is neither."""
    steps: dict[str, RunStep] = field(default_factory=dict)


class JournalRuns:
    """The runs of a state store, only read."""

    def __init__(self, place: StatePlace) -> None:
        self._state = open_state(place, ())

    def of(self, environment: str) -> list[JournalRun]:
        """Return the runs of an environment, the earliest first.

        Raises OpsError `journal-damaged` (exit 3).
        """
        nothing: list[tuple[Any, ...]] = []

        def look(connection: StateConnection) -> list[tuple[Any, ...]]:
            return list(connection.execute(_EVENTS).fetchall())

        runs: dict[str, JournalRun] = {}
        for run, step, kind, at, actor, text in self._state.read(look, empty=nothing):
            data = read_data(text, f"a row of run {run}")
            try:
                if kind == "planned":
                    runs[run] = _planned(run, _moment(at), actor, data)
                elif run in runs:
                    _take(runs[run], step, kind, _moment(at), data)
            except (KeyError, TypeError, ValueError, AttributeError):
                raise damaged(f"a row of run {run} ({kind}) is not what opsctl writes") from None
        return [each for each in runs.values() if each.environment == environment]


def _planned(run: str, at: float, actor: str, data: Mapping[str, Any]) -> JournalRun:
    plan = data.get("plan", {})
    return JournalRun(
        id=run,
        command=str(plan.get("command", "")),
        environment=str(plan.get("environment", "")),
        title=str(plan.get("title", "")),
        actor=actor,
        began_at=at,
        facts=plan.get("facts", {}),
        steps={
            each["id"]: RunStep(each["id"], str(each.get("title", "")))
            for each in plan.get("steps", ())
        },
    )


def _take(run: JournalRun, step: str | None, kind: str, at: float, data: Mapping[str, Any]) -> None:
    run.ended_at = at
    if kind in ("finished", "aborted"):
        run.state = kind
    found = run.steps.get(step) if step is not None else None
    if found is None:
        return
    if kind == "resolved":
        kind = "verified" if data.get("how") == "done" else "pending"
    if kind == "started" and found.began_at is None:
        found.began_at = at
    found.state = {"verified": "done", "done": "started"}.get(kind, kind)
    found.detail = str(data.get("detail") or data.get("said") or "")
    if kind in ("verified", "failed"):
        found.ended_at = at


def _moment(text: str) -> float:
    return datetime.fromisoformat(str(text)).timestamp()
