"""When maintenance may be: what a window must be, and why one is refused. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsctl.adapters.maintenance_windows import monthly
from opsctl.areas.maintenance.facts import Planned
from opsctl.core.errors import Exit, OpsError
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.core.maintenance import Maintenance
    from opsctl.core.settings import MonthlyWindow

_AHEAD_S = 400 * 86400.0
_FURTHEST_S = 2 * 366 * 86400.0
_LONGEST_H = 24.0
"""Of a window that was not planned."""
_EARLY_S = 900.0
"""A window is begun so long before its begin at the earliest."""


@dataclass(frozen=True)
class Span:
    """What a window is to be: epoch seconds UTC, and why."""

    begins_at: float
    ends_at: float
    reason: str


def next_monthly(
    rules: Sequence[MonthlyWindow], known: Sequence[Planned], *, now: float, notice_h: float
) -> Span | None:
    """Return the next window of the settings that can be announced in time, planned or not.

    A window of them that is on record is taken as it is there: it may have been moved.
    """
    earliest = now + notice_h * 3600
    planned = {each.begins_at: each for each in known if each.state == "planned"}
    coming = sorted(monthly(rules, now, now + _AHEAD_S), key=lambda each: each.begins_at)
    for each in coming:
        if each.begins_at >= earliest or (each.begins_at >= now and each.begins_at in planned):
            return Span(each.begins_at, each.ends_at, each.reason)
    return None


def is_span(window: Planned, span: Span) -> bool:
    """Whether a window is just so already."""
    return (window.begins_at, window.ends_at, window.reason) == (
        span.begins_at, span.ends_at, span.reason,
    )  # fmt: skip


def refuse_span(
    span: Span,
    rules: Maintenance,
    known: Sequence[Planned],
    *,
    now: float,
    short_notice: str,
    but: str = "",
) -> None:
    """Raise OpsError for a window that may not be: `bad-window`, `short-notice`, `overlaps`.

    `but` is the window that is moved: it is no obstacle to itself.
    """
    hours = (span.ends_at - span.begins_at) / 3600
    if span.begins_at < now:
        raise _bad(f"it would have begun at {format_moment(span.begins_at)}")
    if span.begins_at > now + _FURTHEST_S:
        raise _bad("it would begin in more than two years")
    if not rules.shortest_h <= hours <= rules.longest_h:
        raise _bad(
            f"it would last {hours:g} h; the settings say {rules.shortest_h:g} to "
            f"{rules.longest_h:g} h"
        )
    for each in known:
        if each.open and each.id != but and _meet(each, span):
            raise OpsError(
                "The window was not planned",
                why=f"{each.id} is from {format_moment(each.begins_at)} to "
                f"{format_moment(each.ends_at)}",
                hint=f"opsctl maintenance plan --move {each.id} --at TIME",
                code="overlaps",
            )
    notice_h = (span.begins_at - now) / 3600
    if notice_h < rules.notice_h and not short_notice:
        raise OpsError(
            "The window was not planned: it could not be announced in time",
            why=f"it begins in {notice_h:.1f} h; {rules.notice_h:g} h of notice are promised",
            hint="choose a later --at; or say why it cannot wait: --short-notice REASON",
            code="short-notice",
            exit=Exit.REFUSED,
        )


def refuse_start(window: Planned, known: Sequence[Planned], *, now: float) -> None:
    """Raise OpsError (exit 5) for a window that may not begin now."""
    running = next((each for each in known if each.state == "started"), None)
    why = hint = code = ""
    if running is not None:
        why, hint, code = f"{running.id} is under way", "opsctl maintenance finish", "under-way"
    elif window.state != "planned":
        why, hint, code = f"it is {window.state}", "opsctl maintenance list", f"is-{window.state}"
    elif now < window.begins_at - _EARLY_S:
        why = f"it was announced to begin at {format_moment(window.begins_at)}"
        hint = f"opsctl maintenance plan --move {window.id} --at TIME"
        code = "too-early"
    elif now >= window.ends_at:
        why = f"it was to end at {format_moment(window.ends_at)}"
        hint = f"opsctl maintenance plan --move {window.id} --at TIME"
        code = "too-late"
    if code:
        raise OpsError(
            f"The maintenance {window.id} was not begun",
            why=why,
            hint=hint,
            code=code,
            exit=Exit.REFUSED,
        )


def unplanned_span(hours: float, *, now: float, reason: str) -> Span:
    """Return a window that begins now; raises OpsError `bad-window` (exit 2)."""
    if hours > _LONGEST_H:
        raise _bad(f"it would last {hours:g} h, more than {_LONGEST_H:g}")
    return Span(now, now + hours * 3600, reason)


def new_id(span: Span, known: Sequence[Planned]) -> str:
    """Return an id that says when a window was first to begin, and that is nobody else's."""
    name = f"MW-{datetime.fromtimestamp(span.begins_at, UTC):%Y%m%d-%H%M}"
    taken = {each.id for each in known}
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _meet(window: Planned, span: Span) -> bool:
    return window.begins_at < span.ends_at and span.begins_at < window.ends_at


def _bad(why: str) -> OpsError:
    return OpsError(
        "The window was not planned",
        why=why,
        hint="opsctl maintenance plan --at 2027-01-17T02:00 --for 3h",
        code="bad-window",
    )
