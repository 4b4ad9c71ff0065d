"""What could stand where a command line is being typed: for the shells' completion.

Candidates come from settings, records and platforms; one that a shell could read as anything
but a word is left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.cli.rooms import ROOMS, Room
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call

FILES = ":files"
"""In the place of candidates: the shell completes names of files."""
_WORD = re.compile(r"[A-Za-z0-9_.@%+,/:=-]+")
_PLACEHOLDER = re.compile(r"[A-Z]{2,}")
_PATHS = frozenset({"FILE", "DIR", "DIRECTORY", "FOLDER", "PATH"})
_MOST_RUNS, _MOST_DEPLOYMENTS = 50, 20
_LONGEST_HELP = 100
_ASK_S = 3.0
"""A person who presses a key waits no longer."""


@dataclass(frozen=True)
class Candidate:
    """One word, and what it means."""

    word: str
    help: str = ""


@dataclass(frozen=True)
class _Typed:
    """A command line up to the word that is being typed."""

    room: Room
    command: Any
    """Typer's command, or the group that still wants one."""
    names: tuple[str, ...]
    """The commands' names below the room."""
    given: dict[str, str]
    """Values of options, by the option's name."""
    arguments: int
    """How many arguments stand before the word."""
    waiting: Any
    """The option whose value is being typed; None where it is none."""


def candidates(words: Sequence[str]) -> tuple[Candidate, ...] | str:
    """Return what fits the last of the words after `opsctl`, or FILES.

    Raises OpsError where what it takes to know cannot be read.
    """
    *before, current = joined(words) or [""]
    if not before:
        found: Iterator[Candidate] = iter(
            [*(Candidate(room.name, room.help) for room in ROOMS),
             Candidate("--help", "Print help."), Candidate("--version", "Print the version.")]
        )  # fmt: skip
        return _fitting(found, current)
    typed = _typed(before)
    if typed is None:
        return ()
    if typed.waiting is not None:
        return _values(typed, typed.waiting, current)
    option, equals, value = current.partition("=")
    if equals and option.startswith("--"):
        known = next((each for each in typed.command.params if option in each.opts), None)
        found_values = () if known is None else _values(typed, known, value)
        if isinstance(found_values, str):
            return FILES
        return tuple(Candidate(f"{option}={each.word}", each.help) for each in found_values)
    if current.startswith("-"):
        return _fitting(_options(typed), current)
    if hasattr(typed.command, "commands"):
        return _fitting(_commands(typed), current)
    arguments = [each for each in typed.command.params if each.param_type_name == "argument"]
    if not arguments:
        return ()
    last = arguments[min(typed.arguments, len(arguments) - 1)]
    if typed.arguments >= len(arguments) and last.nargs != -1:
        return ()
    return _values(typed, last, current)


def joined(words: Sequence[str]) -> list[str]:
    """Return words as they were typed: bash takes `--env=x` apart at its `=`."""
    found: list[str] = []
    glue = False
    for word in words:
        if word == "=" and found and found[-1].startswith("--"):
            found[-1] += "="
            glue = True
        elif glue:
            found[-1] += word
            glue = False
        else:
            found.append(word)
    return found


def _typed(before: Sequence[str]) -> _Typed | None:
    """Follow the words to a command; None where they lead nowhere."""
    import typer

    from opsctl.cli.root import load_room

    room = next((each for each in ROOMS if each.name == before[0]), None)
    if room is None:
        return None
    command: Any = typer.main.get_group(load_room(room))
    rest = list(before[1:])
    if room.alone and (not rest or rest[0] not in room.others):
        command = command.commands[room.default]
    names: list[str] = []
    given: dict[str, str] = {}
    arguments = 0
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            option, equals, value = word.partition("=")
            known = _option(command, option, room)
            if known is None or known.is_flag:
                continue
            if not equals:
                if not rest:
                    return _Typed(room, command, tuple(names), given, arguments, known)
                value = rest.pop(0)
            given[known.opts[0]] = value
        elif hasattr(command, "commands"):
            if word in command.commands:
                command = command.commands[word]
                names.append(word)
            else:
                return None
        else:
            arguments += 1
    return _Typed(room, command, tuple(names), given, arguments, None)


def _option(command: Any, name: str, room: Room) -> Any:
    """Return an option of a command; of a group, one of the command that is meant without words."""
    if hasattr(command, "commands"):
        default = getattr(command, "otherwise", None) or room.default
        command = command.commands.get(default, command)
    return next(
        (each for each in command.params if name in (*each.opts, *each.secondary_opts)), None
    )


def _commands(typed: _Typed) -> Iterator[Candidate]:
    for name, command in typed.command.commands.items():
        if not command.hidden:
            yield Candidate(name, _first_line(command.help))


def _options(typed: _Typed) -> Iterator[Candidate]:
    command = typed.command
    if hasattr(command, "commands"):
        default = getattr(command, "otherwise", None) or typed.room.default
        command = command.commands.get(default, command)
    for each in command.params:
        if each.param_type_name == "option" and not each.hidden:
            for name in (*each.opts, *each.secondary_opts):
                if name.startswith("--"):
                    yield Candidate(name, _first_line(each.help))
    yield Candidate("--help", "Show help and exit.")


