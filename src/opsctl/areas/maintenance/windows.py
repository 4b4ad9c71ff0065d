"""Plan, begin, end and cancel windows. Each is kept at once: nothing is changed by it."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.adapters.maintenance_windows import Window, WindowStore
from opsctl.areas.maintenance.facts import (
    Planned,
    actor,
    all_windows,
    chosen,
    new_event,
    store_of,
)
from opsctl.areas.maintenance.plan import (
    Span,
    is_span,
    new_id,
    next_monthly,
    refuse_span,
    refuse_start,
    unplanned_span,
)
from opsctl.areas.maintenance.show import (
    data_of,
    judge_notice,
    planned_report,
    refuse_calendar,
    task_table,
    write_calendar,
)
from opsctl.areas.maintenance.tasks import left_of
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Report, Severity, Status
from opsctl.core.times import format_moment, parse_duration, parse_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call


def plan(
    call: Call, *, at: str | None, for_: str | None, reason: str, move: str | None,
    short_notice: str, calendar_file: Path | None,
) -> Report:  # fmt: skip
    """Put a window on record: the next one of the settings, one at a time given, or one moved."""
    refuse_calendar(calendar_file)
    now = time.time()
    known = all_windows(call)
    rules = call.environment.maintenance
    before = None if move is None else _movable(known, move, now)
    span = _span(call, known, before, at=at, for_=for_, reason=reason, now=now)
    same = next((each for each in known if each.state == "planned" and is_span(each, span)), None)
    if same is not None:
        return planned_report(call, same, calendar_file, said="is planned already")
    refuse_span(
        span, rules, known, now=now, short_notice=short_notice, but=before.id if before else ""
    )
    data = {"begins_at": span.begins_at, "ends_at": span.ends_at, "reason": span.reason,
            "short_notice": short_notice}  # fmt: skip
    if before is not None:
        id = before.id
        store_of(call).add(new_event(call, id, "moved", data))
    else:
        id = new_id(span, known)
        data["uid"] = f"{uuid.uuid4()}@opsctl"
        store_of(call).add(new_event(call, id, "planned", data))
    window = chosen(all_windows(call), id, now=now)
    said = "is planned" if before is None else "was moved"
    return planned_report(call, window, calendar_file, said=said)


def cancel(call: Call, id: str | None, *, reason: str, calendar_file: Path | None) -> Report:
    """Take a window back that has not begun; calendars are told that it is cancelled."""
    refuse_calendar(calendar_file)
    now = time.time()
    window = chosen(all_windows(call), id, now=now)
    if window.state != "planned":
        raise _refused(window, "cancelled", f"it is {window.state}", "opsctl maintenance list")
    store_of(call).add(new_event(call, window.id, "cancelled", {"note": reason}))
    notes = [*write_calendar(call, calendar_file)]
    if window.told:
        notes.append(
            f"Those who were told of it: opsctl maintenance announce {window.id} --env {call.name}"
        )
    return Report(
        command="maintenance cancel",
        title=f"The maintenance {window.id} is cancelled",
        environment=call.name,
        notes=tuple(notes),
        data={"window": data_of(chosen(all_windows(call), window.id, now=now))},
    )


def start(call: Call, id: str | None, *, unplanned: str, for_: str | None) -> Report:
    """Begin a window: from now on what happens is no downtime, and nobody is alerted."""
    now = time.time()
    known = all_windows(call)
    if unplanned:
        span = unplanned_span(_hours(call, for_), now=now, reason=unplanned)
        window = Planned(new_id(span, known), "", now, span.ends_at, unplanned, now, actor())
        refuse_start(window, known, now=now)
        data = {"begins_at": now, "ends_at": span.ends_at, "reason": unplanned,
                "short_notice": "it was not planned", "uid": f"{uuid.uuid4()}@opsctl"}  # fmt: skip
        store_of(call).add(new_event(call, window.id, "planned", data))
    else:
        window = chosen(known, id, now=now)
        refuse_start(window, known, now=now)
    # Before the event: begun without its window, what happens in it would count as downtime.
    _keep_window(call, window.id, now, window.ends_at, window.reason)
    store_of(call).add(new_event(call, window.id, "started", {}, at=now))
    return Report(
        command="maintenance start",
        title=f"The maintenance {window.id} has begun, and is to end by "
        f"{format_moment(window.ends_at)}",
        environment=call.name,
        findings=judge_notice(call, window, began=now),
        tables=(task_table(chosen(all_windows(call), window.id, now=now)),),
        notes=(
            "What happens in it counts neither as up nor as down, and alerts nobody.",
            f"Tell them: opsctl maintenance announce {window.id} --env {call.name}",
            f"When all is done: opsctl maintenance finish --env {call.name}",
        ),
        data={"window": data_of(chosen(all_windows(call), window.id, now=now))},
    )


def finish(call: Call, id: str | None, *, note: str) -> Report:
    """End the window that is under way; reports leave out what it really took."""
    now = time.time()
    window = chosen(all_windows(call), id, now=now)
    if window.state != "started" or window.started_at is None:
        raise _refused(window, "ended", f"it is {window.state}", "opsctl maintenance start")
    left = left_of(window)
    _keep_window(call, f"{window.id}-done", window.started_at, now, window.reason)
    WindowStore(call.state).remove(call.name, window.id, at=now, by=actor())
    store_of(call).add(new_event(call, window.id, "finished", {"note": note, "left": left}, at=now))
    late_s = now - window.ends_at
    findings = [Finding("task", f"Not done: {task}", Status.FAILED, Severity.WARNING,
                        hint="the next window has it again") for task in left]  # fmt: skip
    if late_s > 0:
        findings.append(
            Finding("overrun", f"It took {late_s / 60:.0f} min longer than announced",
                    Status.FAILED, Severity.WARNING)
        )  # fmt: skip
    return Report(
        command="maintenance finish",
        title=f"The maintenance {window.id} is over; it took "
        f"{(now - window.started_at) / 3600:.1f} h",
        environment=call.name,
        findings=tuple(findings),
        notes=(
            f"Is it well? opsctl healthcheck run --env {call.name}",
            f"Tell them: opsctl maintenance announce {window.id} --env {call.name}",
        ),
        data={"window": data_of(chosen(all_windows(call), window.id, now=now)), "left": left},
    )


def _movable(known: list[Planned], id: str, now: float) -> Planned:
    window = chosen(known, id, now=now)
    if window.state != "planned":
        raise _refused(window, "moved", f"it is {window.state}", "opsctl maintenance list")
    return window


def _span(
    call: Call, known: list[Planned], before: Planned | None, *, at: str | None,
    for_: str | None, reason: str, now: float,
) -> Span:  # fmt: skip
    if at is not None:
        begins_at = parse_moment(at, "--at", now=now)
        length_s = _hours(call, for_) * 3600
        if before is not None and for_ is None:
            length_s = before.ends_at - before.begins_at
        said = reason or (before.reason if before else "planned maintenance")
        return Span(begins_at, begins_at + length_s, said)
    if before is not None:
        length_s = _hours(call, for_) * 3600 if for_ else before.ends_at - before.begins_at
        return Span(before.begins_at, before.begins_at + length_s, reason or before.reason)
    rules = call.environment.maintenance
    found = next_monthly(
        call.environment.maintenance_windows, known, now=now, notice_h=rules.notice_h
    )
    if found is None:
        raise OpsError(
            "No window was planned",
            why="the settings name no monthly window, and no time was given",
            hint="opsctl maintenance plan --at 2027-01-17T02:00, or set maintenance_windows",
            code="no-window",
        )
    length_s = _hours(call, for_) * 3600 if for_ else found.ends_at - found.begins_at
    return Span(found.begins_at, found.begins_at + length_s, reason or found.reason)


def _hours(call: Call, for_: str | None) -> float:
    return call.environment.maintenance.hours if for_ is None else (
        parse_duration(for_, "--for") / 3600
    )  # fmt: skip


def _keep_window(call: Call, id: str, begin: float, end: float, reason: str) -> None:
    """Keep a window for the reports, unless an attempt that was cut off kept it."""
    store = WindowStore(call.state)
    if not any(each.id == id for each in store.list(call.name)):
        store.add(call.name, Window(begin, end, reason, id, time.time(), actor()))


def _refused(window: Planned, what: str, why: str, hint: str) -> OpsError:
    return OpsError(
        f"The maintenance {window.id} was not {what}",
        why=why,
        hint=hint,
        code=f"is-{window.state}",
        exit=Exit.REFUSED,
    )
