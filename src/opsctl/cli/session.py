"""One call of a command: settings, the room's function, and what becomes of its result."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opsctl.cli.rooms import ROOMS
from opsctl.cli.screen import (
    ask,
    can_ask,
    colored,
    give_up_on_stdout,
    linked,
    say,
    say_plainly,
    width_of,
    write_result,
)
from opsctl.core.errors import OpsError
from opsctl.render import FORMATS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from opsctl.cli.shared import Shared
    from opsctl.core.call import Call
    from opsctl.core.report import Report
    from opsctl.core.start import Start


_KEEPING = ("healthcheck run", "bundle-check check", "incident record", "incident tell",
            "incident told", "status show")  # fmt: skip
"""Commands that start on kept settings, where there are any."""


def execute(
    function: Callable[..., Any], given: Mapping[str, Any], shared: Shared, command: str
) -> int:
    """Run a room's function and return the exit code.

    A Plan is shown, agreed to and carried out; a Report is rendered. A function without a
    parameter `call` reads no settings, so it starts fast and works with a broken file; one whose
    `call` is a Start reads them when it asks for them.
    """
    formats = formats_of(command)
    if shared.format not in formats:
        raise OpsError(
            f"The format {shared.format!r} is not one of opsctl {command}",
            why=f"it can print {', '.join(formats)}",
            hint=f"opsctl {command} --format {FORMATS[0]}",
            code="unknown-format",
        )
    if shared.also:
        from opsctl.cli.also import parse_also

        parse_also(shared.also, formats=formats)
    _refuse_dry_run_of_acts(shared, command)
    call = None
    if function.__annotations__.get("call") == "Start":
        result = function(make_start(shared), **given)
    elif "call" in function.__annotations__:
        call = make_call(shared)
        if command in _KEEPING:
            from opsctl.cli.kept_settings import keep

            keep(call, config=str(shared.config) if shared.config else None, env=shared.env)
        if function.__annotations__.get("return") == "Plan" and not shared.dry_run:
            from opsctl.cli.change import refuse_if_locked
            from opsctl.cli.freeze import say_if_frozen

            refuse_if_locked(call)
            if command != "runs undo":  # what takes a run back is never frozen
                say_if_frozen(call, shared)
        result = function(call, **given)
    else:
        result = function(**given)
    from opsctl.core.call import RunAgain
    from opsctl.core.report import Report

    if isinstance(result, RunAgain) and call is not None:
        from opsctl.cli.runs import resume, undo

        result = (undo if result.how == "undo" else resume)(call, result.run)
    if not isinstance(result, Report):
        from opsctl.cli.change import change

        if call is None:
            raise TypeError(f"opsctl {command} returns a plan and takes no call")
        return change(result, call=call, shared=shared)
    return emit(result, shared)


def make_start(shared: Shared) -> Start:
    """Return what a command that is to start fast is called with."""
    from pathlib import Path

    from opsctl.core.settings_file import settings_given
    from opsctl.core.start import Start

    config = str(shared.config) if shared.config is not None else None
    given = settings_given(config=config, start=Path.cwd(), environ=os.environ)
    return Start(
        say=(lambda line: None) if shared.quiet else _say,
        configured=given or shared.env is not None,
        load=lambda: make_call(shared),
        agreed=shared.yes,
        dry_run=shared.dry_run,
        no_input=shared.no_input,
    )


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
        screen=_screen if _has_a_screen(shared) else None,
        ask=ask if can_ask(no_input=shared.no_input) else None,
    )


def _has_a_screen(shared: Shared) -> bool:
    """Whether reports can be shown in each other's place: never for a screen reader."""
    quiet = shared.quiet or shared.plain
    return not quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def emit(report: Report, shared: Shared) -> int:
    """Render a report to stdout or `--output`, and to each `--also`; return its exit code."""
    failed = _also(report, shared) if shared.also else None
    code = show(report, shared.shown, output=shared.output)
    if failed is not None:
        if code == 0:
            raise failed
        # What was found counts for more than that it could not be written down, too.
        say_plainly(f"{failed.what}: {failed.why}")
    return code


def _also(report: Report, shared: Shared) -> OpsError | None:
    from opsctl.cli.also import parse_also, write_also
    from opsctl.render.report import render_report

    try:
        wanted = parse_also(shared.also, formats=(*formats_of(report.command), *report.own))
        write_also(wanted, lambda format_: render_report(report, format_, width=_FILE_WIDTH))
    except OpsError as error:
        return error
    return None


_FILE_WIDTH = 100


def show(report: Report, format: str, *, output: Path | None) -> int:
    """Render a report to stdout or a file and return its exit code."""
    code, text = rendered(report, format, to_terminal=output is None)
    return write(text, code=code, output=output)


def rendered(report: Report, format: str, *, to_terminal: bool) -> tuple[int, str]:
    """Return the exit code and the text of a report, as wide and coloured as stdout may be."""
    from opsctl.render.report import exit_code, render_report

    text = render_report(
        report,
        format,
        width=width_of(sys.stdout) if to_terminal else _FILE_WIDTH,
        color=to_terminal and colored(sys.stdout),
        links=to_terminal and linked(sys.stdout),
    )
    return exit_code(report, format), text


def write(text: str, *, code: int, output: Path | None) -> int:
    """Write a result that was rendered and return the exit code, `code` if it could be written."""
    try:
        write_result(text, output=output)
    except OSError:
        # What was found stays found, whether or not somebody reads it.
        return code or give_up_on_stdout()
    return code


def formats_of(command: str) -> tuple[str, ...]:
    """Return the formats that a command can print, the usual ones first."""
    room_name, _, rest = command.partition(" ")
    own = next((room.formats.get(rest, ()) for room in ROOMS if room.name == room_name), ())
    return (*FORMATS, *(each for each in own if each not in FORMATS))


def _screen() -> AbstractContextManager[Callable[[Report], None]]:
    from opsctl.cli.live import screen

    return screen()


def _say(line: str) -> None:
    from opsctl.render.safe import safe

    say(safe(line))


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
