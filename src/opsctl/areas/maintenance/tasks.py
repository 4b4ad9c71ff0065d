"""The tasks of a window: the runbook's 'Maintenance Tasks', and who did which."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.areas.maintenance.facts import Planned, all_windows, chosen, new_event, store_of
from opsctl.core.errors import OpsError
from opsctl.core.report import Report, Table
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call


@dataclass(frozen=True)
class Task:
    """One thing that is done in every window."""

    name: str
    title: str
    """In the runbook's words."""
    help: str
    """The command that helps with it."""


TASKS = (
    Task("dependencies", "Update dependencies", "opsctl maintenance dependencies"),
    Task("security-patches", "Review security patches", "opsctl maintenance dependencies"),
    Task("database", "Optimize database", "opsctl diagnose db --fix"),
    Task("old-data", "Clean up old data", "opsctl maintenance clean"),
    Task("logs", "Review logs", "vercel logs, supabase logs"),
    Task("documentation", "Update documentation", "opsctl runbook lint"),
)
"""The runbook's 'Maintenance Tasks', in its order."""


def left_of(window: Planned) -> list[str]:
    """Return the names of the tasks that nobody did in a window."""
    return [task.name for task in TASKS if task.name not in window.tasks]


def list_tasks(call: Call, id: str | None) -> Report:
    """Show which tasks of a window are done, by whom and when."""
    window = chosen(all_windows(call), id, now=time.time())
    rows = tuple((task.name, task.title, *_done(window, task), task.help) for task in TASKS)
    return Report(
        command="maintenance task list",
        title=f"Tasks of {window.id}, which is {window.state}",
        environment=call.name,
        tables=(Table("", ("task", "what", "done", "by", "note", "with"), rows),),
        notes=("A task is done: opsctl maintenance task done NAME --note TEXT",),
        data={
            "window": window.id,
            "tasks": [
                {
                    "name": task.name,
                    "title": task.title,
                    "done_at": window.tasks[task.name].at if task.name in window.tasks else None,
                    "by": window.tasks[task.name].by if task.name in window.tasks else None,
                    "note": window.tasks[task.name].note if task.name in window.tasks else None,
                }
                for task in TASKS
            ],
        },
    )


def finish_task(call: Call, name: str, id: str | None, *, note: str) -> Report:
    """Keep who did a task, and when; said again, the later word counts."""
    if name not in {task.name for task in TASKS}:
        raise OpsError(
            f"There is no task {name!r}",
            why=f"the tasks are {', '.join(task.name for task in TASKS)}",
            hint="opsctl maintenance task list",
            code="no-such-task",
        )
    window = chosen(all_windows(call), id, now=time.time())
    if window.state == "cancelled":
        raise OpsError(
            f"The task {name} was not kept",
            why=f"{window.id} is cancelled",
            hint="opsctl maintenance list",
            code="is-cancelled",
        )
    store_of(call).add(new_event(call, window.id, "task", {"task": name, "note": note}))
    left = left_of(chosen(all_windows(call), window.id, now=time.time()))
    return Report(
        command="maintenance task done",
        title=f"{name} of {window.id} is done",
        environment=call.name,
        notes=(f"Left: {', '.join(left)}" if left else "All tasks are done.",),
        data={"window": window.id, "task": name, "left": left},
    )


def _done(window: Planned, task: Task) -> tuple[str, str, str]:
    done = window.tasks.get(task.name)
    return (format_moment(done.at), done.by, done.note) if done else ("", "", "")
