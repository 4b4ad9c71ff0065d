"""The command lines of opsctl itself: whether one exists exactly so, and what it would do."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from opsctl.cli.rooms import ROOMS, Room
from opsctl.cli.root import load_room
from opsctl.core.errors import OpsError

Does = Literal["looks", "changes", "either", "acts"]
"""changes: it makes a plan. either: a plan or a report. acts: it changes something without a
plan, so nothing but itself knows how far it came."""


@dataclass(frozen=True)
class Own:
    """A command line of opsctl's own, taken apart."""

    command: str
    """`rollback db`."""
    does: Does
    environment: str | None
    """What its --env names."""
    dry_run: bool


def understand(words: Sequence[str]) -> Own:
    """Return what the words after `opsctl` mean; raises OpsError `usage` where they mean nothing.

    The command line is parsed as if it were called, and not called.
    """
    if not words:
        raise _wrong("no command is named", "opsctl --help")
    room = next((room for room in ROOMS if room.name == words[0]), None)
    if room is None:
        raise _wrong(f"there is no command {words[0]!r}", _near(words[0]))
    names, command, rest = _descend(room, list(words[1:]))
    path = " ".join((room.name, *names))
    if hasattr(command, "commands"):
        known = ", ".join(name for name, each in command.commands.items() if not each.hidden)
        said = f"opsctl {path} has no command {rest[0]!r}" if rest else f"opsctl {path} lacks one"
        raise _wrong(f"{said}; it has {known}", f"opsctl {path} --help")
    params = _parse(command, path, rest)
    function = _function(load_room(room), names)
    returns = str(function.__annotations__.get("return", ""))
    return Own(
        command=path,
        does=_does(room, " ".join(names), returns, dry_run=bool(params.get("dry_run"))),
        environment=params.get("env"),
        dry_run=bool(params.get("dry_run")),
    )


def options_of(words: Sequence[str]) -> frozenset[str]:
    """Return the options of the command that words begin with, as far as they name one.

    Raises OpsError `usage` where they name none: for what the prose mentions.
    """
    room = next((room for room in ROOMS if words and room.name == words[0]), None)
    if room is None:
        raise _wrong(f"there is no command {words[0] if words else ''!r}", "opsctl --help")
    names, command, rest = _descend(room, list(words[1:]))
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        path = " ".join((room.name, *names))
        raise _wrong(f"opsctl {path} has no command {rest[0]!r}", f"opsctl {path} --help")
    return frozenset(
        option for each in command.params for option in (*each.opts, *each.secondary_opts)
    ) | {"--help"}


@functools.cache
def _group(room: Room) -> Any:
    import typer

    return typer.main.get_group(load_room(room))


def _descend(room: Room, rest: list[str]) -> tuple[list[str], Any, list[str]]:
    """Return (words of the command, command, what is left), as the front door finds them."""
    command = _group(room)
    own = room.alone and (not rest or rest[0] not in room.others)
    if own or (room.default and (not rest or rest[0].startswith("-")) and "--help" not in rest):
        rest = [room.default, *rest]
    names: list[str] = []
    while hasattr(command, "commands"):
        otherwise = getattr(command, "otherwise", None)
        if rest and rest[0] in command.commands:
            names.append(rest.pop(0))
        elif otherwise is not None and "--help" not in rest[:1]:
            names.append(otherwise)
        else:
            break
        command = command.commands[names[-1]]
    return names, command, rest


def _parse(command: Any, path: str, rest: list[str]) -> dict[str, Any]:
    from typer._click.exceptions import UsageError
    from typer.exceptions import Abort
    from typer.exceptions import Exit as TyperExit

    if "--help" in rest:
        return {"dry_run": True}
    try:
        with command.make_context(f"opsctl {path}", list(rest)) as context:
            return dict(context.params)
    except UsageError as error:
        raise _wrong(error.format_message(), f"opsctl {path} --help") from None
    except (Abort, TyperExit) as error:
        raise _wrong(f"opsctl {path} does not take these options", str(error)) from None


def _function(app: Any, names: list[str]) -> Any:
    for name in names[:-1]:
        app = next(each for each in app.registered_groups if each.name == name).typer_instance
    found = next(each for each in app.registered_commands if each.name == names[-1])
    return found.opsctl_function


def _does(room: Room, rest: str, returns: str, *, dry_run: bool) -> Does:
    if dry_run:
        return "looks"
    if rest in room.acts:
        return "acts"
    kinds = {each.strip() for each in returns.split("|")}
    if kinds <= {"Plan", "Resume"}:
        return "changes"
    return "either" if kinds & {"Plan", "Resume"} else "looks"


def _near(word: str) -> str:
    from opsctl.core.misfits import did_you_mean

    return did_you_mean(word, [room.name for room in ROOMS]) or "opsctl --help"


def _wrong(why: str, hint: str) -> OpsError:
    return OpsError("No such command line exists", why=why, hint=hint, code="usage")
