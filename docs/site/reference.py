"""The reference of the site, made from the program: commands, settings, exit codes, formats."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import error_codes
import typer
from settings_page import schema_of, settings
from shown import listed, prose, table

from opsctl.cli.manual import EXITS, FILES, VARIABLES, commands_of, paragraphs
from opsctl.cli.rooms import ROOMS, Room
from opsctl.cli.root import load_room
from opsctl.cli.shared import Shared
from opsctl.render import FORMATS

SHARED = frozenset(Shared.__dataclass_fields__)
ANCHOR = "#options-of-every-command"


@functools.cache
def pages() -> dict[str, str]:
    """Return the Markdown of every page by its place on the site, in the order of the menu."""
    return {
        "reference/index.md": _overview(),
        **{f"reference/{room.name}.md": _room(room) for room in ROOMS},
        "reference/settings.md": settings(),
        "reference/output.md": _output(),
        "reference/error-codes.md": _error_codes(),
    }


def _overview() -> str:
    rows = [f"| [`opsctl {room.name}`]({room.name}.md) | {prose(room.help)} |" for room in ROOMS]
    first = next(command for _, command in commands_of(_group(ROOMS[0])))
    shared = [each for each in first.params if each.name in SHARED]
    return "\n".join(
        (
            "# Reference",
            "",
            "Made from the program with this site; `opsctl COMMAND --help` says the same.",
            "",
            "## Commands",
            "",
            "| command | what it does |",
            "|---|---|",
            *rows,
            "",
            "## Options of every command",
            "",
            *_options(shared),
            "## Variables",
            "",
            *table(("variable", "what it sets"), VARIABLES),
            "",
            "A variable wins over the settings file, and an option over a variable.",
            "",
            "## Files",
            "",
            *table(("file", "what it holds"), FILES),
            "",
            "The settings have [a page of their own](settings.md), and so have exit codes and "
            "[formats](output.md).",
            "",
        )
    )


def _room(room: Room) -> str:
    lines = [f"# opsctl {room.name}", "", prose(room.help), ""]
    if room.default:
        lines += [f"`opsctl {room.name}` alone means `opsctl {room.name} {room.default}`.", ""]
    for words, command in commands_of(_group(room)):
        lines += _command(room, words, command)
    lines += [f"Every command takes [the shared options](index.md{ANCHOR}), too.", ""]
    return "\n".join(lines)


def _command(room: Room, words: tuple[str, ...], command: Any) -> Iterator[str]:
    name = " ".join(("opsctl", room.name, *_typed(room, words)))
    own = [each for each in command.params if each.name not in SHARED and not each.hidden]
    arguments = [each for each in own if each.param_type_name == "argument"]
    options = [each for each in own if each.param_type_name == "option"]
    usage = " ".join((name, *map(_argument, arguments), "[OPTIONS]"))
    yield from (f"## {name}", "", "```text", usage, "```", "")
    for paragraph in paragraphs(command.help or ""):
        if paragraph.startswith("\b"):
            yield from ("```text", *paragraph.splitlines()[1:], "```", "")
        else:
            yield from (prose(" ".join(paragraph.split())), "")
    for each in arguments:
        yield from (f"`{_argument(each)}`", f":   {prose(each.help or '')}", "")
    yield from _options(options)
    if more := room.formats.get(" ".join(words)):
        yield from (f"Formats beside [the common ones](output.md): {listed(more)}.", "")


def _typed(room: Room, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words that a person types: a default stands for itself where it must."""
    if room.alone and words == (room.default,):
        return ()
    group = _group(room)
    for word in words[:-1]:
        group = group.commands[word]
    return words[:-1] if getattr(group, "otherwise", None) == words[-1] else words


def _options(options: list[Any]) -> Iterator[str]:
    for each in options:
        names = ", ".join((*each.opts, *each.secondary_opts))
        metavar = "" if each.is_flag else f" {each.metavar or each.name.upper()}"
        meaning = prose(" ".join((each.help or "").split()))
        if isinstance(each.default, str | int | float) and not each.is_flag and each.default != "":
            meaning += f" Without it: `{each.default}`."
        yield from (f"`{names}{metavar}`", f":   {meaning}", "")


def _argument(argument: Any) -> str:
    name = argument.metavar or str(argument.name).upper()
    name += "..." if argument.nargs != 1 and not name.endswith("...") else ""
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _output() -> str:
    fields = []
    schema = schema_of("output")
    for name, each in schema["properties"].items():
        what = f"one of {listed(each['enum'])}" if "enum" in each else each.get("type", "")
        what = " or ".join(what) if isinstance(what, list) else what
        fields.append((name, f"{what}{'. ' if what else ''}{each.get('description', '')}"))
    more = [
        f"| `opsctl {room.name} {command}` | {listed(formats)} |"
        for room in ROOMS
        for command, formats in room.formats.items()
    ]
    return "\n".join(
        (
            "# Exit codes and formats",
            "",
            "## Exit codes",
            "",
            *table(("code", "meaning"), EXITS),
            "",
            "After a 4 the message names `opsctl runs resume RUN` and `opsctl runs undo RUN`.",
            "What nobody could look at is 3: never well, and never a failure of the server.",
            "",
            "## Formats",
            "",
            f"`--format` takes {listed(FORMATS)} on every command; `--output FILE` writes the "
            "result there, and `--also FORMAT=FILE` writes it in another format besides.",
            "stdout carries the result and nothing else; plans, progress and questions go to "
            "stderr.",
            "`--plain` makes the text one for screen readers.",
            "",
            "Some commands have more formats:",
            "",
            "| command | formats |",
            "|---|---|",
            *more,
            "",
            "## JSON",
            "",
            f"{schema['title']}; `opsctl config schema --for json` prints the whole schema.",
            "An error raised before the command began has the same shape.",
            "",
            *table(("key", "what stands there"), fields),
            "",
        )
    )


def _error_codes() -> str:
    rows = []
    for name, code in error_codes.codes().items():
        exits = ", ".join(str(int(each)) for each in sorted(code.exits)) or "-"
        says = "<br>".join(prose(each) for each in code.says) or "-"
        rows.append(f"| `{name}` | {exits} | {says} |")
    return "\n".join(
        (
            "# Error codes",
            "",
            "Each error has a code that stays the same, in its last line and as `error.code` of "
            "`--format json`; its words may change.",
            "Read from the source; `…` stands for what is put in, and what lies behind an exit "
            "code is [here](output.md#exit-codes).",
            "",
            "| code | exit | what it says |",
            "|---|---|---|",
            *rows,
            "",
        )
    )


@functools.cache
def _group(room: Room) -> Any:
    return typer.main.get_group(load_room(room))
