"""What other programs' command lines take, read from their own help.

Each program prints its help in a manner of its own; they agree on this: an option's names begin
its line, and commands stand under a heading that says so.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opsctl.core.errors import OpsError
from opsctl.core.process import run_program

TOOLS = (
    "supabase",
    "prisma",
    "vercel",
    "psql",
    "pg_dump",
    "pg_restore",
    "gh",
    "git",
    "npm",
    "pnpm",
)
"""The programs whose command lines can be checked."""
_KEPT = Path(__file__).parent / "tool_options"
_TIMEOUT_S = 30.0
_LONGEST_LINE = 500
"""What is longer is no line of a help text: they are asked for in 200 columns."""
_QUIETLY = {
    "CHECKPOINT_DISABLE": "1",
    "COLUMNS": "200",
    "DO_NOT_TRACK": "1",
    "GH_NO_UPDATE_NOTIFIER": "1",
    "NO_COLOR": "1",
    "NO_UPDATE_NOTIFIER": "1",
    "PRISMA_HIDE_UPDATE_MESSAGE": "1",
    # Any file does: prisma would download its engines even to print its help.
    "PRISMA_QUERY_ENGINE_LIBRARY": sys.executable,
    "PRISMA_SCHEMA_ENGINE_BINARY": sys.executable,
    "SUPABASE_NO_KEYRING": "1",
    "SUPABASE_NO_UPDATE_NOTIFIER": "1",
    "SUPABASE_TELEMETRY_DISABLED": "1",
    "VERCEL_TELEMETRY_DISABLED": "1",
}
_NAME = r"--?(?:\[no-\])?[A-Za-z0-9?][\w-]*(?:=(?=,))?(?: \(\"\w+\"\))?"
"""psql has `-1 ("one"), --single-transaction` and `-v, --set=, --variable=NAME=VALUE`."""
_OPTIONS = re.compile(rf"\s*({_NAME}(?:\s*[,|]\s*{_NAME})*)(.*)")
_INLINE = re.compile(r"\[(--?[A-Za-z][\w-]*(?:\|--?[A-Za-z][\w-]*)*)( <[^>]*>| [a-z-]+)?")
_COMMANDS = re.compile(r"\s*[A-Za-z /()-]*\b(?:sub)?commands\b[^.]*", re.IGNORECASE)
_COMMAND = re.compile(
    r"\s{2,}([a-z][\w-]*(?:\s*[|,]\s*[a-z][\w-]*)*)(?::?\s*$|:?\s{2,}|:?\s+[\[<]|\s+(?=[A-Z]))"
)
_HEADING = re.compile(
    r"(\S.*|\s+(?:global )?(?:options|flags|examples?|usage)\s*:?\s*)", re.IGNORECASE
)
_TITLE = re.compile(
    r"(?:[A-Z][A-Za-z ]*|\s{1,4}[A-Z][A-Za-z ]*:|\s{4}(?:Options|Flags|Commands|Examples?|Usage))"
    r"\s*:?\s*"
)
_LISTED = re.compile(r"[\s,]+")


@dataclass(frozen=True)
class Help:
    """What one command takes: its options, and the commands below it."""

    options: Mapping[str, bool] = field(default_factory=dict)
    """Name -> whether a value follows, as far as its help says."""
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """The help of a whole program, as it was recorded from one version."""

    tool: str
    version: str
    helps: Mapping[tuple[str, ...], Help]


def kept_help(tool: str) -> Kept | None:
    """Return what is kept of a program's help; None where nothing is."""
    try:
        data = json.loads((_KEPT / f"{tool}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    helps = {
        tuple(words.split()): Help(
            {name: name in each["values"] for name in each["options"]}, tuple(each["commands"])
        )
        for words, each in data["helps"].items()
    }
    return Kept(data["tool"], data["version"], helps)


def ask_help(program: str, tool: str, words: Sequence[str]) -> Help | None:
    """Return what a program's own help says of a command; None where it prints none.

    Raises OpsError where the program cannot be started or does not end.
    """
    if tool in ("git", "npm"):
        argv = (program, *words, "-h") if words else (program, "help", *_ALL.get(tool, ()))
    elif tool == "pnpm" and not words:
        argv = (program, "help", "-a")
    else:
        argv = (program, *words, "--help")
    done = run_program(argv, env=_QUIETLY, timeout_s=_TIMEOUT_S)
    text = f"{done.stdout}\n{done.stderr}"
    if tool == "pnpm" and not words:
        # Its headings are sentences, and what a command does goes on far to the right.
        text = re.sub(r"(?m)^ {9,}.*\n", "", re.sub(r"(?m)^\S.*:$", "Commands:", text))
    found = parse_help(text)
    # git ends its short help with 129, npm with 1 or 0.
    if not found.options and not found.commands:
        return None
    if tool == "git" and not words:
        usage = run_program((program, "--help"), env=_QUIETLY, timeout_s=_TIMEOUT_S)
        return Help(parse_help(usage.stdout).options, found.commands)
    return found


_ALL = {"git": ("-a",)}


def ask_version(program: str, tool: str) -> str | None:
    """Return the version that a program says it has; None where it says none."""
    from opsctl.adapters.node_tools import tool_version

    if tool in ("supabase", "prisma", "vercel"):
        return tool_version(Path(program), tool)
    try:
        done = run_program((program, "--version"), env=_QUIETLY, timeout_s=_TIMEOUT_S)
    except OpsError:
        return None
    match = re.search(r"\d+(?:\.\d+)+", done.stdout)
    return match.group() if match and done.exit_code == 0 else None


def parse_help(text: str) -> Help:
    """Return the options and the commands that a help text names."""
    options: dict[str, bool] = {}
    commands: dict[str, None] = {}
    below = examples = False
    for line in text.replace("\t", "    ").splitlines():
        if not line.strip() or len(line) > _LONGEST_LINE:
            continue
        if _TITLE.fullmatch(line):
            examples = "example" in line.lower()
        if examples:
            continue
        match = _OPTIONS.fullmatch(line)
        if match:
            for name in _names(match.group(1)):
                options[name] = options.get(name, False) or _takes_value(match.group(2))
            continue
        for inline in _INLINE.finditer(line):
            for name in inline.group(1).split("|"):
                options[name] = options.get(name, False) or bool(inline.group(2))
        if _COMMANDS.fullmatch(line):
            below = True
        elif below and (command := _COMMAND.match(line)):
            commands |= dict.fromkeys(_LISTED.split(command.group(1).replace("|", ",")))
        elif below and re.fullmatch(r"\s{4,}[a-z][\w-]*(,\s*[a-z][\w-]*)*,?", line):
            commands |= dict.fromkeys(each for each in _LISTED.split(line.strip()) if each)
        elif below and _HEADING.fullmatch(line) and not _COMMANDS.search(line):
            # git's headings are sentences, and those of vercel's groups are indented.
            below = not line[0].isspace() and line.strip()[-1:].isalpha() and ":" not in line
    return Help(options, tuple(commands))


def record(program: str, tool: str, *, deep: int = 3, below: Collection[str] | None = None) -> Kept:
    """Walk a program's help and return it; raises OpsError where it cannot be asked.

    `below` are the first words whose own commands are walked; all where it is None.
    """
    version = ask_version(program, tool)
    helps = dict(_walk(program, tool, (), deep=deep, below=below))
    return Kept(tool, version or "", helps)


def _walk(
    program: str,
    tool: str,
    words: tuple[str, ...],
    *,
    deep: int,
    below: Collection[str] | None,
    above: tuple[str, ...] = (),
) -> Iterator[tuple[tuple[str, ...], Help]]:
    found = ask_help(program, tool, words)
    if found is None or (above and found.commands == above):
        return  # it does not know the command, and prints what it knows
    yield words, found
    if deep > 0 and (not words or below is None or words[0] in below):
        for name in found.commands:
            yield from _walk(
                program, tool, (*words, name), deep=deep - 1, below=below, above=found.commands
            )


def _names(text: str) -> Iterator[str]:
    for name in re.split(r"[,|\s]+", text):
        if "[no-]" in name:
            yield name.replace("[no-]", "")
            yield name.replace("[no-]", "no-")
        elif name.startswith("-"):
            yield name.rstrip("=")


def _takes_value(rest: str) -> bool:
    """Whether what follows an option's names is a value and not yet what it does."""
    head = re.split(r"\s{2,}", rest, maxsplit=1)[0]
    # In brackets, `--remote[=<ref>]`, it may be left out, and is never a word of its own.
    return bool(head.strip()) and not head.startswith("[")
