"""When a freeze holds: once, every week, over midnight, across the clock's change."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from opsctl.core.errors import OpsError
from opsctl.core.freezes import freezes_between, frozen
from opsctl.core.settings import Settings


def freezes(*rules: dict[str, Any]) -> Any:
    document = {"environments": {"production": {"freezes": list(rules)}}}
    return Settings.model_validate_json(json.dumps(document)).environments["production"].freezes


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_one_holds_from_its_begin_until_just_before_its_end() -> None:
    rules = freezes({"name": "sale", "begin": "2026-11-27T00:00", "end": "2026-11-30T06:30"})

    assert frozen(rules, at("2026-11-26T23:59:59+00:00")) is None
    assert frozen(rules, at("2026-11-27T00:00+00:00")) is not None
    assert frozen(rules, at("2026-11-30T06:29:59+00:00")) is not None
    assert frozen(rules, at("2026-11-30T06:30+00:00")) is None


def test_one_that_comes_back_holds_over_midnight_and_over_days() -> None:
    weekend = {"name": "weekend", "days": ["friday"], "at": "15:00", "hours": 63.0}
    night = {"name": "night", "at": "22:00", "hours": 8.0}

    assert frozen(freezes(weekend), at("2026-11-30T05:59+00:00")) is not None
    assert frozen(freezes(weekend), at("2026-11-30T06:00+00:00")) is None
    assert frozen(freezes(weekend), at("2026-11-26T16:00+00:00")) is None
    assert frozen(freezes(night), at("2026-11-26T05:00+00:00")) is not None
    assert frozen(freezes(night), at("2026-11-26T12:00+00:00")) is None
    both = frozen(freezes(weekend, night), at("2026-11-27T23:00+00:00"))
    assert both is not None
    assert both.name == "weekend"


def test_a_whole_week_is_never_free() -> None:
    rules = freezes({"name": "always", "days": ["monday"], "at": "12:00", "hours": 168.0})
    first = at("2026-03-01T00:00+00:00")

    assert all(frozen(rules, first + hour * 3600) for hour in range(24 * 60))


def test_the_time_zone_counts_also_where_the_clock_is_put_forward() -> None:
    rules = freezes(
        {"name": "night", "at": "01:30", "hours": 2.0, "timezone": "Europe/Berlin"},
    )

    held = frozen(rules, at("2026-03-29T01:00+00:00"))
    assert held is not None
    assert (held.begins_at, held.ends_at) == (
        at("2026-03-29T00:30+00:00"), at("2026-03-29T02:30+00:00"),
    )  # fmt: skip
    assert frozen(rules, at("2026-03-29T02:30+00:00")) is None


def test_those_ahead_are_listed_in_order() -> None:
    rules = freezes(
        {"name": "sale", "begin": "2026-11-27T00:00", "end": "2026-11-30T00:00"},
        {"name": "night", "days": ["thursday", "saturday"], "at": "22:00", "hours": 1.0},
    )
    span = at("2026-11-26T00:00+00:00"), at("2026-11-29T00:00+00:00")

    assert [each.name for each in freezes_between(rules, *span)] == ["night", "sale", "night"]


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"begin": "2026-11-27T00:00"},
        {"begin": "2026-11-27T00:00", "end": "2026-11-27T00:00"},
        {"begin": "2026-02-30T00:00", "end": "2026-11-27T00:00"},
        {"begin": "9999-12-30T00:00", "end": "9999-12-31T00:00"},
        {"at": "22:00"},
        {"at": "22:00", "hours": 1.0, "begin": "2026-11-27T00:00"},
        {"begin": "2026-11-27T00:00", "end": "2026-11-28T00:00", "days": ["monday"]},
        {"begin": "2026-11-27T00:00", "end": "2026-11-28T00:00", "at": "22:00", "hours": 1.0},
        {"at": "24:00", "hours": 1.0},
        {"at": "22:00", "hours": 169.0},
    ],
    ids=str,
)
def test_what_is_no_freeze_is_no_setting(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"freeze|calendar|pattern|less than"):
        freezes({"name": "x", **rule})


def test_a_time_zone_that_is_not_known_lets_nothing_through() -> None:
    rules = freezes({"name": "x", "at": "22:00", "hours": 1.0, "timezone": "Mars/Base"})

    with pytest.raises(OpsError) as caught:
        frozen(rules, 0.0)
    assert caught.value.code == "no-such-timezone"