def _values(typed: _Typed, parameter: Any, current: str) -> tuple[Candidate, ...] | str:
    """Return the values of an option or argument that begin with `current`."""
    name = parameter.opts[0]
    if name in ("--env", "--confirm"):
        return _fitting(iter(environments(typed.given.get("--config"))), current)
    if name == "--format":
        from opsctl.cli.session import formats_of

        words = formats_of(" ".join((typed.room.name, *(typed.names or (typed.room.default,)))))
        return _fitting((Candidate(each) for each in words), current)
    if name in ("--config", "--output"):
        return FILES
    places = (parameter.metavar or "").strip("[].").split("|")
    if "SHELL" in places:
        return _fitting(map(Candidate, ("bash", "zsh", "fish", "powershell")), current)
    if _PATHS & set(places) and not {"RUN"} & set(places):
        return FILES
    found = [Candidate(each) for each in places if len(places) > 1 and _literal(each)]
    for place, source in _SOURCES.items():
        if place in places and (place != "ID" or typed.room.name == "incident"):
            found += source(_call(typed))
    return _fitting(iter(found), current)


def _literal(text: str) -> bool:
    return bool(text) and not _PLACEHOLDER.fullmatch(text)


def environments(config: str | None) -> list[Candidate]:
    """Return the names of the environments; the file is read, and not judged."""
    from opsctl.core.settings_file import find_settings, made_environments
    from opsctl.core.strict_yaml import MAX_BYTES, load_yaml

    path, root = find_settings(config=config, start=Path.cwd(), environ=os.environ)
    found: dict[str, str] = {}
    for each in (*([path] if path else []), *made_environments(root)):
        with each.open("rb") as file:
            data, _ = load_yaml(file.read(MAX_BYTES + 1), source=str(each))
        if not isinstance(data, dict):
            continue
        names = data.get("environments") if each == path else {data.get("name"): None}
        for name in names if isinstance(names, dict) else {}:
            found.setdefault(str(name), os.path.relpath(each))
    return [Candidate(name, where) for name, where in found.items()]


def runs(call: Call) -> list[Candidate]:
    """Return the newest runs, unfinished ones first."""
    from opsctl.cli.change import open_engine

    everything = sorted(open_engine(call).runs(), key=lambda run: run.started_at, reverse=True)
    everything.sort(key=lambda run: run.state in ("finished", "aborted"))
    return [
        Candidate(run.run, f"{run.state}: {run.command}, {run.environment}")
        for run in everything[:_MOST_RUNS]
    ]


def deployments(call: Call) -> list[Candidate]:
    """Return production's newest ready deployments, as Vercel names them within some seconds."""
    from opsctl.adapters.rest import Patience
    from opsctl.adapters.vercel import VercelApi
    from opsctl.cli.at_once import at_once
    from opsctl.core.progress import duration

    settings = call.environment.vercel
    if settings is None:
        return []
    api = VercelApi(settings, patience=Patience(attempts=1))

    def look() -> list[Candidate]:
        import time

        found, _ = api.deployments(
            api.project(), most=_MOST_DEPLOYMENTS, target="production", state="READY"
        )
        now = time.time()
        return [
            Candidate(
                each.id,
                f"{each.commit[:7]} {duration(max(now - each.created_ms / 1000, 0))} ago: "
                f"{each.message}",
            )
            for each in found
        ]

    answer = at_once({"vercel": look}, within_s=_ASK_S)["vercel"]
    if answer.error is not None:
        raise answer.error
    return answer.value or []


def backups(call: Call) -> list[Candidate]:
    """Return the whole backups, newest first."""
    from opsctl.adapters.backup_list import read_backups
    from opsctl.adapters.stores import open_store

    settings = call.environment.backup
    store = open_store(settings.to, root=call.root, environment=call.name, storage=settings.storage)
    return [
        Candidate(each.id, "verified" if each.verified else "not verified")
        for each in read_backups(store)
        if each.state == "whole"
    ]


def incidents(call: Call) -> list[Candidate]:
    """Return the incidents, the newest first."""
    from opsctl.areas.incident.facts import all_incidents

    return [
        Candidate(each.id, f"{each.severity} {each.state}: {each.title}")
        for each in all_incidents(call)
    ]


_SOURCES = {"RUN": runs, "DEPLOYMENT": deployments, "BACKUP": backups, "ID": incidents}


def _call(typed: _Typed) -> Call:
    from opsctl.cli.session import make_call
    from opsctl.cli.shared import Shared

    config = typed.given.get("--config")
    call = make_call(
        Shared(env=typed.given.get("--env"), config=Path(config) if config else None, quiet=True)
    )
    if call.environment_name is None and typed.room.name != "runs":
        raise OpsError(
            "No environment was chosen",
            why="there are several",
            hint="type --env NAME first",
            code="no-environment",
        )
    return call


def _fitting(found: Iterator[Candidate], current: str) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(each.word, _plain(each.help))
        for each in found
        if each.word.startswith(current) and _WORD.fullmatch(each.word)
    )


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _plain(text: str) -> str:
    """Return a help text of one line, without what a terminal or a shell would obey."""
    shown = "".join(c if c.isprintable() and c not in '`$\\"' else " " for c in text).strip()
    return shown if len(shown) <= _LONGEST_HELP else shown[: _LONGEST_HELP - 3] + "..."
