"""Maintenance windows: monthly by the calendar, single ones kept, removed, and asked for."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters import maintenance_windows
from opsctl.adapters.maintenance_windows import Window, joined, monthly
from opsctl.areas.healthcheck import windows
from opsctl.cli.root import run
from opsctl.core.call import Call
from opsctl.core.errors import OpsError
from opsctl.core.settings import MonthlyWindow, Settings


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def months(on: str, begin: str, end: str, **more: Any) -> list[str]:
    given = {"name": "m", "on": on, "at": "02:00", "hours": 3.0, **more}
    settings = MonthlyWindow.model_validate_json(json.dumps(given))
    return [
        f"{datetime.fromtimestamp(window.begins_at, UTC):%Y-%m-%d %H:%M}"
        for window in monthly([settings], at(begin), at(end))
    ]


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ("first sunday", ["2026-09-06 02:00", "2026-10-04 02:00", "2026-11-01 02:00"]),
        ("fourth monday", ["2026-09-28 02:00", "2026-10-26 02:00", "2026-11-23 02:00"]),
        ("last friday", ["2026-09-25 02:00", "2026-10-30 02:00", "2026-11-27 02:00"]),
        ("15", ["2026-09-15 02:00", "2026-10-15 02:00", "2026-11-15 02:00"]),
        ("31", ["2026-10-31 02:00"]),
    ],
)
def test_a_monthly_window_follows_the_calendar(on: str, expected: list[str]) -> None:
    assert months(on, "2026-09-01", "2026-12-01") == expected


def test_a_monthly_window_keeps_its_hour_when_the_clock_changes() -> None:
    berlin = months("last sunday", "2026-09-01", "2026-12-01", timezone="Europe/Berlin")

    assert berlin == ["2026-09-27 00:00", "2026-10-25 00:00", "2026-11-29 01:00"]


def test_a_window_that_began_before_the_span_is_in_it() -> None:
    late = {"at": "23:30", "hours": 4.0}

    assert months("30", "2026-10-01T01:00", "2026-10-01T02:00", **late) == ["2026-09-30 23:30"]
    assert months("30", "2026-10-01T03:30", "2026-10-02T02:00", **late) == []


def test_zones_half_a_day_away_are_not_missed() -> None:
    east = months("1", "2026-09-30T00:00", "2026-10-01T00:00", timezone="Pacific/Kiritimati")
    samoa = {"timezone": "Pacific/Pago_Pago", "at": "23:00"}
    west = months("30", "2026-10-01T12:00", "2026-10-02T00:00", **samoa)

    assert (east, west) == (["2026-09-30 12:00"], ["2026-10-01 10:00"])


def test_a_time_zone_that_is_not_known_is_named() -> None:
    with pytest.raises(OpsError) as caught:
        months("1", "2026-09-01", "2026-10-01", timezone="Europe/Atlantis")

    assert (caught.value.code, int(caught.value.exit)) == ("no-such-timezone", 2)


@pytest.mark.parametrize(
    "on", ["fifth sunday", "0", "32", "sunday", "first funday", "First Sunday"]
)
def test_a_rule_that_is_none_is_refused_by_the_settings(on: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        months(on, "2026-09-01", "2026-10-01")


def test_windows_that_overlap_count_once() -> None:
    spans = joined([Window(30, 40, ""), Window(0, 10, ""), Window(5, 20, ""), Window(20, 22, ""),
                    Window(90, 99, "")], 2, 35)  # fmt: skip

    assert spans == [(2, 22), (30, 35)]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    document = {"environments": {"production": {"maintenance_windows": [
        {"name": "monthly", "on": "first sunday", "at": "02:00", "hours": 3.0}]}}}  # fmt: skip
    (tmp_path / "opsctl.yaml").write_text(json.dumps(document))
    settings = Settings.model_validate_json(json.dumps(document))
    return Call(settings, tmp_path, "production", lambda line: None)


def opsctl(call: Call, *words: str) -> tuple[int, dict[str, Any]]:
    out, err = io.StringIO(), io.StringIO()
    config = str(call.root / "opsctl.yaml")
    with redirect_stdout(out), redirect_stderr(err):
        code = run([*words, "--config", config, "--format", "json"])
    return code, json.loads(out.getvalue())


def test_the_window_that_holds_is_known(call: Call) -> None:
    assert windows.active(call, at("2026-10-04T01:59:59")) is None
    holding = windows.active(call, at("2026-10-04T02:00"))
    assert holding is not None
    assert holding.reason == "monthly"
    assert windows.active(call, at("2026-10-04T05:00")) is None

    windows.add(call, begin="2026-10-04T04:00", end="2026-10-04T06:00", reason="longer")

    longer = windows.active(call, at("2026-10-04T04:30"))
    assert longer is not None
    assert longer.reason == "longer"
    assert windows.active(call, at("2026-10-04T05:59")) == longer


def test_a_window_is_added_afterwards_listed_and_removed(call: Call) -> None:
    code, added = opsctl(call, "healthcheck", "window", "add", "--from", "3h", "--to", "1h",
                         "--reason", "index rebuilt")  # fmt: skip
    assert code == 0
    window = added["data"]["window"]
    assert window["ends_at"] - window["begins_at"] == pytest.approx(7200)
    assert window["afterwards"] is True

    code, listed = opsctl(call, "healthcheck", "window", "list")
    assert code == 0
    assert window in listed["data"]["windows"]
    assert {each["reason"] for each in listed["data"]["windows"]} == {"index rebuilt", "monthly"}

    assert opsctl(call, "healthcheck", "window", "remove", window["id"])[0] == 0
    code, again = opsctl(call, "healthcheck", "window", "remove", window["id"])
    assert (code, again["error"]["code"]) == (2, "no-such-window")
    _, listed = opsctl(call, "healthcheck", "window", "list")
    assert window not in listed["data"]["windows"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--from", "1h", "--to", "2h", "--reason", "x"), "bad-window"),
        (("--from", "40d", "--to", "now", "--reason", "x"), "bad-window"),
        (("--from", "2h", "--to", "now", "--reason", " "), "bad-window"),
        (("--from", "soon", "--to", "now", "--reason", "x"), "not-a-time"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(
    call: Call, words: tuple[str, ...], code: str
) -> None:
    exit_code, document = opsctl(call, "healthcheck", "window", "add", *words)

    assert (exit_code, document["error"]["code"]) == (2, code)
    assert not (call.root / ".opsctl").exists()


def test_the_same_sql_runs_in_postgresql(database_url: str) -> None:
    """A team's state store would be PostgreSQL; only the placeholders are named otherwise."""

    def pg(statement: str) -> bytes:
        return statement.replace("?", "%s").encode()

    with psycopg.connect(database_url) as connection:
        for statement in maintenance_windows.SCHEMA:
            connection.execute(pg(statement))
        values = ("production", "a1", 10.5, 20.5, "why", 30.5, "sam")
        connection.execute(pg(maintenance_windows._INSERT), values)
        select, remove = pg(maintenance_windows._SELECT), pg(maintenance_windows._REMOVE)
        assert connection.execute(select, ("production",)).fetchall() == [values[1:]]
        assert connection.execute(remove, (40.5, "kim", "production", "a1")).rowcount == 1
        assert connection.execute(remove, (41.5, "kim", "production", "a1")).rowcount == 0
        assert connection.execute(select, ("production",)).fetchall() == []
