"""Tables, notes and data of a report on statements; pure."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import Any

from opsctl.areas.slowquery.facts import SlowFacts
from opsctl.areas.slowquery.p95 import Interval, exceeds
from opsctl.areas.slowquery.plans import lines
from opsctl.areas.slowquery.statements import Statement
from opsctl.areas.slowquery.window import Window
from opsctl.core.report import Table

_TEXT = 72
_DATA_TEXT = 2000
_BLOCK = 8192


def duration(ms: float) -> str:
    """Return milliseconds as a person says them: `0.42 ms`, `12 ms`, `1.3 s`, `4.2 min`."""
    if ms < 0.005:
        return "0 ms"
    if ms < 9.95:
        return f"{ms:.2g} ms" if ms >= 1 else f"{ms:.2f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    for size, unit, most in ((1e3, "s", 99.5), (6e4, "min", 99.5), (3.6e6, "h", 48)):
        if ms / size < most:
            return f"{ms / size:.3g} {unit}"
    return f"{ms / 8.64e7:.0f} days"


def interval(found: Interval) -> str:
    """Return an interval: `12 ms`, `3.1–40 ms`."""
    if math.isinf(found.high):
        return f"over {duration(found.low)}"
    low, high = duration(found.low), duration(found.high)
    if found.exact or low == high:
        return high
    number, _, unit = low.partition(" ")
    return f"{number if unit == high.partition(' ')[2] else low}–{high}"


def shorten(text: str, most: int) -> str:
    """Return a text of at most so many signs."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def title_of(window: Window) -> str:
    """Return the report's title: which span it is about."""
    span = duration(window.seconds * 1000)
    if window.from_start:
        return f"Statements since the statistics began, {span} ago"
    return f"Statements of the last {span}"


def tables_of(facts: SlowFacts, *, top: int) -> tuple[Table, ...]:
    """Return the tables: time, other costs, plans."""
    shown = facts.listed[:top]
    if not shown:
        return ()
    count = len(facts.listed)
    of = f", {len(shown)} of {count:,}" if len(shown) < count else ""
    tables = [
        Table(
            f"By time{of}",
            ("#", "share", "calls", "total", "mean", "P95", "by", "statement"),
            tuple(
                (
                    str(number),
                    f"{each.share:.0%}" if not each.nested else "nested",
                    f"{each.calls:,}",
                    duration(each.total_ms),
                    duration(each.mean_ms),
                    interval(each.p95),
                    each.method,
                    shorten(each.text, _TEXT),
                )
                for number, each in enumerate(shown, 1)
            ),
        )
    ]
    costs = _costs(shown)
    if costs is not None:
        tables.append(costs)
    for number, each in enumerate(shown, 1):
        explained = facts.plans.get(each.key)
        if explained is not None and explained.plan is not None:
            who = f", planned as {explained.role}" if explained.role else ""
            tables.append(
                Table(
                    f"Generic plan of statement {number}{who}",
                    ("cost and rows are the planner's",),
                    tuple((_indented(line),) for line in lines(explained.plan)),
                )
            )
    return tuple(tables)


def _indented(line: str) -> str:
    """Return a line whose indentation survives: renderers may fold plain spaces."""
    bare = line.lstrip(" ")
    return "\u00a0" * (len(line) - len(bare)) + bare


_COLUMNS: tuple[tuple[str, Callable[[Statement], float], Callable[[float], str]], ...] = (
    ("rows", lambda each: each.costs.rows if each.costs else 0, lambda n: f"{n:,.0f}"),
    ("hit", lambda each: _bytes(each, "shared_hit_blocks"), lambda n: _size(n)),
    ("read", lambda each: _bytes(each, "shared_read_blocks"), lambda n: _size(n)),
    ("temp", lambda each: _bytes(each, "temp_written_blocks"), lambda n: _size(n)),
    ("WAL", lambda each: each.costs.wal_bytes if each.costs else 0, lambda n: _size(n)),
    ("I/O", lambda each: each.costs.read_ms + each.costs.write_ms if each.costs else 0, duration),
    ("JIT", lambda each: each.costs.jit_ms if each.costs else 0, duration),
    ("planning", lambda each: each.costs.plan_ms if each.costs else 0, duration),
)


def _costs(shown: tuple[Statement, ...]) -> Table | None:
    """Return what the statements used beside time; what none of them used is left out."""
    used = [column for column in _COLUMNS if any(column[1](each) for each in shown)]
    if not used:
        return None
    rows = tuple(
        (
            str(number),
            *(_cell(each, value, say) for _, value, say in used),
            ", ".join((each.role, *each.callers)),
        )
        for number, each in enumerate(shown, 1)
    )
    return Table("What else they used, and who called", ("#", *(name for name, _, _ in used),
                 "role and applications"), rows)  # fmt: skip


def _cell(each: Statement, value: Callable[[Statement], float], say: Callable[[float], str]) -> str:
    if each.costs is None:
        return "?"
    amount = value(each)
    return say(amount) if amount else "-"


