"""One call of a command: settings, the room's function, and what becomes of its result."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opsctl.cli.rooms import ROOMS
from opsctl.cli.screen import (
    colored,
    give_up_on_stdout,
    say_plainly,
    width_of,
    write_result,
)
from opsctl.core.errors import OpsError
from opsctl.render import FORMATS

if TYPE_CHECKING:
    from opsctl.cli.shared import Shared
    from opsctl.core.call import Call
    from opsctl.core.report import Report


def execute(
    function: Callable[..., Any], given: Mapping[str, Any], shared: Shared, command: str
) -> int:
    """Run a room's function and return the exit code.

    A Plan is shown, agreed to and carried out; a Report is rendered. A function without a
    parameter `call` reads no settings, so it starts fast and works with a broken file.
    """
    if shared.format not in FORMATS:
        raise OpsError(
            f"The format {shared.format!r} is not one of opsctl {command}",
            why=f"it can print {', '.join(FORMATS)}",
            hint=f"opsctl {command} --format {FORMATS[0]}",
            code="unknown-format",
        )
    _refuse_dry_run_of_acts(shared, command)
    call = None
    if "call" in function.__annotations__:
        call = make_call(shared)
        if function.__annotations__.get("return") == "Plan" and not shared.dry_run:
            from opsctl.cli.change import refuse_if_locked

            refuse_if_locked(call)
        result = function(call, **given)
    else:
        result = function(**given)
    from opsctl.core.report import Report

    if not isinstance(result, Report):
        from opsctl.cli.change import change

        if call is None:
            raise TypeError(f"opsctl {command} returns a plan and takes no call")
        return change(result, call=call, shared=shared)
    return emit(result, shared)


def make_call(shared: Shared) -> Call:
    """Load the settings and return what a room is called with."""
    from pathlib import Path

    from opsctl.core.call import Call
    from opsctl.core.sources import choose_environment, environment_origin, load_settings

    config = str(shared.config) if shared.config is not None else None
    loaded = load_settings(config=config, start=Path.cwd(), environ=os.environ)
    say = (lambda line: None) if shared.quiet else _say
    return Call(
        settings=loaded.settings,
        root=loaded.root,
        environment_name=choose_environment(loaded, shared.env, os.environ),
        say=say,
        origins=loaded.origins,
        environment_origin=environment_origin(loaded, shared.env, os.environ),
    )


def emit(report: Report, shared: Shared) -> int:
    """Render a report to stdout or `--output` and return its exit code."""
    from opsctl.render.report import render_report

    to_terminal = shared.output is None
    text = render_report(
        report,
        shared.format,
        width=width_of(sys.stdout) if to_terminal else 100,
        color=to_terminal and colored(sys.stdout),
    )
    try:
        write_result(text, output=shared.output)
    except OSError:
        # What was found stays found, whether or not somebody reads it.
        code = give_up_on_stdout()
        return int(report.exit) or code
    return int(report.exit)


def _say(line: str) -> None:
    from opsctl.render.safe import safe

    say_plainly(safe(line))


def _refuse_dry_run_of_acts(shared: Shared, command: str) -> None:
    if not shared.dry_run:
        return
    room_name, _, rest = command.partition(" ")
    if any(room.name == room_name and rest in room.acts for room in ROOMS):
        raise OpsError(
            f"opsctl {command} has no dry run",
            why="it acts at once and makes no plan",
            hint=f"opsctl {command} --help",
            code="no-dry-run",
        )
