"""`opsctl man`: the manual page, made from the program, so that it says what the program does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

EXITS = (
    ("0", "done, or all well"),
    ("1", "looked, and something is wrong"),
    ("2", "the call or the configuration is wrong"),
    ("3", "could not look or could not start; nothing was changed"),
    ("4", "a change stopped part-way; the record is safe"),
    ("5", "refused by a guard: not confirmed, protected, locked, frozen"),
    ("130, 143", "interrupted, terminated"),
)
FILES = (
    ("opsctl.yaml, config/opsctl.yaml", "the settings; every key: opsctl config schema"),
    (".opsctl/state.db", "journal, history and incidents, unless the settings say otherwise"),
    (".opsctl/backups/", "backups, unless the settings say otherwise"),
)
VARIABLES = (
    ("OPSCTL_ENV", "the environment, as --env"),
    ("OPSCTL_CONFIG", "the settings file, as --config"),
    ("OPSCTL_NO_INPUT", "never ask, as --no-input"),
    ("OPSCTL_A__B", "any other setting: a.b"),
    ("NO_COLOR", "no colours"),
)


@app.command()
def show() -> Report:
    """Print the manual page. Read it: opsctl man | man -l -"""
    from opsctl.core.report import Report

    text = manual_page()
    return Report(command="man show", title="opsctl(1)", text=text, data={"roff": text})


def manual_page() -> str:
    """Return the page of every command in roff, for man and mandoc."""
    return "\n".join(_lines()) + "\n"


def commands_of(group: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (words, command) of every command of a group that is not hidden, in order."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands_of(command, (*names, name))
        else:
            yield (*names, name), command


def paragraphs(text: str) -> list[str]:
    """Return a help text's paragraphs; one that is to stay as it stands begins with a \\b."""
    return [each for each in re.split(r"\n\s*\n", text.strip()) if each.strip()]


def _lines() -> Iterator[str]:
    from opsctl import __version__
    from opsctl.cli.rooms import ROOMS
    from opsctl.cli.root import load_room
    from opsctl.cli.shared import Shared

    shared = set(Shared.__dataclass_fields__)
    yield f'.TH OPSCTL 1 "" "opsctl {_roff(__version__)}" "opsctl"'
    yield ".SH NAME"
    yield "opsctl \\- carry out and check the runbooks of an application on Supabase, Prisma, "
    yield "Vercel and GitHub"
    yield ".SH SYNOPSIS"
    yield ".B opsctl"
    yield ".I COMMAND"
    yield "[ARGUMENT ...] [OPTION ...]"
    yield ".SH COMMANDS"
    options: list[Any] = []
    for room in ROOMS:
        group = typer.main.get_group(load_room(room))
        yield f".SS {_roff(room.name)}"
        yield _roff(room.help)
        for names, command in commands_of(group):
            words = names if not (room.alone and names == (room.default,)) else ()
            options = options or [each for each in command.params if each.name in shared]
            yield from _command((room.name, *words), command, shared)
    yield ".SH OPTIONS"
    yield "Every command takes these."
    for each in options:
        yield from _option(each)
    yield from _table("EXIT STATUS", EXITS)
    yield from _table("ENVIRONMENT", VARIABLES)
    yield from _table("FILES", FILES)


def _command(words: tuple[str, ...], command: Any, shared: set[str]) -> Iterator[str]:
    own = [each for each in command.params if each.name not in shared and not each.hidden]
    arguments = [each for each in own if each.param_type_name == "argument"]
    usage = " ".join(each.metavar or each.name.upper() for each in arguments)
    yield ".PP"
    yield f".B opsctl {_roff(' '.join(words))}"
    if usage:
        yield _roff(usage)
    yield ".RS"
    for index, paragraph in enumerate(paragraphs(command.help or "")):
        if index:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield ".nf"
            yield from (_roff(line) for line in paragraph.splitlines()[1:])
            yield ".fi"
        else:
            yield _roff(" ".join(paragraph.split()))
    for each in own:
        if each.param_type_name == "option":
            yield from _option(each)
    yield ".RE"


def _option(option: Any) -> Iterator[str]:
    names = ", ".join((*option.opts, *option.secondary_opts))
    metavar = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    yield ".TP"
    yield f".B {_roff(names + metavar)}"
    yield _roff(option.help or "")


def _table(title: str, rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield f".SH {title}"
    for name, meaning in rows:
        yield ".TP"
        yield f".B {_roff(name)}"
        yield _roff(meaning)


def _roff(text: str) -> str:
    """Return text that roff shows as it is: no line of it is a request, no sign an escape."""
    shown = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown
