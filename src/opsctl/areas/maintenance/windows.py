"""Plan, begin, end, cancel and list windows. Each is kept at once: nothing is changed by it."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.adapters.maintenance_windows import Window, WindowStore
from opsctl.areas.maintenance.facts import (
    Planned,
    actor,
    all_windows,
    chosen,
    new_event,
    store_of,
)
from opsctl.areas.maintenance.icalendar import calendar
from opsctl.areas.maintenance.plan import Span, new_id, next_monthly, refuse_span, refuse_start
from opsctl.areas.maintenance.tasks import TASKS, left_of
from opsctl.core.errors import Exit, OpsError
from opsctl.core.freezes import freezes_between
from opsctl.core.report import Finding, Report, Severity, Status, Table
from opsctl.core.times import format_moment, parse_duration, parse_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call

_SHOWN = 20


def plan(
    call: Call, *, at: str | None, for_: str | None, reason: str, move: str | None,
    short_notice: str, calendar_file: Path | None,
) -> Report:  # fmt: skip
    """Put a window on record: the next one of the settings, one at a time given, or one moved."""
    now = time.time()
    known = all_windows(call)
    rules = call.environment.maintenance
    before = None if move is None else _movable(known, move, now)
    span = _span(call, known, before, at=at, for_=for_, reason=reason, now=now)
    same = next((each for each in known if each.state == "planned" and _is(each, span)), None)
    if same is not None:
        return _planned_report(call, same, calendar_file, said="is planned already")
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
    return _planned_report(call, window, calendar_file, said=said)


def cancel(call: Call, id: str | None, *, reason: str, calendar_file: Path | None) -> Report:
    """Take a window back that has not begun; calendars are told that it is cancelled."""
    now = time.time()
    window = chosen(all_windows(call), id, now=now)
    if window.state != "planned":
        raise _refused(window, "cancelled", f"it is {window.state}", "opsctl maintenance list")
    store_of(call).add(new_event(call, window.id, "cancelled", {"note": reason}))
    notes = [*_calendar(call, calendar_file)]
    if window.told:
        notes.append(f"Those who were told of it: opsctl maintenance announce {window.id}")
    return Report(
        command="maintenance cancel",
        title=f"The maintenance {window.id} is cancelled",
        environment=call.name,
        notes=tuple(notes),
        data={"window": _data(chosen(all_windows(call), window.id, now=now))},
    )


def start(call: Call, id: str | None, *, unplanned: str, for_: str | None) -> Report:
    """Begin a window: from now on what happens is no downtime, and nobody is alerted."""
    now = time.time()
    known = all_windows(call)
    if unplanned:
        hours = _hours(call, for_)
        span = Span(now, now + hours * 3600, unplanned)
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
        findings=_notice(call, window, began=now),
        tables=(_task_table(chosen(all_windows(call), window.id, now=now)),),
        notes=(
            "What happens in it counts neither as up nor as down, and alerts nobody.",
            f"Tell them: opsctl maintenance announce {window.id}",
            "When all is done: opsctl maintenance finish",
        ),
        data={"window": _data(chosen(all_windows(call), window.id, now=now))},
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
            f"Tell them: opsctl maintenance announce {window.id}",
        ),
        data={"window": _data(chosen(all_windows(call), window.id, now=now)), "left": left},
    )


def list_windows(call: Call, *, calendar_file: Path | None) -> Report:
    """List the windows on record, the latest first, and the next one of the settings."""
    now = time.time()
    known = all_windows(call)
    rules = call.environment.maintenance
    coming = next_monthly(call.environment.maintenance_windows, known, now=now,
                          notice_h=rules.notice_h)  # fmt: skip
    notes = [*_calendar(call, calendar_file)]
    unplanned = coming is not None and not any(
        each.state == "planned" and _is(each, coming) for each in known
    )
    if coming is not None and unplanned:
        notes.append(
            f"Next by the settings: {format_moment(coming.begins_at)}, {coming.reason}; "
            f"put it on record: opsctl maintenance plan --env {call.name}"
        )
    if not known:
        notes.append("No window is on record.")
    rows = tuple(
        (each.id, format_moment(each.begins_at), f"{each.hours:g} h", _state(each, now),
         _told(each), f"{len(TASKS) - len(left_of(each))}/{len(TASKS)}", each.reason)
        for each in list(reversed(known))[:_SHOWN]
    )  # fmt: skip
    columns = ("id", "begin", "for", "state", "announced", "tasks", "reason")
    return Report(
        command="maintenance list",
        title=f"Maintenance of {call.name}",
        environment=call.name,
        tables=(Table("", columns, rows),) if rows else (),
        notes=tuple(notes),
        data={
            "windows": [_data(each) for each in known],
            "next_by_settings": {"begins_at": coming.begins_at, "ends_at": coming.ends_at}
            if coming is not None
            else None,
        },
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


def _is(window: Planned, span: Span) -> bool:
    return (window.begins_at, window.ends_at, window.reason) == (
        span.begins_at, span.ends_at, span.reason,
    )  # fmt: skip


def _keep_window(call: Call, id: str, begin: float, end: float, reason: str) -> None:
    """Keep a window for the reports, unless an attempt that was cut off kept it."""
    store = WindowStore(call.state)
    if not any(each.id == id for each in store.list(call.name)):
        store.add(call.name, Window(begin, end, reason, id, time.time(), actor()))


def _planned_report(
    call: Call, window: Planned, calendar_file: Path | None, *, said: str
) -> Report:
    held = freezes_between(call.environment.freezes, window.begins_at, window.ends_at)
    findings = tuple(
        Finding("freeze", f"Frozen meanwhile: {each.name}", Status.FAILED, Severity.WARNING,
                evidence=f"from {format_moment(each.begins_at)} to {format_moment(each.ends_at)}",
                hint="choose another time, or give a reason with --override-freeze")
        for each in held
    )  # fmt: skip
    rules = call.environment.maintenance
    notes = [f"Tell them by {format_moment(window.begins_at - rules.notice_h * 3600)}: "
             f"opsctl maintenance announce {window.id} --env {call.name}"]  # fmt: skip
    if window.short_notice:
        notes[0] = (
            f"It is short notice ({window.short_notice}). Tell them now: "
            f"opsctl maintenance announce {window.id} --env {call.name}"
        )
    return Report(
        command="maintenance plan",
        title=f"{window.id} {said}: {format_moment(window.begins_at)} to "
        f"{format_moment(window.ends_at)}, {window.reason}",
        environment=call.name,
        findings=findings,
        tables=(_task_table(window),),
        notes=(*notes, *_calendar(call, calendar_file)),
        data={"window": _data(window)},
    )


def _notice(call: Call, window: Planned, *, began: float) -> tuple[Finding, ...]:
    """Judge how long before somebody was told of it."""
    needed_h = call.environment.maintenance.notice_h
    if not window.told:
        evidence, well = "no channel was told", False
    else:
        hours = (min(window.begins_at, began) - min(window.told.values())) / 3600
        evidence, well = f"it was announced {hours:.1f} h before", hours >= needed_h
    return (
        Finding(
            "notice",
            f"Announced {needed_h:g} h before",
            Status.OK if well else Status.FAILED,
            Severity.WARNING,
            evidence=evidence + (f"; {window.short_notice}" if window.short_notice else ""),
            hint="" if well else f"opsctl maintenance announce {window.id} --env {call.name}",
        ),
    )


def _task_table(window: Planned) -> Table:
    rows = tuple(
        (task.name, task.title, "done" if task.name in window.tasks else "", task.help)
        for task in TASKS
    )
    return Table("What is done in it", ("task", "what", "", "with"), rows)


def _calendar(call: Call, path: Path | None) -> tuple[str, ...]:
    """Write all windows into a calendar file, whole or not at all."""
    if path is None:
        return ()
    text = calendar(all_windows(call), environment=call.name)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(text.encode())
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise OpsError(
            f"The calendar {path} was not written",
            why=f"{error.strerror}; the window itself is on record",
            hint="opsctl maintenance list --calendar FILE",
            code="calendar-unwritable",
            exit=Exit.UNKNOWN,
        ) from None
    return (f"The calendar is {path}: import it, or let calendars subscribe to it.",)


def _state(window: Planned, now: float) -> str:
    if window.state == "planned" and now >= window.ends_at:
        return "missed"
    if window.state == "started" and now >= window.ends_at:
        return "started, overdue"
    return window.state


def _told(window: Planned) -> str:
    return format_moment(min(window.told.values())) if window.told else "no"


def _refused(window: Planned, what: str, why: str, hint: str) -> OpsError:
    return OpsError(
        f"The maintenance {window.id} was not {what}",
        why=why,
        hint=hint,
        code=f"is-{window.state}",
        exit=Exit.REFUSED,
    )


def _data(window: Planned) -> dict[str, Any]:
    return {
        "id": window.id,
        "uid": window.uid,
        "state": window.state,
        "begins_at": window.begins_at,
        "ends_at": window.ends_at,
        "reason": window.reason,
        "sequence": window.sequence,
        "short_notice": window.short_notice or None,
        "planned_by": window.planned_by,
        "started_at": window.started_at,
        "finished_at": window.finished_at,
        "told": [{"channel": channel, "message": key, "at": at}
                 for (channel, key), at in sorted(window.told.items())],
        "tasks": {name: {"at": done.at, "by": done.by, "note": done.note}
                  for name, done in window.tasks.items()},
        "note": window.note,
    }  # fmt: skip
