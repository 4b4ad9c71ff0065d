"""Durations and moments as people type them: `5m`, `30d`, `2026-11-26T02:00`, `2h` ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from opsctl.core.errors import OpsError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhdw])", re.ASCII)


def parse_duration(text: str, option: str) -> float:
    """Return a duration in seconds; raises OpsError `not-a-duration`, naming the option."""
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not seconds:
        raise OpsError(
            f"{option} {text!r} is no duration",
            why="a duration is a number, not 0, and one of s, m, h, d, w",
            hint=f"write {option} 90s, 5m, 2h or 30d",
            code="not-a-duration",
        )
    return seconds


def parse_moment(text: str, option: str, *, now: float) -> float:
    """Return a moment as epoch seconds.

    `now`, a duration before now, or an ISO 8601 time, in UTC where it names no offset. Raises
    OpsError `not-a-time`, naming the option.
    """
    word = text.strip()
    if word == "now":
        return now
    found = _DURATION.fullmatch(word)
    try:
        if found:
            at = now - float(found[1]) * _UNITS[found[2]]
        else:
            moment = datetime.fromisoformat(word)
            at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if not _EARLIEST <= at <= _LATEST:
            raise ValueError("no calendar has it")
        return at
    except (ValueError, OverflowError):
        raise OpsError(
            f"{option} {text!r} is no time",
            why="a time is now, a duration before now, or YYYY-MM-DDTHH:MM in UTC or with offset",
            hint=f"write {option} 2h, or {option} 2026-11-26T02:00+01:00",
            code="not-a-time",
        ) from None


def format_moment(at: float) -> str:
    """Return epoch seconds as a person reads them, to the minute: `2026-11-26 02:00 UTC`."""
    # Not fromtimestamp: it refuses what lies outside the system's range.
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    return f"{moment:%Y-%m-%d %H:%M} UTC"
