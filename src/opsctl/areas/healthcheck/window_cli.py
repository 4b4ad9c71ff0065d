"""`opsctl healthcheck window`: maintenance that is no downtime, also when marked afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.report import Report

window_app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Mark maintenance, also afterwards: it is no downtime.",
)

_MOMENT = "now, a duration before now such as 2h, or YYYY-MM-DDTHH:MM in UTC or with an offset."


@window_app.command()
def add(
    call: Call,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help=f"When it began: {_MOMENT}")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help=f"When it ended: {_MOMENT}")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Shown in reports.")],
) -> Report:
    """Mark a span as maintenance; it may lie in the past or ahead.

    What happens in it counts neither as up nor as down, and alerts nobody.
    """
    from opsctl.areas.healthcheck import windows

    return windows.add(call, begin=begin, end=end, reason=reason)


@window_app.command("list")
def list_windows(call: Call) -> Report:
    """List the windows, and the monthly ones of the settings."""
    from opsctl.areas.healthcheck import windows

    return windows.show(call)


@window_app.command()
def remove(
    call: Call,
    id: Annotated[str, typer.Argument(metavar="WINDOW", help="Its id, from window list.")],
) -> Report:
    """Remove a window that was added; what happened in it counts again."""
    from opsctl.areas.healthcheck import windows

    return windows.remove(call, id)
