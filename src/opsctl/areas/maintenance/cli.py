"""`opsctl maintenance`: windows, what is done in them, and what is due again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
task_app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List the tasks of a window, and say which are done.",
)
app.add_typer(task_app, name="task")
review_app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List the reviews that are due, and say which were done.",
)
app.add_typer(review_app, name="review")

Which = Annotated[
    str | None,
    typer.Argument(metavar="[WINDOW]", help="Its id; else the one under way or the next one."),
]
Of = Annotated[
    str | None,
    typer.Option("--window", metavar="WINDOW", help="Its id; else the one under way or the next."),
]
Calendar = Annotated[
    Path | None,
    typer.Option("--calendar", metavar="FILE.ics", help="Write all windows as a calendar file."),
]
Length = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="How long it is to last: 3h.")
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="What is to be remembered.")]


@app.command()
def plan(
    call: Call,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="When it begins, YYYY-MM-DDTHH:MM in UTC or with an offset; "
            "else when the settings say.",
        ),
    ] = None,
    for_: Length = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="What it is for, for everybody.")
    ] = "",
    move: Annotated[
        str | None, typer.Option("--move", metavar="WINDOW", help="Move this one instead.")
    ] = None,
    short_notice: Annotated[
        str,
        typer.Option(
            "--short-notice", metavar="REASON", help="Why it is announced later than promised."
        ),
    ] = "",
    calendar: Calendar = None,
) -> Report:
    """Put the next window on record, and show what will be done in it.

    Without --at it is the next one of the settings that can still be announced in time. Exit 5:
    there is less notice than promised.
    """
    from opsctl.areas.maintenance.windows import plan as plan_

    return plan_(
        call,
        at=at,
        for_=for_,
        reason=reason.strip(),
        move=move,
        short_notice=short_notice.strip(),
        calendar_file=calendar,
    )


@app.command()
def cancel(
    call: Call,
    window: Which = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why it is not done.")
    ] = "",
    calendar: Calendar = None,
) -> Report:
    """Take a window back that has not begun."""
    from opsctl.areas.maintenance.windows import cancel as cancel_

    return cancel_(call, window, reason=reason.strip(), calendar_file=calendar)


@app.command()
def start(
    call: Call,
    window: Which = None,
    unplanned: Annotated[
        str,
        typer.Option("--unplanned", metavar="REASON", help="Begin one now that was not planned."),
    ] = "",
    for_: Length = None,
) -> Report:
    """Begin a window: what happens in it is no downtime, and alerts nobody."""
    from opsctl.areas.maintenance.windows import start as start_

    return start_(call, window, unplanned=unplanned.strip(), for_=for_)


@app.command()
def finish(call: Call, window: Which = None, note: Note = "") -> Report:
    """End the window that is under way; what it really took is left out of reports."""
    from opsctl.areas.maintenance.windows import finish as finish_

    return finish_(call, window, note=note.strip())


@app.command()
def announce(
    call: Call,
    window: Which = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHANNEL", help="slack, email, url-1; may be repeated."),
    ] = None,
) -> Plan:
    """Tell the channels of the settings how a window stands; shown before it is sent.

    Again after it was moved, begun, ended or cancelled: each channel is told once of each.
    """
    from opsctl.areas.maintenance.announce import announce as announce_

    return announce_(call, window, only=only or ())


@app.command("list")
def list_(call: Call, calendar: Calendar = None) -> Report:
    """List the windows: planned, moved, under way, over; who was told, and what was done."""
    from opsctl.areas.maintenance.show import list_windows

    return list_windows(call, calendar_file=calendar)


@app.command()
def dependencies(call: Call) -> Report:
    """Ask npm or pnpm what is behind, and which advisories concern what production gets.

    Exit 1: one of them is high or critical. Exit 3: it could not be found out.
    """
    from opsctl.areas.maintenance.dependencies import look

    return look(call)


@app.command()
def clean(
    call: Call,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="RULE", help="This rule alone; may be repeated."),
    ] = None,
    backup: Annotated[
        str | None,
        typer.Option("--backup", metavar="BACKUP", help="The verified backup that has the rows."),
    ] = None,
) -> Plan:
    """Delete old rows by the rules of the settings: counted first, in batches after.

    Each batch is a transaction of its own, and leaves alone what somebody holds. What stopped is
    resumed: opsctl runs resume.
    """
    from opsctl.areas.maintenance.clean import clean as clean_

    return clean_(call, only=only or (), backup=backup)


@task_app.command("list")
def list_tasks(call: Call, window: Of = None) -> Report:
    """List the tasks of a window: who did which, when, and what helps with it."""
    from opsctl.areas.maintenance.tasks import list_tasks as list_tasks_

    return list_tasks_(call, window)


@task_app.command()
def done(
    call: Call,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Its name, from task list.")],
    window: Of = None,
    note: Note = "",
) -> Report:
    """Keep that a task is done, by whom and when."""
    from opsctl.areas.maintenance.tasks import finish_task

    return finish_task(call, task, window, note=note.strip())


@review_app.command("list")
def list_reviews(call: Call) -> Report:
    """Say which reviews are due, when each was done last, and what shows it.

    Exit 1: one is overdue, or was never done.
    """
    from opsctl.areas.maintenance.reviews import list_reviews as list_reviews_

    return list_reviews_(call)


@review_app.command("done")
def review_done(
    call: Call,
    review: Annotated[str, typer.Argument(metavar="REVIEW", help="Its name, from review list.")],
    evidence: Annotated[
        list[str],
        typer.Option(
            "--evidence",
            metavar="WHAT",
            help="What shows it: a file, whose hash is kept; a link; a run. May be repeated.",
        ),
    ],
    note: Note = "",
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="When it was done: 3d ago is 3d.")
    ] = "now",
) -> Report:
    """Keep that a review was done, by whom, when, and what shows it."""
    from opsctl.areas.maintenance.reviews import finish_review

    return finish_review(call, review, evidence=evidence, note=note.strip(), at=at)


Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="slack, email, url-1.")]
Named = Annotated[str, typer.Option("--window", metavar="WINDOW", help="Which window.")]
MessageKey = Annotated[str, typer.Option("--message", metavar="KEY", help="Which of its messages.")]


@app.command(hidden=True)
def tell(call: Call, channel: Channel, window: Named, message: MessageKey) -> Report:
    """Tell one channel, as the plans of this room do."""
    from opsctl.areas.maintenance.announce import tell as tell_

    return tell_(call, channel, window=window, key=message)


@app.command(hidden=True)
def told(call: Call, channel: Channel, window: Named, message: MessageKey) -> Report:
    """Look whether a channel was told, as the plans of this room do."""
    from opsctl.areas.maintenance.announce import told as told_

    return told_(call, channel, window=window, key=message)
