"""Durations and moments as typed."""

from __future__ import annotations

import pytest

from opsctl.core.errors import OpsError
from opsctl.core.times import format_moment, parse_duration, parse_moment

NOW = 1_795_654_800.0  # 2026-11-26 01:00 UTC


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1.5h", 5400), ("30d", 2_592_000), (" 2 w ", 1_209_600)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text, "--since") == seconds


@pytest.mark.parametrize("text", ["", "5", "5y", "-5m", "0d", "m", "1e9d", "٣d", "9999999999d"])
def test_anything_else_is_refused_with_the_option(text: str) -> None:
    with pytest.raises(OpsError) as caught:
        parse_duration(text, "--since")

    assert (caught.value.code, int(caught.value.exit)) == ("not-a-duration", 2)
    assert "--since" in caught.value.what


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("2h", NOW - 7200),
        ("2026-11-26T02:00", NOW + 3600),
        ("2026-11-26 02:00", NOW + 3600),
        ("2026-11-26T02:00+01:00", NOW),
        ("2026-11-26T01:00:00Z", NOW),
        ("2026-11-26", NOW - 3600),
    ],
)
def test_a_moment_is_now_or_before_or_a_time_in_utc(text: str, moment: float) -> None:
    assert parse_moment(text, "--from", now=NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "25:00", "9999-99", "1"])
def test_any_other_moment_is_refused(text: str) -> None:
    with pytest.raises(OpsError) as caught:
        parse_moment(text, "--from", now=NOW)

    assert (caught.value.code, int(caught.value.exit)) == ("not-a-time", 2)


def test_a_moment_is_shown_in_utc_to_the_minute() -> None:
    assert format_moment(NOW + 59) == "2026-11-26 01:00 UTC"
