"""How windows are shown: one that was planned, all of them, and as a calendar file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.areas.maintenance.facts import Planned, all_windows
from opsctl.areas.maintenance.icalendar import calendar
from opsctl.areas.maintenance.plan import is_span, next_monthly
from opsctl.areas.maintenance.tasks import TASKS, left_of
from opsctl.core.errors import Exit, OpsError
from opsctl.core.freezes import freezes_between
from opsctl.core.report import Finding, Report, Severity, Status, Table
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call

_SHOWN = 20


def list_windows(call: Call, *, calendar_file: Path | None) -> Report:
    """List the windows on record, the latest first, and the next one of the settings."""
    refuse_calendar(calendar_file)
    now = time.time()
    known = all_windows(call)
    rules = call.environment.maintenance
    coming = next_monthly(call.environment.maintenance_windows, known, now=now,
                          notice_h=rules.notice_h)  # fmt: skip
    notes = [*write_calendar(call, calendar_file)]
    unplanned = coming is not None and not any(
        each.state == "planned" and is_span(each, coming) for each in known
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
            "windows": [data_of(each) for each in known],
            "next_by_settings": {"begins_at": coming.begins_at, "ends_at": coming.ends_at}
            if coming is not None
            else None,
        },
    )


def planned_report(call: Call, window: Planned, calendar_file: Path | None, *, said: str) -> Report:
    """Return what is said of a window that was put on record, and what to do next."""
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
        tables=(task_table(window),),
        notes=(*notes, *write_calendar(call, calendar_file)),
        data={"window": data_of(window)},
    )


def judge_notice(call: Call, window: Planned, *, began: float) -> tuple[Finding, ...]:
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


def task_table(window: Planned) -> Table:
    """Return what is done in a window, and what was."""
    rows = tuple(
        (task.name, task.title, "done" if task.name in window.tasks else "", task.help)
        for task in TASKS
    )
    return Table("What is done in it", ("task", "what", "", "with"), rows)


def refuse_calendar(path: Path | None) -> None:
    """Raise OpsError `calendar-unwritable` for a file that cannot be written, before anything is.

    A disk that fills up meanwhile is found out by writing.
    """
    if path is None:
        return
    folder = path.absolute().parent
    why = ""
    if not folder.is_dir():
        why = f"there is no directory {folder}"
    elif path.is_dir():
        why = "it is a directory"
    elif not os.access(folder, os.W_OK):
        why = f"{folder} may not be written to"
    if why:
        raise OpsError(
            f"The calendar {path} could not be written, and nothing was kept",
            why=why,
            hint="--calendar FILE.ics, in a directory that is there",
            code="calendar-unwritable",
        )


def write_calendar(call: Call, path: Path | None) -> tuple[str, ...]:
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


def data_of(window: Planned) -> dict[str, Any]:
    """Return a window for machines."""
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
