"""Whose approval counts, for which plan, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opsctl.core.action import Command
from opsctl.core.approval import refuse_approving, refuse_unapproved, standing
from opsctl.core.errors import OpsError
from opsctl.core.journal import Event
from opsctl.core.plan import Irreversible, Plan, Step
from opsctl.engine.lock import FileLocks
from opsctl.engine.run import Engine
from opsctl.engine.store import SqliteJournal

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CHANGE = Step("a", "A", "idempotent", Command(("true",)), undo=Irreversible("it is a test"))
LOOK = Step("b", "B", "idempotent", Command(("true",)))
PLAN = Plan("rollback db", "prod", True, "Roll back", (CHANGE,))


def event(kind: str, who: str, *, ago_h: float = 0.0, user: str | None = "", **data: Any) -> Event:
    at = (NOW - timedelta(hours=ago_h)).isoformat(timespec="milliseconds")
    return Event(1, "r", None, kind, at, f"{who}@host", data, who if user == "" else user)


def planned(ago_h: float = 0.0) -> list[Event]:
    return [event("planned", "ann", ago_h=ago_h), event("requested", "ann", ago_h=ago_h)]


def approved(who: str, plan_hash: str = PLAN.hash, **more: Any) -> Event:
    return event("approved", who, how="runs approve", plan_hash=plan_hash, **more)


def code_of(act: Any) -> str:
    try:
        act()
    except OpsError as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("approval", "needed", "expected"),
    [
        ([], 1, "not-approved"),
        ([approved("bob")], 1, ""),
        ([approved("bob")], 2, "not-approved"),
        ([approved("bob"), approved("bob")], 2, "not-approved"),
        ([approved("bob"), approved("eve")], 2, ""),
        ([approved("ann")], 1, "not-approved"),
        ([approved("ann", user="other")], 1, "not-approved"),
        ([approved("bob", user="ann")], 1, "not-approved"),
        ([approved("bob", user=None)], 1, "not-approved"),
        ([approved("bob", plan_hash="0" * 64)], 1, "not-approved"),
        ([approved("bob", ago_h=3.9)], 1, ""),
        ([approved("bob", ago_h=4.1)], 1, "not-approved"),
        ([approved("bob", ago_h=4.1), approved("bob")], 1, ""),
        ([event("approved", "bob", how="--yes", plan_hash=PLAN.hash)], 1, "not-approved"),
        ([event("started", "ann")], 1, ""),
    ],
)
def test_an_approval_is_anothers_of_this_plan_and_fresh(
    approval: list[Event], needed: int, expected: str
) -> None:
    events = [*planned(ago_h=5), *approval]

    assert expected == code_of(lambda: refuse_unapproved("r", events, PLAN, now=NOW, needed=needed))


def test_what_expired_is_counted_for_the_person() -> None:
    found = standing([*planned(), approved("bob", ago_h=5), approved("eve")], PLAN, now=NOW)

    assert ([each.actor for each in found.approvers], found.expired) == (["eve@host"], 1)


@pytest.mark.parametrize(
    ("events", "user", "actor", "expected"),
    [
        (planned(), "bob", "bob@host", ""),
        (planned(), "ann", "bob@host", "own-plan"),
        (planned(), "bob", "ann@host", "own-plan"),
        (planned(), None, "bob@host", "approvals-need-team"),
        (planned(ago_h=23.9), "bob", "bob@host", ""),
        (planned(ago_h=24.1), "bob", "bob@host", "plan-old"),
        ([*planned(), event("started", "ann")], "bob", "bob@host", "run-begun"),
        ([*planned(), event("aborted", "ann")], "bob", "bob@host", "run-begun"),
    ],
)
def test_who_may_approve(events: list[Event], user: str | None, actor: str, expected: str) -> None:
    assert expected == code_of(
        lambda: refuse_approving("r", events, PLAN, now=NOW, user=user, actor=actor)
    )


class Nobody:
    """No person, and nobody who watches."""

    def confirm_manual(self, step: Step) -> bool:
        return False

    def step_started(self, step: Step, index: int, total: int) -> None: ...

    def step_ended(self, step: Step, status: str, took_ms: float, detail: str) -> None: ...

    def waiting(self, step: Step, message: str) -> None: ...


def test_the_engine_begins_nothing_unapproved_and_looks_need_none(tmp_path: Path) -> None:
    nobody = Nobody()
    engine = Engine(
        SqliteJournal(tmp_path / "state.db"), FileLocks(tmp_path / "locks"),
        actor="ann@host", person=nobody, watcher=nobody, approvals={"prod": 1},
    )  # fmt: skip

    assert code_of(lambda: engine.start(PLAN, approval={})) == "not-approved"
    assert code_of(lambda: engine.request(PLAN, approval={})) == "approvals-need-team"
    assert engine.runs() == ()
    look = Plan("healthcheck run", "prod", True, "Look", (LOOK,))
    assert engine.start(look, approval={}).exit == 0
    elsewhere = Plan("rollback db", "staging", True, "Roll back", (CHANGE,))
    assert engine.start(elsewhere, approval={}).exit == 0
