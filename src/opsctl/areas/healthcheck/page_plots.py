"""The plots of the health report's page: SVG without text, so that it may be stretched."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from opsctl.areas.healthcheck.words import milliseconds, percent
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.areas.healthcheck.history_sums import Bar, CheckHistory
    from opsctl.areas.healthcheck.objectives import Judged

_GAP = 0.12
"""Of a bar's width."""
_LEAST_HEIGHT = 12.0
_VERY_DOWN = 0.95
_COLUMNS = 40


def uptime_strip(history: CheckHistory, objective: float, *, said: bool = True) -> str:
    """Return a bar for each stretch: its colour is the uptime, its height how much is known.

    `said` adds the figures in words to each, for a pointer that rests on it.
    """
    parts = []
    for at, bar in enumerate(history.bars):
        uptime, known = bar.sums.uptime, 0.0
        if bar.expected_s <= 0:
            kind, known, words = "rest", 100.0, "maintenance"
        elif uptime is None:
            kind, words = "none", "unknown"
        else:
            kind = "good" if uptime >= objective else "fair" if uptime >= _VERY_DOWN else "bad"
            known = max(_LEAST_HEIGHT, min(100.0, bar.coverage * 101))
            words = f"up {percent(uptime)}, {percent(bar.coverage, 1)} known"
        if known < 100:
            parts.append(_rect(at, 0, 100 - known, "none", _said(bar, words) if said else ""))
        if known:
            parts.append(_rect(at, 100 - known, known, kind, _said(bar, words) if said else ""))
        if 0 < bar.expected_s < bar.end - bar.begin - 1:
            parts.append(_rect(at, 78, 22, "rest"))
    label = f"uptime {percent(history.sums.uptime)}, {len(history.outages)} outages"
    return _svg("strip", len(history.bars), parts, label)


def latency_plot(history: CheckHistory, limit_ms: float) -> str:
    """Return the P95 of each stretch beside its limit, with the limit's value beside the line."""
    values = [bar.p95_ms for bar in history.bars if bar.p95_ms is not None]
    top = max([limit_ms, *values]) * 1.12
    parts = []
    for at, bar in enumerate(history.bars):
        if bar.p95_ms is None:
            if bar.expected_s > 0 and bar.sums.uptime is None:
                parts.append(_rect(at, 0, 100, "wash", _said(bar, "unknown")))
            continue
        height = max(1.0, bar.p95_ms / top * 100)
        kind = "over" if bar.p95_ms > limit_ms else "p95"
        words = _said(bar, f"P95 {milliseconds(bar.p95_ms)}")
        parts.append(_rect(at, 100 - height, height, kind, words))
    line = 100 - limit_ms / top * 100
    parts.append(
        f"<line class='rule' x1='0' x2='{len(history.bars)}' y1='{line:.2f}' y2='{line:.2f}'/>"
    )
    label = f"P95 over time, limit {milliseconds(limit_ms)}"
    drawn = _svg("plot", len(history.bars), parts, label)
    mark = f"<span class='limit' style='top:{line:.1f}%'>{milliseconds(limit_ms)}</span>"
    return f"<div class='frame'>{drawn}{mark}</div>"


def histogram(judged: Judged) -> str:
    """Return how often answers took how long, on a logarithmic axis, P50 and P95 marked."""
    buckets = judged.history.latencies.buckets()
    if not buckets:
        return "<p class='faint'>no answers</p>"
    first, last = buckets[0][0], buckets[-1][0] * 1.02
    width = math.log(last / first) / _COLUMNS
    counts = [0] * _COLUMNS
    for value, times in buckets:
        counts[min(_COLUMNS - 1, int(math.log(value / first) / width))] += times
    most = max(counts)
    parts = [
        _rect(at, 100 - height, height, "p95")
        for at, times in enumerate(counts)
        # The root lets the few slow ones be seen beside the many.
        if times and (height := max(3.0, math.sqrt(times / most) * 96))
    ]
    for quantile in (0.5, 0.95):
        value_ms = judged.quantile_ms(quantile)
        if value_ms is not None:
            at_x = min(max(math.log(value_ms / first) / width, 0), _COLUMNS)
            parts.append(f"<line class='mark' x1='{at_x:.2f}' x2='{at_x:.2f}' y1='0' y2='100'/>")
    label = f"{judged.history.latencies.count} answers, P50 and P95 marked"
    axis = "".join(f"<span>{milliseconds(each)}</span>"
                   for each in (first, math.sqrt(first * last), last))  # fmt: skip
    return _svg("plot", _COLUMNS, parts, label) + f"<div class='axis'>{axis}</div>"


def _said(bar: Bar, words: str) -> str:
    return f"{format_moment(bar.begin)}: {words}"


def _rect(at: float, top: float, height: float, kind: str, title: str = "") -> str:
    # Titles are of our own words alone, which need no escaping.
    inner = f"><title>{title}</title></rect>" if title else "/>"
    left, width = at + _GAP / 2, 1 - _GAP
    return (
        f"<rect class='{kind}' x='{left:.2f}' y='{top:.1f}' width='{width:.2f}' "
        f"height='{height:.1f}'{inner}"
    )


def _svg(kind: str, columns: int, parts: Iterable[str], label: str) -> str:
    return (
        f"<svg class='{kind}' viewBox='0 0 {columns} 100' preserveAspectRatio='none' role='img' "
        f"aria-label='{label}'>{''.join(parts)}</svg>"
    )
