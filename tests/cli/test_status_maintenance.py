"""What the screen says of maintenance: what is overdue is a warning, what is ahead is named."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from opsctl.areas.maintenance.facts import new_event, store_of
from opsctl.cli.status_maintenance import maintenance_now
from opsctl.core.call import Call
from opsctl.core.settings import Settings

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def call(tmp_path: Path) -> Call:
    settings = Settings.model_validate_json(json.dumps({"environments": {"production": {}}}))
    return Call(settings, tmp_path, "production", lambda line: None)


def keep(call: Call, kind: str, *, at: float = 0.0, about: str = "MW-1", **data: Any) -> None:
    store_of(call).add(new_event(call, about, kind, data, at=time.time() + at))


def planned(call: Call, begins_h: float) -> None:
    begin = time.time() + begins_h * HOUR
    keep(call, "planned", at=-100 * HOUR, uid="u", begins_at=begin, ends_at=begin + 3 * HOUR,
         reason="patches")  # fmt: skip


def said(call: Call) -> list[tuple[str, str]]:
    findings, _ = maintenance_now(call)
    return [(each.rule, each.status.value) for each in findings]


def test_with_nothing_on_record_nothing_is_ahead(call: Call) -> None:
    findings, data = maintenance_now(call)

    assert [each.title for each in findings] == ["Maintenance: none ahead"]
    assert data == {"now": None, "next": None, "overdue_reviews": []}


def test_a_window_on_record_is_named_and_nagged_about_until_told(call: Call) -> None:
    planned(call, 40.0)
    findings, data = maintenance_now(call)

    assert findings[0].title.startswith("Maintenance next: ")
    assert data["next"]["reason"] == "patches"
    assert said(call) == [("maintenance", "ok"), ("maintenance-notice", "failed")]

    keep(call, "handed", channel="slack", key="k")
    assert said(call) == [("maintenance", "ok")]


def test_nobody_is_nagged_while_there_is_time(call: Call) -> None:
    planned(call, 60.0)

    assert said(call) == [("maintenance", "ok")]


def test_one_that_was_not_ended_is_a_warning(call: Call) -> None:
    planned(call, -4.0)
    keep(call, "started", at=-4 * HOUR)

    assert said(call) == [("maintenance", "failed")]


def test_a_review_that_was_done_once_and_is_overdue_is_a_warning(call: Call) -> None:
    keep(call, "review", about="runbooks", done_at=time.time() - 32 * DAY, evidence=["x"])
    keep(call, "review", about="procedures", done_at=time.time() - 32 * DAY, evidence=["x"])
    findings, data = maintenance_now(call)

    assert data["overdue_reviews"] == ["runbooks"]
    assert findings[-1].severity.value == "warning"
