"""The P95 of calls that the server logged: exact where it logs all, else an estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.adapters.postgres import Connection
from opsctl.adapters.server_log import Duration, read_server_log
from opsctl.adapters.statements import MARK, is_ours
from opsctl.areas.slowquery.p95 import Interval, rank_from_top
from opsctl.areas.slowquery.statements import is_control
from opsctl.areas.slowquery.window import Window

_CONFIDENCE = 0.99


@dataclass(frozen=True)
class Logged:
    """What a log says about durations."""

    path: Path
    format: str
    calls: int
    """Lines that count."""
    within_window: bool
    """Whether only lines of the window count; else all of the file's."""
    p95: Interval | None
    how: str
    """What the interval rests on, or why there is none."""


def read_log(connection: Connection, path: Path, *, window: Window) -> Logged:
    """Read a log of the server and say what it tells about the P95; see `judge_log`."""
    log = read_server_log(path)
    row = connection.execute(_SETTINGS.encode()).fetchone()
    settings = dict(row[0]) if row else {}
    database = str(row[1]) if row else ""
    return judge_log(
        log.durations, path=path, format=log.format, settings=settings, database=database,
        window=window,
    )  # fmt: skip


def judge_log(
    durations: Sequence[Duration],
    *,
    path: Path,
    format: str,
    settings: dict[str, str],
    database: str,
    window: Window,
) -> Logged:
    """Say what logged durations tell about the P95; pure.

    `settings` are the server's: what is logged from which duration on, and which share of it.
    """
    calls = [
        each for each in durations
        if each.database in (None, database)
        and not is_ours(each.text)
        and not is_control(each.text)
    ]  # fmt: skip
    plain = [each for each in calls if not each.planned]
    planned = not plain
    calls = plain or calls
    within = bool(calls) and all(each.at is not None for each in calls)
    if within:
        inside = [each for each in calls if window.began_at <= (each.at or 0) <= window.ended_at]
        within = bool(inside)
        calls = inside or calls
    slowest_first = sorted((each.ms for each in calls), reverse=True)
    threshold, rate = _settings(settings, planned=planned)
    p95, how = _percentile(slowest_first, threshold, rate, window, within=within)
    return Logged(path, format, len(calls), within, p95, how)


def _settings(settings: dict[str, str], *, planned: bool) -> tuple[float | None, float]:
    """Return (duration in ms from which all is logged, share of it that is), or (None, ...)."""

    def number(name: str, otherwise: float) -> float:
        try:
            return float(settings[name])
        except (KeyError, ValueError):
            return otherwise

    if planned:
        least = number("auto_explain.log_min_duration", -1)
        return (None if least < 0 else least), number("auto_explain.sample_rate", 1)
    least = number("log_min_duration_statement", -1)
    if least >= 0:
        return least, 1.0
    least = number("log_min_duration_sample", -1)
    if least >= 0:
        return least, number("log_statement_sample_rate", 1)
    return None, 1.0


def _percentile(
    slowest_first: Sequence[float],
    threshold: float | None,
    rate: float,
    window: Window,
    *,
    within: bool,
) -> tuple[Interval | None, str]:
    count = len(slowest_first)
    if not count:
        return None, "it holds no durations"
    if threshold is None:
        return None, "the server does not say from which duration on it logs"
    if threshold == 0 and rate >= 1:
        value = slowest_first[rank_from_top(count)]
        return Interval(value, value), "every call was logged"
    if threshold == 0:
        low, high = order_statistics(count)
        top = slowest_first[count - high] if high <= count else math.inf
        bottom = slowest_first[count - low] if low >= 1 else 0.0
        return Interval(bottom, top), f"a sample of {rate:.0%}, {_CONFIDENCE:.0%} confidence"
    if rate < 1:
        return None, f"only {rate:.0%} of the calls over {threshold:g} ms are logged"
    if not within:
        return None, f"calls under {threshold:g} ms are not logged, and none is of this window"
    everything = sum(spent.calls for key, spent in window.spent.items() if key[2])
    above = rank_from_top(everything)
    if count > above:
        value = slowest_first[above]
        return Interval(value, value), f"every call over {threshold:g} ms was logged"
    return Interval(0.0, threshold), f"so few of {everything} calls lasted {threshold:g} ms"


def order_statistics(count: int) -> tuple[int, int]:
    """Return the ranks, from 1 for the shortest, between which the true P95 lies.

    Exact, from the binomial distribution, at 99 % confidence; a rank of 0 or `count + 1` means
    that so few calls give no bound on that side.
    """
    tail = (1 - _CONFIDENCE) / 2
    below = 0.0
    low, high = 0, count + 1
    logs = (math.log(0.95), math.log(0.05))
    for rank in range(count + 1):
        chance = math.exp(
            math.lgamma(count + 1) - math.lgamma(rank + 1) - math.lgamma(count - rank + 1)
            + rank * logs[0] + (count - rank) * logs[1]
        )  # fmt: skip
        below += chance  # P(at most `rank` calls lie below the true percentile)
        if below <= tail:
            low = rank + 1
        if below >= 1 - tail:
            high = rank + 1
            break
    return low, high


_SETTINGS = f"""SELECT {MARK} coalesce(json_object_agg(name, setting), '{{}}'), current_database()
FROM pg_catalog.pg_settings WHERE name IN (
  'log_min_duration_statement', 'log_min_duration_sample', 'log_statement_sample_rate',
  'auto_explain.log_min_duration', 'auto_explain.sample_rate')"""
