"""The options that every command takes, and how a room's function becomes a command."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from opsctl.render import FORMATS, SPOKEN


@dataclass(frozen=True)
class Shared:
    """The shared options as given."""

    env: Annotated[
        str | None, typer.Option("--env", metavar="NAME", help="Environment of the settings.")
    ] = None
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings file.")
    ] = None
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help=f"One of {', '.join(FORMATS)}.")
    ] = "text"
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the result there.")
    ] = None
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="FORMAT=FILE",
            help="Write the result in this format there, too; may be given again.",
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and change nothing.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree without being asked.")] = False
    confirm: Annotated[
        str | None,
        typer.Option(
            "--confirm",
            metavar="NAME",
            help="Agree to what cannot be undone by naming the environment.",
        ),
    ] = None
    override_freeze: Annotated[
        str | None,
        typer.Option(
            "--override-freeze",
            metavar="REASON",
            help="Change something though it is frozen; the reason is kept.",
        ),
    ] = None
    no_input: Annotated[bool, typer.Option("--no-input", help="Never ask.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False
    plain: Annotated[
        bool,
        typer.Option("--plain", help="For screen readers: whole lines, no signs, no columns."),
    ] = False
    verbose: Annotated[bool, typer.Option("--verbose", help="Show everything, tracebacks too.")] = (
        False
    )

    @property
    def shown(self) -> str:
        """The format of what a person is shown."""
        return SPOKEN if self.plain and self.format == FORMATS[0] else self.format


Body = Callable[[Callable[..., Any], Mapping[str, Any], Shared, str], int]
"""Runs a room's function: (function, its own arguments, shared options, command) -> exit."""


def adopt(app: typer.Typer, *, room: str, body: Body, called: str | None = None) -> None:
    """Give every command of a room's app the shared options, and run it through `body`.

    With `called` only that command gets its options; of the others a name and a help text are
    left. Building the options of a whole room would double the time to start one command.
    """
    for command in app.registered_commands:
        function = getattr(command, "opsctl_function", command.callback)
        if function is None:  # pragma: no cover - Typer always sets it
            continue
        name = command.name or function.__name__.rstrip("_").replace("_", "-")
        command.opsctl_function = function  # type: ignore[attr-defined]
        command.name = name
        if called in (None, name):
            command.callback = _with_shared(function, command=f"{room} {name}", body=body)
        else:
            command.callback = _name_alone(function)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            within = None if called in (None, group.name) else ""
            adopt(group.typer_instance, room=f"{room} {group.name}", body=body, called=within)


def _name_alone(function: Callable[..., Any]) -> Callable[[], None]:
    def stub() -> None:
        raise AssertionError("this command was not the one called")

    stub.__doc__ = function.__doc__
    return stub


def _with_shared(function: Callable[..., Any], *, command: str, body: Body) -> Callable[..., int]:
    own = _own_parameters(function)
    names = {field.name for field in fields(Shared)}
    if clash := names & own.keys():
        raise TypeError(f"{command} declares shared options of its own: {sorted(clash)}")

    def run(**given: Any) -> int:
        shared = Shared(**{name: given.pop(name) for name in names})
        return body(function, given, shared, command)

    parameters = [*own.values(), *_shared_parameters()]
    run.__name__ = function.__name__
    run.__doc__ = function.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _own_parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return a command's parameters but `call`, annotations resolved.

    `call` and the return type are left unresolved: rooms import their types for checking only,
    because they cost more than a help text may.
    """
    wanted = {
        name: text
        for name, text in function.__annotations__.items()
        if name not in ("call", "return")
    }
    bare = types.FunctionType(function.__code__, function.__globals__)
    bare.__annotations__ = wanted
    hints = typing.get_type_hints(bare, include_extras=True)
    signature = inspect.signature(function)
    return {
        name: parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name != "call"
    }


def _shared_parameters() -> list[inspect.Parameter]:
    hints = typing.get_type_hints(Shared, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(Shared)
    ]
