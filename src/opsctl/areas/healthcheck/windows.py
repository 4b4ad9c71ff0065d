"""Maintenance windows: which one holds now, and adding, listing and removing single ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opsctl.adapters.maintenance_windows import Window, WindowStore, joined, monthly
from opsctl.core.errors import OpsError
from opsctl.core.report import Report, Table
from opsctl.core.times import format_moment, parse_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call

_LONGEST_S = 31 * 86400
_SHOWN_AHEAD_S = 62 * 86400
_SHOWN_BACK_S = 31 * 86400


def between(call: Call, begin: float, end: float) -> tuple[Window, ...]:
    """Return the windows that touch a span, the earliest first.

    Raises OpsError `state-unusable` (exit 3), `no-such-timezone` (exit 2).
    """
    single = (
        window for window in _store(call).list(call.name)
        if window.begins_at < end and window.ends_at > begin
    )  # fmt: skip
    repeated = monthly(call.environment.maintenance_windows, begin, end)
    return tuple(sorted((*single, *repeated), key=lambda each: (each.begins_at, each.id)))


def active(call: Call, at: float) -> Window | None:
    """Return the window that holds at a moment, the one that ends last, or None.

    It is asked anew each time: a window may be added while a watch runs.
    """
    holding = [each for each in between(call, at, at + 0.001) if each.holds(at)]
    return max(holding, key=lambda each: each.ends_at, default=None)


def add(call: Call, *, begin: str, end: str, reason: str) -> Report:
    """Keep a single window, which may lie in the past."""
    import secrets

    now = time.time()
    window = Window(
        begins_at=parse_moment(begin, "--from", now=now),
        ends_at=parse_moment(end, "--to", now=now),
        reason=reason.strip(),
        id=secrets.token_hex(4),
        added_at=now,
        added_by=_user(),
    )
    _check(window)
    _store(call).add(call.name, window)
    return Report(
        command="healthcheck window add",
        title=f"Window {window.id} is kept: {_span(window)}",
        environment=call.name,
        notes=(
            "What happens in it counts neither as up nor as down, and tells nobody.",
            f"Take it back: opsctl healthcheck window remove {window.id}",
        ),
        data={"window": _data(window)},
    )


def show(call: Call) -> Report:
    """List the single windows, and the monthly ones of the last month and the next two."""
    now = time.time()
    repeated = monthly(
        call.environment.maintenance_windows, now - _SHOWN_BACK_S, now + _SHOWN_AHEAD_S
    )
    windows = sorted(
        (*_store(call).list(call.name), *repeated), key=lambda each: (each.begins_at, each.id)
    )
    return Report(
        command="healthcheck window list",
        title=f"Maintenance windows of {call.name}",
        environment=call.name,
        tables=(
            Table(
                "",
                ("id", "from", "to", "state", "reason", "added"),
                tuple(_row(window, now) for window in windows),
            ),
        ),
        data={"windows": [_data(window) for window in windows]},
    )


def remove(call: Call, id: str) -> Report:
    """Remove a single window; what happened in it counts again."""
    if not _store(call).remove(call.name, id, at=time.time(), by=_user()):
        raise OpsError(
            f"There is no window {id!r}",
            why=f"{call.name} has none of that id; monthly ones stand in the settings",
            hint="opsctl healthcheck window list",
            code="no-such-window",
        )
    return Report(
        command="healthcheck window remove",
        title=f"Window {id} is removed: what happened in it counts again",
        environment=call.name,
        data={"removed": id},
    )


def spans(windows: tuple[Window, ...], begin: float, end: float) -> list[tuple[float, float]]:
    """Return the spans of maintenance within a period, in order and without overlap."""
    return joined(windows, begin, end)


def _check(window: Window) -> None:
    why = ""
    if window.ends_at <= window.begins_at:
        why = f"it would end ({format_moment(window.ends_at)}) before it begins"
    elif window.ends_at - window.begins_at > _LONGEST_S:
        why = "it would last longer than a month"
    elif not window.reason:
        why = "it has no reason, and whoever reads the report will ask for one"
    if why:
        raise OpsError(
            "The window was not kept",
            why=why,
            hint="opsctl healthcheck window add --from 2h --to now --reason 'index rebuilt'",
            code="bad-window",
        )


def _store(call: Call) -> WindowStore:
    return WindowStore(call.state)


def _row(window: Window, now: float) -> tuple[str, ...]:
    state = "now" if window.holds(now) else "past" if window.ends_at <= now else "ahead"
    added = "monthly, of the settings"
    if window.added_at is not None:
        added = f"{format_moment(window.added_at)} by {window.added_by}"
        if window.afterwards:
            added += ", afterwards"
    ends = (format_moment(window.begins_at), format_moment(window.ends_at))
    return (window.id or "-", *ends, state, window.reason, added)


def _span(window: Window) -> str:
    return f"{format_moment(window.begins_at)} to {format_moment(window.ends_at)}"


def _data(window: Window) -> dict[str, object]:
    return {
        "id": window.id or None,
        "begins_at": window.begins_at,
        "ends_at": window.ends_at,
        "reason": window.reason,
        "added_at": window.added_at,
        "added_by": window.added_by or None,
        "afterwards": window.afterwards,
    }


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
