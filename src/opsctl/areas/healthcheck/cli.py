"""`opsctl healthcheck`: is the environment well?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.areas.healthcheck.window_cli import window_app

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
app.add_typer(window_app, name="window")

Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME", help="A check's name; may be given again."),
]
Record = Annotated[
    bool, typer.Option("--record/--no-record", help="Keep what was seen in the history.")
]


@app.command()
def run(
    call: Call,
    only: Only = None,
    retries: Annotated[
        int,
        typer.Option("--retries", min=0, max=5, help="Ask a failed endpoint again so often."),
    ] = 0,
    record: Record = True,
) -> Report:
    """Check every endpoint, the database and the platforms of an environment, all at once.

    Exit 0 well, 1 ill, 3 could not tell.
    """
    from opsctl.areas.healthcheck.work import run_once

    return run_once(call, only=tuple(only or ()), retries=retries, record=record)


@app.command()
def watch(
    call: Call,
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="DURATION", help="How often: 30s, 5m; else as set."),
    ] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="How long: 1h; else for ever.")
    ] = None,
    only: Only = None,
    record: Record = True,
    notify: Annotated[
        bool, typer.Option("--notify/--no-notify", help="Tell the channels of the settings.")
    ] = True,
) -> Report:
    """Check again and again on a schedule, keep the history, and alert.

    Exit 0 well, 1 a check is ill at the end or an alert began, 3 could not tell; stopped by
    Ctrl-C 130, by SIGTERM 143.
    """
    from opsctl.areas.healthcheck.watch import Wanted
    from opsctl.areas.healthcheck.watch import watch as go
    from opsctl.core.times import parse_duration

    wanted = Wanted(
        every_s=parse_duration(every, "--every") if every else call.environment.history.every_s,
        for_s=parse_duration(for_, "--for") if for_ else None,
        only=tuple(only or ()),
        record=record,
        notify=notify,
    )
    return go(call, wanted)


@app.command()
def install(
    call: Call,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="A service that watches and alerts.")
    ] = False,
    cron: Annotated[bool, typer.Option("--cron", help="A line for a crontab.")] = False,
    github_actions: Annotated[
        bool, typer.Option("--github-actions", help="A workflow of the repository.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="DURATION", help="How often: 5m; else as set."),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIRECTORY", help="Write it there; else it is printed."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a file that holds something else.")
    ] = False,
) -> Report:
    """Write the schedule that looks at the health: for systemd, cron or GitHub Actions."""
    from opsctl.areas.healthcheck.install import chosen
    from opsctl.areas.healthcheck.install import install as go
    from opsctl.core.times import parse_duration

    kind = chosen({"systemd": systemd, "cron": cron, "github-actions": github_actions})
    every_s = parse_duration(every, "--every") if every else call.environment.history.every_s
    return go(call, kind, every_s=every_s, into=into, replace=replace)


@app.command()
def report(
    call: Call,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="How far back: 24h, 30d, 52w.")
    ] = "30d",
    only: Only = None,
) -> Report:
    """Report uptime, percentiles, errors and error budgets from the history.

    Exit 0 objectives met, 1 one was missed, 3 not enough data to tell. Also as a page
    (--format html) and as metrics (--format openmetrics).
    """
    from opsctl.areas.healthcheck.report import report

    return report(call, since=since, only=tuple(only or ()))
