"""Judge who is connected and who waits for whom."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsctl.adapters.vitals import Vitals
from opsctl.areas.diagnose.findings import green, note, red, several, unknown, yellow
from opsctl.core.report import Finding
from opsctl.core.settings import Limits

Row = Mapping[str, Any]

_NAMED = 5
"""Sessions of one kind that are named; the rest are counted."""
_LITERAL = re.compile(r"'(?:[^']|'')*(?:'|$)|\$(\w*)\$.*?(?:\$\1\$|$)", re.DOTALL)
"""A quoted value, also one that is cut off: a statement may hold a password."""
_NOT_ALLOWED = "42501"
_FIX = "opsctl diagnose db --fix"


@dataclass(frozen=True)
class Culprit:
    """A session that holds others up. What is None or empty is hidden from us."""

    pid: int
    backend_start: str
    xact_start: str
    role: str
    application: str
    database: str
    state: str
    kind: str
    """`client backend`, `autovacuum worker`, `walsender`, ..."""
    query: str
    transaction_s: float
    why: str
    """`idle in transaction for 3 min`, for a person."""

    @property
    def known(self) -> bool:
        """Whether it can be told from another session that gets its number."""
        return bool(self.pid and self.backend_start and self.xact_start)


def judge_sessions(vitals: Vitals, *, limits: Limits) -> list[Finding]:
    """Return the findings, in the order they are looked at."""
    return [
        *_connections(vitals, limits),
        *_own_limits(vitals, limits),
        *_idle(vitals, limits),
        *_blocked(vitals, limits),
        *_long(vitals, limits),
        *_prepared(vitals, limits),
    ]


def unread(vitals: Vitals, question: str, rule: str, title: str) -> list[Finding]:
    """Return the finding that a question has no answer; none where it has one."""
    why = vitals.why(question)
    if not why:
        return []
    role = vitals.one("server").get("role", "the role")
    hidden = question in vitals.answers and vitals.answers[question].sqlstate == _NOT_ALLOWED
    hint = f"grant pg_monitor to {role}" if hidden else "run it again"
    return [unknown(rule, f"{title}: not known", saw=why, next=hint)]


def idlers(vitals: Vitals, limits: Limits) -> list[Culprit]:
    """Return who is idle within a transaction for too long, the longest first."""
    return [
        _culprit(row, f"idle in transaction for {seconds(row['state_s'])}")
        for row in vitals.rows("transactions")
        if str(row["state"] or "").startswith("idle in transaction")
        and (row["state_s"] or 0) > limits.idle_in_transaction_s
    ]


def long_ones(vitals: Vitals, limits: Limits) -> list[Culprit]:
    """Return whose transaction takes too long and does something, the longest first."""
    return [
        _culprit(row, f"in a transaction for {seconds(row['transaction_s'])}")
        for row in vitals.rows("transactions")
        if not str(row["state"] or "").startswith("idle in transaction")
        and (row["transaction_s"] or 0) > limits.transaction_s
    ]


def blockers(vitals: Vitals, limits: Limits) -> list[Culprit]:
    """Return who holds somebody up for too long and waits for nobody: the roots."""
    rows = {row["pid"]: row for row in vitals.rows("locks")}
    victims = _victims(vitals, limits)
    found = []
    for pid in sorted({root for row in victims for root in _roots(row["pid"], rows)}):
        held_up = [row["pid"] for row in victims if pid in _roots(row["pid"], rows)]
        what = f"holding up {several(len(held_up), 'session').lower()}"
        found.append(_culprit(rows.get(pid, {"pid": pid}), what))
    return found


def seconds(value: Any) -> str:
    """Return a span of seconds for a person."""
    if value is None:
        return "?"
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def _connections(vitals: Vitals, limits: Limits) -> list[Finding]:
    if found := [
        *unread(vitals, "connections", "connections", "Connections"),
        *unread(vitals, "limits", "connections", "The limit of connections"),
    ]:
        return found
    rows, most = vitals.rows("connections"), int(vitals.one("limits")["most"])
    used = sum(row["count"] for row in rows)
    free_to_all = most - int(vitals.one("limits")["reserved"])
    saw = f"{used} of {most} in use, {most - free_to_all} kept for administrators" + _by_whom(rows)
    if used > limits.database_connections * most or used >= free_to_all:
        hint = "use the pooler; end idle ones: select pg_terminate_backend(pid) from "
        hint += "pg_stat_activity where state = 'idle' and application_name = '...'"
        return [red("connections", "The server is short of connections", saw=saw, next=hint)]
    return [green("connections", f"Connections: {used} of {most}", saw=saw)]


def _by_whom(rows: tuple[Row, ...]) -> str:
    shown = [
        f"{row['count']} {row['role']}"
        + (f" ({row['application']})" if row["application"] else "")
        + (f" {row['state']}" if row["state"] else "")
        for row in rows[:_NAMED]
    ]
    rest = sum(row["count"] for row in rows[_NAMED:])
    return (": " + ", ".join(shown) if shown else "") + (f", {rest} others" if rest else "")


def _own_limits(vitals: Vitals, limits: Limits) -> list[Finding]:
    found = unread(vitals, "own_limits", "own-limit", "Limits of roles and databases")
    for row in vitals.rows("own_limits"):
        if row["used"] <= limits.database_connections * row["most"]:
            continue
        title = f"The {row['kind']} {row['name']} is short of connections"
        hint = f"alter {row['kind']} {row['name']} connection limit N; or use the pooler"
        found.append(red("own-limit", title, saw=f"{row['used']} of {row['most']}", next=hint))
    return found


def _idle(vitals: Vitals, limits: Limits) -> list[Finding]:
    if found := unread(vitals, "transactions", "idle-in-transaction", "Idle in transaction"):
        return found
    found = _hidden(vitals, "idle-in-transaction", "Idle in transaction")
    culprits = idlers(vitals, limits)
    if culprits:
        title = f"{_count(culprits)} idle in a transaction: it keeps its locks, and vacuum waits"
        found.append(red("idle-in-transaction", title, saw=_named(culprits), next=_FIX))
    return found or [green("idle-in-transaction", "Idle in transaction: nobody for long")]


def _long(vitals: Vitals, limits: Limits) -> list[Finding]:
    if found := unread(vitals, "transactions", "long-transaction", "Long transactions"):
        return found
    found = _hidden(vitals, "long-transaction", "Long transactions")
    culprits = long_ones(vitals, limits)
    if culprits:
        title = f"{_count(culprits)} in a transaction for longer than {limits.transaction_s:g} s"
        found.append(red("long-transaction", title, saw=_named(culprits), next=_FIX))
    return found or [green("long-transaction", "Long transactions: none")]


def _hidden(vitals: Vitals, rule: str, title: str) -> list[Finding]:
    server = vitals.one("server")
    hidden = server.get("hidden", 0)
    if not hidden:
        return []
    who = server.get("role", "this role")
    saw = f"what {hidden} sessions of other roles do is hidden from {who}"
    return [unknown(rule, f"{title}: not known of everybody", saw=saw,
                    next=f"grant pg_monitor to {who}")]  # fmt: skip


def _blocked(vitals: Vitals, limits: Limits) -> list[Finding]:
    if found := unread(vitals, "locks", "blocked", "Blocked sessions"):
        return found
    victims = _victims(vitals, limits)
    if not victims:
        waiting = sum(1 for row in vitals.rows("locks") if row["blockers"])
        title = f"Locks: {waiting} wait, nobody for long" if waiting else "Locks: nobody waits"
        return [green("blocked", title)]
    culprits = blockers(vitals, limits)
    longest = max(row["waited_s"] or 0 for row in victims)
    what = ", ".join(
        f"pid {row['pid']} ({row['role']}) for {row['mode']}"
        + (f" on {row['relation']}" if row["relation"] else f" ({row['locktype']})")
        for row in victims[:_NAMED]
    )
    title = f"{_sessions(len(victims))} blocked, up to {seconds(longest)}"
    saw = f"culprit: {_named(culprits)}. Waiting: {what}"
    prepared = any(not each.pid for each in culprits)
    hint = "a prepared transaction holds the lock: see below" if prepared else _FIX
    return [red("blocked", title, saw=saw, next=hint)]


def _victims(vitals: Vitals, limits: Limits) -> list[Row]:
    return [
        row
        for row in vitals.rows("locks")
        if row["blockers"] and (row["waited_s"] or 0) > limits.blocked_s
    ]


def _roots(pid: int, rows: Mapping[int, Row]) -> set[int]:
    """Return who at the end of the chains holds `pid` up; those of a circle are all of it."""
    seen: set[int] = set()
    todo, roots = list(rows[pid]["blockers"] or ()), set()
    while todo:
        each = todo.pop()
        if each in seen:
            continue
        seen.add(each)
        further = rows[each]["blockers"] if each in rows else None
        if further:
            todo += further
        else:
            roots.add(each)
    return roots or seen


def _prepared(vitals: Vitals, limits: Limits) -> list[Finding]:
    if found := unread(vitals, "prepared", "prepared-transaction", "Prepared transactions"):
        return found
    rows = vitals.rows("prepared")
    if not rows:
        return [green("prepared-transaction", "Prepared transactions: none")]
    saw = ", ".join(
        f"{row['gid']} of {row['role']} on {row['database']}, {seconds(row['age_s'])} old"
        for row in rows[:_NAMED]
    )
    old = any(row["age_s"] > limits.transaction_s for row in rows)
    title = f"{several(len(rows), 'prepared transaction')}: locks are kept, and vacuum waits"
    hint = "does its manager still know it? rollback prepared 'GID', in that database"
    if old:
        return [red("prepared-transaction", title, saw=saw, next=hint)]
    return [yellow("prepared-transaction", title, saw=saw, next=hint)]


def judge_activity(vitals: Vitals) -> list[Finding]:
    """Say what a database's counters tell of trouble in the past."""
    row = vitals.one("traffic")
    if row and row["deadlocks"]:
        since = row["since"] or "the statistics began"
        return [note("deadlocks", f"{several(row['deadlocks'], 'deadlock')} since {since}",
                     next="the server's log names their statements")]  # fmt: skip
    return []


