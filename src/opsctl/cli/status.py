"""`opsctl status`: how does an environment stand, on one screen?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli.quick_status import WITHIN_S
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.command()
def show(
    call: Call,
    within: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, max=300, help="Longest that a part may take."),
    ] = WITHIN_S,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="How often, with --watch: 10s, 1m.")
    ] = "10s",
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Watch for so long: 1h.")
    ] = None,
) -> Report:
    """Show health, what is live, migrations, backups, runs, incidents and maintenance.

    All parts are asked at once; one that does not answer in time is marked unknown. Nothing is
    changed and nothing is kept.

    Exit 0 all well, 1 something is wrong, 3 a part could not be looked at.
    """
    if watch:
        return look_again(call, within_s=within, every=every, for_=for_)
    from opsctl.cli.status_look import look

    return look(call, within_s=within)


def look_again(call: Call, *, within_s: float, every: str, for_: str | None) -> Report:
    """Show how everything stands, again and again; return how it stood last.

    Ctrl-C ends it with exit code 130. Raises OpsError `bad-time` (exit 2).
    """
    from contextlib import nullcontext
    from dataclasses import replace

    from opsctl.cli.status_look import look
    from opsctl.core.times import parse_duration

    every_s = parse_duration(every, "--every")
    if every_s < 1:
        raise OpsError(
            f"--every {every} is too often",
            why="each look asks the platforms, and they count requests",
            hint="opsctl status --watch --every 10s",
            code="bad-time",
        )
    until = time.monotonic() + parse_duration(for_, "--for") if for_ is not None else None
    report = None
    with call.screen() if call.screen is not None else nullcontext(None) as screen:
        try:
            while True:
                due = time.monotonic() + every_s
                report = look(call, within_s=min(within_s, every_s))
                if screen is not None:
                    screen(report)
                else:
                    call.say(f"{report.status.value}: {report.title}")
                if until is not None and due > until:
                    return report
                time.sleep(max(due - time.monotonic(), 0.0))
        except KeyboardInterrupt:
            if report is None:
                raise
            return replace(report, given_exit=Exit.INTERRUPTED)
