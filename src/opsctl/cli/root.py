"""Assemble the rooms, run one command, and turn what it says into an exit code.

Every error is caught here and nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
import time
from typing import Any

from opsctl.cli.rooms import ROOMS, Room, root_help
from opsctl.cli.screen import give_up_on_stdout
from opsctl.core.errors import Exit, OpsError


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code; nothing escapes but that."""
    began = time.time()
    code = _answer(argv)
    _note_for_a_drill(argv, began=began, code=code)
    return code


def _answer(argv: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot say a sign gets its number, not an error.
            stream.reconfigure(errors="backslashreplace")
    try:
        if not argv or argv in (["--help"], ["-h"]):
            sys.stdout.write(root_help())
            sys.stdout.flush()
            return Exit.OK if argv else Exit.USAGE
        _say_what_is_overdue(argv)
        return _run_command(argv)
    except OpsError as error:
        return _report_error(error, argv)
    except KeyboardInterrupt:
        interrupted = OpsError(
            "The command was interrupted",
            why="Ctrl-C was pressed",
            hint="nothing was changed; run it again when you are ready",
            code="interrupted",
            exit=Exit.INTERRUPTED,
        )
        return _report_error(interrupted, argv)
    except OSError as error:
        if _is_about_stdout(error):
            return give_up_on_stdout()
        return _report_error(_unexpected(error), argv)
    except Exception as error:  # noqa: BLE001 - the last net: a person never sees a traceback
        return _report_error(_unexpected(error), argv)


def load_room(room: Room, *, called: str | None = None) -> Any:
    """Import a room and return its Typer app, its commands given the shared options.

    `called` is the command that will be run, if that is known: only it gets them then.
    """
    from opsctl.cli.session import execute
    from opsctl.cli.shared import adopt

    app = importlib.import_module(room.module).app
    adopt(app, room=room.name, body=execute, called=called)
    return app


def command_tree() -> Any:
    """Return the root command; each room in it is a stub until it is called."""
    import typer
    from typer.core import TyperGroup

    class Lazy(TyperGroup):
        """The root group: it swaps a room's stub for the room when it is called."""

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, command, rest = super().resolve_command(ctx, args)
            room = next((room for room in ROOMS if room.name == name), None)
            if room is not None and command is self.commands[room.name]:
                # The next word is the command, unless an option comes first.
                optional = not rest or rest[0].startswith("-")
                own = room.alone and (not rest or rest[0] not in room.others)
                if own or (room.default and optional and "--help" not in rest):
                    rest = [room.default, *rest]
                called = rest[0] if rest else ""
                command = typer.main.get_group(load_room(room, called=called))
                command.name = room.name
                command.help = room.help
                self.commands[room.name] = command
                if own:
                    # Its help is that of the command itself.
                    return name, command.commands[room.default], rest[1:]
            return name, command, rest

    root = typer.Typer(
        cls=Lazy, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    for room in ROOMS:
        root.command(room.name, help=room.help)(_stub)
    root.callback(help="Carry out and check runbooks.")(_stub)
    return typer.main.get_group(root)


def _stub() -> None:
    """Stand where a room will be."""


def _note_for_a_drill(argv: list[str], *, began: float, code: int) -> None:
    """Have a drill that is on know what was typed; one that cannot be told misses a line."""
    if not argv or "--help" in argv:
        return
    from opsctl.core.drill_notes import note

    with contextlib.suppress(OSError):
        note(os.getcwd(), argv, began=began, ended=time.time(), code=code)  # noqa: PTH109


def _say_what_is_overdue(argv: list[str]) -> None:
    """Say on stderr what incidents wait for; a plan's own commands are quiet."""
    if "--quiet" in argv or "-q" in argv:
        return
    from opsctl.core.start_banner import overdue

    try:
        lines = overdue(os.getcwd())  # noqa: PTH109 - pathlib costs what it would save
    except OSError:
        return  # a directory that is gone
    if lines:
        from opsctl.cli.screen import say

        for line in lines:
            say(line)


def _run_command(argv: list[str]) -> int:
    if argv[0] == "healthcheck":
        from opsctl.cli.quick import attempt

        code = attempt(argv)
        if code is not None:
            return code
    if argv[0] == "incident":
        from opsctl.cli.quick_incident import attempt as attempt_step

        code = attempt_step(argv)
        if code is not None:
            return code
    if argv[0] == "bundle-check":
        from opsctl.cli.quick_bundle import attempt as attempt_bundle

        code = attempt_bundle(argv)
        if code is not None:
            return code
    if argv[0] == "secrets-scan":
        from opsctl.cli.quick_secrets import attempt as attempt_scan

        code = attempt_scan(argv)
        if code is not None:
            return code
    if argv[0] == "status":
        from opsctl.cli.quick_status import attempt as attempt_status

        code = attempt_status(argv)
        if code is not None:
            return code
    from typer._click.exceptions import NoArgsIsHelpError, UsageError
    from typer.exceptions import Abort
    from typer.exceptions import Exit as TyperExit

    try:
        result = command_tree().main(args=argv, prog_name="opsctl", standalone_mode=False)
    except NoArgsIsHelpError as error:
        sys.stderr.write(error.ctx.get_help() + "\n" if error.ctx else "")
        return Exit.USAGE
    except UsageError as error:
        path = error.ctx.command_path if error.ctx else "opsctl"
        raise OpsError(
            "The command line was not understood",
            why=error.format_message(),
            hint=f"{path} --help",
            code="usage",
        ) from None
    except TyperExit as error:
        return int(error.exit_code)
    except Abort:
        raise KeyboardInterrupt from None
    except SystemExit as stopped:
        # Typer ends so when its help meets a closed pipe, with the exit code 1.
        raise BrokenPipeError from stopped
    return int(result or 0)


def _report_error(error: OpsError, argv: list[str]) -> int:
    """Show an error in the format asked for, also when the command never began."""
    from opsctl.cli.screen import colored, linked, say_plainly, width_of
    from opsctl.render import FORMATS, MONITORING_FORMATS, SPOKEN
    from opsctl.render.report import exit_code, render_error

    if "--verbose" in argv:
        say_plainly(_frames())
    format_ = _asked_format(argv)
    if format_ not in FORMATS + MONITORING_FORMATS:
        format_ = FORMATS[0]
    shown = SPOKEN if "--plain" in argv and format_ == FORMATS[0] else format_
    command = " ".join(_words(argv))
    try:
        text = render_error(
            error,
            shown,
            command=command,
            color=colored(sys.stderr),
            links=linked(sys.stderr),
            # Whoever reads a pipe wants each part on a line of its own: a plan's step quotes them.
            width=width_of(sys.stderr) if sys.stderr.isatty() else _UNWRAPPED,
        )
        if format_ != FORMATS[0]:
            sys.stdout.write(text if text.endswith("\n") else text + "\n")
            sys.stdout.flush()
        else:
            say_plainly(text.rstrip("\n"))
        _write_error_also(error, argv, command=command)
    except OSError:
        give_up_on_stdout()
    return exit_code(error, format_)


def _write_error_also(error: OpsError, argv: list[str], *, command: str) -> None:
    """Write an error to each `--also`; one that cannot be written is said on stderr."""
    from opsctl.cli.also import also_in, write_also
    from opsctl.cli.screen import say_plainly
    from opsctl.render import FORMATS
    from opsctl.render.report import render_error

    wanted = also_in(argv, formats=FORMATS)
    try:
        write_also(wanted, lambda format_: render_error(error, format_, command=command))
    except OpsError as failed:
        say_plainly(f"{failed.what}: {failed.why}")


_UNWRAPPED = 10_000


def _frames() -> str:
    """Return where the current exception came from, without its message: it may quote a secret."""
    import traceback

    kind, _, trace = sys.exc_info()
    return "".join(traceback.format_tb(trace)) + (kind.__name__ if kind else "")


def _asked_format(argv: list[str]) -> str:
    for index, word in enumerate(argv):
        if word.startswith("--format="):
            return word.partition("=")[2]
        if word == "--format" and index + 1 < len(argv):
            return argv[index + 1]
    return os.environ.get("OPSCTL_FORMAT", "text")


def _words(argv: list[str]) -> list[str]:
    words: list[str] = []
    for word in argv[:3]:
        if not word.replace("-", "").isalnum() or word.startswith("-") or not word.isascii():
            break
        words.append(word)
    return words


def _unexpected(error: Exception) -> OpsError:
    # The message of an unknown exception may quote a secret; its type and place may not.
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = ""
    if frame is not None:
        name = frame.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
        place = f" at {name}:{frame.tb_lineno}"
    return OpsError(
        "opsctl met something it did not expect",
        why=f"{type(error).__name__}{place}",
        hint="run it again with --verbose and report what it prints; opsctl runs list shows "
        "whether a run was under way",
        code="unexpected",
        exit=Exit.UNKNOWN,
    )


def _is_about_stdout(error: OSError) -> bool:
    """Whether `error` came of writing to stdout; unbuffered, nothing is left to flush and fail."""
    if error.errno in (errno.EPIPE, errno.ENOSPC) and error.filename is None:
        return True
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        return True
    return isinstance(error, BrokenPipeError)
