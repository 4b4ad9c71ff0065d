"""What `opsctl status` says of maintenance: windows, freezes, and reviews that are overdue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opsctl.core.report import Finding, Severity, Status
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.areas.maintenance.facts import Planned
    from opsctl.core.call import Call

_AHEAD_S = 35 * 86400
"""A monthly window comes within that."""


def maintenance_now(call: Call) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """Return how maintenance stands: findings for a person, and the same for machines."""
    now = time.time()
    findings, data = _windows(call, now)
    return (*findings, *_freeze(call, now, data), *_reviews(call, now, data)), data


def _windows(call: Call, now: float) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """Name the window that holds now, else the next, on record or of the settings."""
    from opsctl.areas.healthcheck.windows import between
    from opsctl.areas.maintenance.facts import all_windows

    windows = between(call, now, now + _AHEAD_S)
    known = all_windows(call)
    running = next((each for each in known if each.state == "started"), None)
    planned = next((each for each in known if each.state == "planned" and each.ends_at > now), None)
    spans = {
        "now": next(((e.begins_at, e.ends_at, e.reason) for e in windows if e.holds(now)), None),
        "next": min(
            [(e.begins_at, e.ends_at, e.reason) for e in windows if e.begins_at > now]
            + ([(planned.begins_at, planned.ends_at, planned.reason)] if planned else []),
            default=None,
        ),
    }
    data: dict[str, Any] = {
        name: {"begins_at": span[0], "ends_at": span[1], "reason": span[2]} if span else None
        for name, span in spans.items()
    }
    holding, coming = spans["now"], spans["next"]
    if running is not None and now >= running.ends_at:
        title = f"Maintenance {running.id} was to end at {format_moment(running.ends_at)}"
        return (
            Finding("maintenance", title, Status.FAILED, Severity.WARNING,
                    evidence="what happens now counts, and alerts",
                    hint=f"opsctl maintenance finish --env {call.name}"),
        ), data  # fmt: skip
    if holding is not None:
        title = f"Maintenance now, until {format_moment(holding[1])}: {holding[2]}"
    elif coming is not None:
        title = f"Maintenance next: {format_moment(coming[0])}, {coming[2]}"
    else:
        title = "Maintenance: none ahead"
    return (Finding("maintenance", title, Status.OK), *_untold(call, planned, now)), data


def _untold(call: Call, planned: Planned | None, now: float) -> tuple[Finding, ...]:
    """Warn of a window on record of which nobody was told in time."""
    notice_s = call.environment.maintenance.notice_h * 3600
    if planned is None or planned.told or planned.begins_at - now > notice_s:
        return ()
    return (
        Finding(
            "maintenance-notice",
            f"Nobody was told of the maintenance {planned.id}",
            Status.FAILED,
            Severity.WARNING,
            evidence=f"it begins at {format_moment(planned.begins_at)}",
            hint=f"opsctl maintenance announce {planned.id} --env {call.name}",
        ),
    )


def _freeze(call: Call, now: float, data: dict[str, Any]) -> tuple[Finding, ...]:
    """Name the freeze that holds, else the next; `data` is told, too."""
    from opsctl.core.freezes import freezes_between, frozen

    rules = call.environment.freezes
    if not rules:
        return ()
    held = frozen(rules, now)
    coming = next(
        (each for each in freezes_between(rules, now, now + _AHEAD_S) if each.begins_at > now), None
    )
    data["frozen"] = held.to_json() if held else None
    data["next_freeze"] = coming.to_json() if coming else None
    if held is not None:
        title = f"Frozen until {format_moment(held.ends_at)}: {held.name}"
        return (
            Finding(
                "freeze",
                title,
                Status.FAILED,
                Severity.WARNING,
                evidence="changes are refused",
                hint="a change that cannot wait: --override-freeze REASON",
            ),
        )
    if coming is None:
        return ()
    title = f"Freeze next: {format_moment(coming.begins_at)}, {coming.name}"
    return (Finding("freeze", title, Status.OK),)


def _reviews(call: Call, now: float, data: dict[str, Any]) -> tuple[Finding, ...]:
    """Warn of reviews that were done once and are overdue; who keeps none is not nagged."""
    from opsctl.areas.maintenance.checks import due_at, last_of, reviews_done
    from opsctl.areas.maintenance.facts import events_of

    last = last_of(reviews_done(events_of(call)))
    overdue = [
        each.name
        for each in call.environment.maintenance.reviews
        if (due := due_at(each, last.get(each.name))) is not None and due <= now
    ]
    data["overdue_reviews"] = overdue
    if not overdue:
        return ()
    return (
        Finding(
            "reviews",
            f"Reviews overdue: {', '.join(overdue)}",
            Status.FAILED,
            Severity.WARNING,
            hint=f"opsctl maintenance review list --env {call.name}",
        ),
    )