def _culprit(row: Row, why: str) -> Culprit:
    return Culprit(
        pid=row["pid"],
        backend_start=row.get("backend_start") or "",
        xact_start=row.get("xact_start") or "",
        role=row.get("role") or "",
        application=row.get("application") or "",
        database=row.get("database") or "",
        state=row.get("state") or "",
        kind=row.get("kind") or "",
        query=row.get("query") or "",
        transaction_s=row.get("transaction_s") or 0.0,
        why=why,
    )


def describe(culprit: Culprit) -> str:
    """Return who a session is, in a line."""
    if not culprit.pid:
        return "a prepared transaction"
    who = f"pid {culprit.pid} ({culprit.role or 'role hidden'}"
    who += f", {culprit.application})" if culprit.application else ")"
    query = _LITERAL.sub("'...'", " ".join(culprit.query.split()))[:120]
    return f"{who}, {culprit.why}" + (f", last: {query}" if query else "")


def _named(culprits: list[Culprit]) -> str:
    rest = len(culprits) - _NAMED
    return "; ".join(describe(each) for each in culprits[:_NAMED]) + (
        f"; {rest} more" if rest > 0 else ""
    )


def _count(culprits: list[Culprit]) -> str:
    return _sessions(len(culprits))


def _sessions(count: int) -> str:
    return f"{several(count, 'session')} {'is' if count == 1 else 'are'}"