def _bytes(statement: Statement, name: str) -> float:
    return float(getattr(statement.costs, name)) * _BLOCK if statement.costs is not None else 0.0


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def notes_of(facts: SlowFacts) -> tuple[str, ...]:
    """Return what a reader should know of how it was looked."""
    window, sampling = facts.window, facts.sampling
    notes = list(facts.notes)
    if window.from_start:
        notes.append("This is everything since the statistics began, not what is slow now.")
    if window.restarted:
        notes.append("The server was restarted meanwhile.")
    if sampling is not None:
        notes.append(
            f"Looked {sampling.looks} times in {sampling.seconds:.1f} s: {sampling.mean_ms:.1f} ms "
            f"a look, {sampling.slowest_ms:.1f} ms the slowest, and {sampling.busy_ms:.0f} ms of "
            "processor time here."
        )
    if any(each.known.segments for each in facts.listed):
        notes.append(
            "sampled: each duration is known. bound: the P95 lies in the interval whatever the "
            "distribution with this mean and deviation. both: most are known, the rest is bounded."
        )
    if facts.source.track == "all":
        notes.append("nested: called within a function; its time is in the caller's, too.")
    refused = [
        f"Statement {number} has no plan: {facts.plans[each.key].refused}."
        for number, each in enumerate(facts.listed, 1)
        if each.key in facts.plans and facts.plans[each.key].plan is None
    ]
    return (*notes, *refused)


def data_of(facts: SlowFacts, *, top: int, limit: float) -> dict[str, Any]:
    """Return the numbers for machines; each key names its unit."""
    window, sampling = facts.window, facts.sampling
    shown = list(facts.listed[:top])
    shown += [each for each in facts.listed[top:] if exceeds(each.known, limit) is not False]
    return {
        "database": facts.source.database,
        "extension_version": facts.source.version,
        "window": {
            "began_at": _moment(window.began_at),
            "ended_at": _moment(window.ended_at),
            "seconds": round(window.seconds, 3),
            "since_statistics_began": window.from_start,
            "reset": window.reset,
            "restarted": window.restarted,
            "evictions": window.evictions,
            "torn_statements": len(window.torn),
            "hidden_statements": window.hidden,
        },
        "limit_p95_ms": limit,
        "statements_total": len(facts.listed),
        "statements": [_statement(each, limit) for each in shown],
        "sampling": None
        if sampling is None
        else {
            "looks": sampling.looks,
            "seconds": round(sampling.seconds, 3),
            "looks_per_second": round(sampling.rate, 2),
            "look_mean_ms": round(sampling.mean_ms, 3),
            "look_slowest_ms": round(sampling.slowest_ms, 3),
            "own_processor_ms": round(sampling.busy_ms, 1),
        },
        "own_processor_ms": round(facts.own_ms, 1),
        "waited_for_server_ms": round(facts.asked_ms, 1),
        "plans": [
            {
                "query_id": str(key[1]),
                "role": each.role or None,
                "search_path": each.search_path or None,
                "total_cost": each.cost if each.plan is not None else None,
                "refused": each.refused or None,
                "plan": each.plan,
            }
            for key, each in facts.plans.items()
        ],
        "indexes": [
            {
                "query_id": str(each.key[1]),
                "table": f"{each.candidate.schema}.{each.candidate.table}",
                "columns": list(each.candidate.columns),
                "create": each.candidate.create,
                "proven": each.proven,
                "cost_before": each.cost_before,
                "cost_after": each.cost_after if each.proven else None,
            }
            for each in facts.advice
        ],
        "logged": None
        if facts.logged is None
        else {
            "path": str(facts.logged.path),
            "format": facts.logged.format,
            "calls": facts.logged.calls,
            "within_window": facts.logged.within_window,
            "p95_low_ms": facts.logged.p95.low if facts.logged.p95 else None,
            "p95_high_ms": facts.logged.p95.high if facts.logged.p95 else None,
            "how": facts.logged.how,
        },
        "probed": [
            {
                "query": shorten(each.text, _DATA_TEXT),
                "calls": each.calls,
                "p95_ms": each.p95.high if each.p95 else None,
                "median_ms": each.median_ms if each.p95 else None,
                "failure": each.failure or None,
            }
            for each in facts.probed
        ],
    }


def _statement(each: Statement, limit: float) -> dict[str, Any]:
    over = exceeds(each.known, limit)
    return {
        # As text: the number does not fit into JavaScript's.
        "query_id": str(each.query_id),
        "role": each.role,
        "applications": list(each.callers),
        "nested": each.nested,
        "text": shorten(each.text, _DATA_TEXT),
        "calls": each.calls,
        "exact_calls": each.known.exact_calls,
        "total_ms": round(each.total_ms, 6),
        "mean_ms": round(each.mean_ms, 6),
        "share": round(each.share, 6),
        "p95_low_ms": round(each.p95.low, 6),
        "p95_high_ms": round(each.p95.high, 6),
        "p95_method": each.method,
        "p95_over_limit": over,
        "counters_torn": each.torn,
        **(each.costs._asdict() if each.costs is not None else {}),
    }


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")
