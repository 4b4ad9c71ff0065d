"""Windows: planned with notice, moved, begun, ended, cancelled; and what reports make of them."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl.adapters.maintenance_windows import Window, WindowStore
from opsctl.areas.maintenance.facts import Planned
from opsctl.areas.maintenance.plan import next_monthly

from .conftest import World, typed

HOUR = 3600.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def spans(world: World) -> dict[str, float]:
    """Return what the reports leave out: the hours of each window by id."""
    return {
        each.id: (each.ends_at - each.begins_at) / HOUR
        for each in WindowStore(world.call().state).list("production")
    }


def test_the_next_one_is_that_of_the_settings_that_can_be_announced(world: World) -> None:
    code, document = world.opsctl("plan")
    again, second = world.opsctl("plan")
    window = document["data"]["window"]
    begin = datetime.fromtimestamp(window["begins_at"], UTC)

    assert (code, again) == (0, 0)
    assert (begin.weekday(), begin.hour, begin.day <= 7) == (6, 2, True)
    assert window["begins_at"] - time.time() >= 48 * HOUR
    assert window["ends_at"] - window["begins_at"] == 3 * HOUR
    assert window["id"] == f"MW-{begin:%Y%m%d-%H%M}"
    assert second["data"]["window"] == window


def test_one_that_comes_too_soon_is_passed_over_unless_it_is_on_record(world: World) -> None:
    rules = world.call().environment.maintenance_windows
    now = at("2026-12-04T03:00+00:00")  # 47 h before the first Sunday
    soon, later = at("2026-12-06T02:00+00:00"), at("2027-01-03T02:00+00:00")
    known = Planned("MW", "u", soon, soon + 3 * HOUR, "monthly maintenance", now - 1e6, "me")

    passed = next_monthly(rules, [], now=now, notice_h=48.0)
    kept = next_monthly(rules, [known], now=now, notice_h=48.0)
    in_time = next_monthly(rules, [], now=now - HOUR, notice_h=48.0)

    assert passed is not None
    assert kept is not None
    assert in_time is not None
    assert (passed.begins_at, kept.begins_at, in_time.begins_at) == (later, soon, soon)


def test_less_notice_than_promised_is_refused_without_a_reason(world: World) -> None:
    soon = typed(time.time() + 47 * HOUR)
    refused, document = world.opsctl("plan", "--at", soon)
    code, kept = world.opsctl("plan", "--at", soon, "--short-notice", "certificate ends")

    assert (refused, document["error"]["code"]) == (5, "short-notice")
    assert "48 h of notice are promised" in document["error"]["why"]
    assert code == 0
    assert kept["data"]["window"]["short_notice"] == "certificate ends"
    assert world.opsctl("plan", "--at", typed(time.time() + 400 * HOUR))[0] == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--at", "2001-01-01T00:00"), "bad-window"),
        (("--for", "30m"), "bad-window"),
        (("--for", "5h"), "bad-window"),
        (("--at", "2999-01-01T00:00"), "bad-window"),
        (("--at", "9999-12-31T23:00"), "bad-window"),
        (("--at", "0001-01-01T00:00"), "bad-window"),
        (("--for", "999999999w"), "bad-window"),
        (("--at", "soon"), "not-a-time"),
        (("--at", "2999-01-01T00:00", "--for", "long"), "not-a-duration"),
        (("--move", "MW-1"), "no-such-window"),
    ],
    ids=str,
)
def test_what_is_no_window_is_refused(world: World, words: tuple[str, ...], code: str) -> None:
    exit_code, document = world.opsctl("plan", *words)

    assert (exit_code, document["error"]["code"]) == (2, code)
    assert world.opsctl("list")[1]["data"]["windows"] == []


def test_two_windows_do_not_overlap_but_one_may_be_moved_over_itself(world: World) -> None:
    begin = time.time() // 60 * 60 + 100 * HOUR
    id = world.opsctl("plan", "--at", typed(begin))[1]["data"]["window"]["id"]
    refused, document = world.opsctl("plan", "--at", typed(begin + 2 * HOUR))
    moved, after = world.opsctl("plan", "--move", id, "--at", typed(begin + HOUR), "--for", "2h")

    assert (refused, document["error"]["code"]) == (2, "overlaps")
    assert id in document["error"]["why"]
    window = after["data"]["window"]
    assert (moved, window["id"], window["sequence"]) == (0, id, 1)
    assert (window["begins_at"], window["ends_at"]) == (begin + HOUR, begin + 3 * HOUR)


def test_a_freeze_meanwhile_is_named(world: World) -> None:
    world.write(freezes=[{"name": "the sale", "days": ["monday"], "at": "00:00", "hours": 168.0}])
    code, document = world.opsctl("plan")

    assert code == 0
    assert document["findings"][0]["title"] == "Frozen meanwhile: the sale"


def test_a_window_is_begun_and_ended_and_reports_leave_out_what_it_took(world: World) -> None:
    begin = time.time() + 600
    id = world.opsctl("plan", "--at", typed(begin), "--short-notice", "x")[1]["data"]["window"][
        "id"
    ]
    started, document = world.opsctl("start")
    during = spans(world)
    twice, second = world.opsctl("start")
    world.opsctl("task", "done", "database", "--note", "two indexes")
    code, after = world.opsctl("finish", "--note", "all went well")

    assert started == 0
    assert document["findings"][0]["title"] == "Announced 48 h before"
    assert document["findings"][0]["status"] == "failed"
    assert list(during) == [id]
    assert 2.9 < during[id] < 3.3
    assert (twice, second["error"]["code"]) == (5, "under-way")
    assert code == 0
    assert after["data"]["left"] == [
        "dependencies", "security-patches", "old-data", "logs", "documentation",
    ]  # fmt: skip
    assert list(spans(world)) == [f"{id}-done"]
    assert spans(world)[f"{id}-done"] < 0.1
    window = world.opsctl("list")[1]["data"]["windows"][0]
    assert (window["state"], window["note"]) == ("finished", "all went well")
    assert window["tasks"]["database"]["note"] == "two indexes"


def test_the_notice_is_judged_by_when_a_channel_was_told(world: World) -> None:
    now = time.time()
    data = {"uid": "u", "begins_at": now + 60, "ends_at": now + 3 * HOUR, "reason": "patches"}
    world.keep("MW-1", "planned", data, at=now - 90 * HOUR)
    world.keep("MW-1", "handed", {"channel": "slack", "key": "k"}, at=now - 50 * HOUR)
    code, document = world.opsctl("start", "MW-1")

    assert code == 0
    assert document["findings"][0]["status"] == "ok"
    assert document["findings"][0]["evidence"] == "it was announced 50.0 h before"


@pytest.mark.parametrize(
    ("begin_h", "kind", "code"),
    [(1.0, "", "too-early"), (-5.0, "", "too-late"), (0.1, "cancelled", "is-cancelled")],
)
def test_a_window_is_begun_in_its_time(world: World, begin_h: float, kind: str, code: str) -> None:
    now = time.time()
    data = {"uid": "u", "begins_at": now + begin_h * HOUR, "ends_at": now + (begin_h + 3) * HOUR,
            "reason": "patches"}  # fmt: skip
    world.keep("MW-1", "planned", data, at=now - 90 * HOUR)
    if kind:
        world.keep("MW-1", kind, {}, at=now - HOUR)
    exit_code, document = world.opsctl("start", "MW-1")

    assert (exit_code, document["error"]["code"]) == (5, code)
    assert spans(world) == {}


def test_one_that_was_not_planned_is_begun_with_a_reason(world: World) -> None:
    none, document = world.opsctl("start")
    too_long, second = world.opsctl("start", "--unplanned", "x", "--for", "999999999w")
    code, begun = world.opsctl("start", "--unplanned", "disk is full", "--for", "1h")

    assert (none, document["error"]["code"]) == (2, "no-such-window")
    assert (too_long, second["error"]["code"]) == (2, "bad-window")
    assert code == 0
    assert begun["data"]["window"]["short_notice"] == "it was not planned"
    assert world.front_door("status")[1]["data"]["parts"]["maintenance"]["now"]["reason"] == (
        "disk is full"
    )


def test_a_cancelled_one_is_no_window_any_more(world: World) -> None:
    id = world.opsctl("plan")[1]["data"]["window"]["id"]
    code, document = world.opsctl("cancel", "--reason", "nothing to do")
    again, second = world.opsctl("cancel", id)

    assert (code, document["data"]["window"]["state"]) == (0, "cancelled")
    assert (again, second["error"]["code"]) == (5, "is-cancelled")
    assert world.opsctl("plan")[1]["data"]["window"]["id"] == f"{id}-2"


def test_what_was_changed_in_the_record_is_seen(world: World) -> None:
    world.opsctl("plan")
    with sqlite3.connect(world.root / ".opsctl" / "state.db") as connection:
        connection.execute("UPDATE maintenance_event SET actor = 'nobody'")
    connection.close()
    code, document = world.opsctl("list")

    assert (code, document["error"]["code"]) == (3, "record-changed")


def test_a_task_is_one_of_the_six(world: World) -> None:
    world.opsctl("plan")
    code, document = world.opsctl("task", "done", "coffee")
    listed, tasks = world.opsctl("task", "list")

    assert (code, document["error"]["code"]) == (2, "no-such-task")
    assert listed == 0
    assert len(tasks["data"]["tasks"]) == 6


@pytest.mark.parametrize("name", ["no/c.ics", "."])
def test_a_calendar_that_cannot_be_written_is_said_before_anything_is_kept(
    world: World, tmp_path: Path, name: str
) -> None:
    code, document = world.opsctl("plan", "--calendar", str(tmp_path / name))

    assert (code, document["error"]["code"]) == (2, "calendar-unwritable")
    assert world.opsctl("list")[1]["data"]["windows"] == []


def test_an_end_that_was_cut_off_is_ended_once(world: World) -> None:
    """It had kept what the window took, and nothing else, when it was killed."""
    world.opsctl("start", "--unplanned", "disk is full", "--for", "3h")
    window = world.opsctl("list")[1]["data"]["windows"][0]
    began, id = window["started_at"], window["id"]
    store = WindowStore(world.call().state)
    store.add("production", Window(began, began + 5, "disk is full", f"{id}-done", began, "me"))
    code, _ = world.opsctl("finish")

    assert code == 0
    assert list(spans(world)) == [f"{id}-done"]


def test_a_begin_that_was_cut_off_begins_once(world: World) -> None:
    now = time.time()
    data = {"uid": "u", "begins_at": now, "ends_at": now + 3 * HOUR, "reason": "patches"}
    world.keep("MW-1", "planned", data, at=now - 90 * HOUR)
    WindowStore(world.call().state).add(
        "production", Window(now, now + 3 * HOUR, "patches", "MW-1", now, "me")
    )

    assert world.opsctl("start")[0] == 0
    assert list(spans(world)) == ["MW-1"]


def test_a_report_leaves_out_what_happened_in_it(world: World) -> None:
    world.opsctl("start", "--unplanned", "disk is full")
    world.opsctl("finish")
    _, document = world.front_door("healthcheck", "window", "list")

    assert [each["reason"] for each in document["data"]["windows"] if each["id"]] == [
        "disk is full"
    ]


def test_packages_that_cannot_be_looked_at_are_unknown(world: World) -> None:
    code, document = world.opsctl("dependencies")

    assert (code, document["status"]) == (3, "unknown")
    assert "package-lock.json" in document["findings"][0]["evidence"]
