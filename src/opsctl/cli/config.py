"""`opsctl config`: what the settings are, where they came from, and what they may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsctl.core.errors import OpsError
from opsctl.core.report import Report, Table

if TYPE_CHECKING:
    from opsctl.core.call import Call

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

_SCHEMAS = {"settings": "settings.schema.json", "json": "output.schema.json"}


@app.command()
def show(
    call: Call,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value came from.")
    ] = False,
) -> Report:
    """Show the settings as they count; secrets stay references."""
    values = _flat(call.settings.model_dump(mode="json"))
    rows = []
    for name, value in values:
        where = call.origins.get(name, "default")
        rows.append((name, _word(value), where) if origin else (name, _word(value)))
    columns = ("setting", "value", "from") if origin else ("setting", "value")
    return Report(
        command="config show",
        title="Settings",
        environment=call.environment_name,
        tables=(Table("", columns, tuple(rows)),),
        notes=_notes(call),
        data={
            "root": str(call.root),
            "environment": {"name": call.environment_name, "from": call.environment_origin},
            "settings": call.settings.model_dump(mode="json"),
            "origins": {name: call.origins.get(name, "default") for name, _ in values},
        },
    )


@app.command()
def check(call: Call) -> Report:
    """Check the settings; exit 2 where they are not valid."""
    names = ", ".join(call.settings.environments) or "none"
    sources = _sources(call)
    return Report(
        command="config check",
        title="The settings are valid",
        notes=(
            f"Read: {', '.join(sources) or 'nothing, all is default'}",
            f"Environments: {names}",
        ),
        data={"sources": sources, "environments": list(call.settings.environments)},
    )


@app.command()
def schema(
    for_: Annotated[
        str, typer.Option("--for", metavar="settings|json", help="Of what.")
    ] = "settings",
) -> Report:
    """Print the JSON Schema of the settings file, or of every command's JSON output."""
    if for_ not in _SCHEMAS:
        raise OpsError(
            f"There is no schema for {for_!r}",
            why=f"there are schemas for {' and '.join(_SCHEMAS)}",
            hint="opsctl config schema --for settings",
            code="usage",
        )
    from pathlib import Path

    import opsctl.core

    # Generated beforehand, and proved to be what the models make: this must start fast.
    folder = Path(opsctl.core.__path__[0]) / "schemas"
    text = (folder / _SCHEMAS[for_]).read_text(encoding="utf-8")
    return Report(
        command="config schema",
        title=f"JSON Schema for {for_}",
        data=_Parsed(text),
        text=text,
    )


class _Parsed(Mapping[str, Any]):
    """The schema as data, parsed when a format asks for it: text does not, and is quicker so."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __getitem__(self, key: str) -> Any:
        if key != "schema":
            raise KeyError(key)
        import json

        return json.loads(self._text)

    def __iter__(self) -> Iterator[str]:
        return iter(("schema",))

    def __len__(self) -> int:
        return 1


def _notes(call: Call) -> tuple[str, ...]:
    if not call.settings.environments:
        return ("There is no environment yet. Start one to try things in: opsctl sandbox up",)
    if call.environment_name is None:
        return ("No environment is chosen: add --env NAME, or set default_environment.",)
    return (f"The environment is {call.environment_name}, chosen by: {call.environment_origin}",)


def _sources(call: Call) -> list[str]:
    """Return every file and variable that the settings were read from, in order."""
    names = (where.rpartition(":")[0] or where for where in call.origins.values())
    return list(dict.fromkeys(names))


def _flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return (dotted path, value) of every leaf, in order."""
    if isinstance(value, dict) and value:
        parts = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, list) and value:
        parts = [(str(index), each) for index, each in enumerate(value)]
    else:
        return [(path, value)] if path else []
    return [leaf for key, each in parts for leaf in _flat(each, f"{path}.{key}" if path else key)]


def _word(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "-" if value in ({}, []) else str(value)
