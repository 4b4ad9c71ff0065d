"""The page of the settings, made from their JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shown import code, prose

import opsctl.core


def settings() -> str:
    """Return the page of every key: a section for each object, named by its path."""
    schema = schema_of("settings")
    lines = [
        "# Settings",
        "",
        "Every key of `opsctl.yaml`, from the schema that `opsctl config schema` prints.",
        "[The example](settings-example.md) has each of them with a comment.",
        "An unknown key is an error.",
        "",
    ]
    lines += _object(schema, schema, path="")
    return "\n".join(lines)


def _object(node: dict[str, Any], schema: dict[str, Any], *, path: str) -> Iterator[str]:
    """Yield the section of one object, and then those of the objects in it."""
    yield from (f"## {path or 'The file itself'}", "")
    if path and node.get("description"):
        yield from (prose(node["description"]), "")
    yield from ("| key | what it may be | without it | what it means |", "|---|---|---|---|")
    inner = []
    required = node.get("required", ())
    for name, each in node["properties"].items():
        place = f"{path}.{name}" if path else name
        default = "-"
        if name in required:
            default = "required"
        elif "default" in each and not isinstance(each["default"], dict):
            default = code(json.dumps(each["default"], ensure_ascii=False))
        meaning = prose(each.get("description", ""))
        yield f"| `{name}` | {_kind(each, schema)} | {default} | {meaning} |"
        inner += [(place + suffix, found) for suffix, found in _objects(each, schema)]
    yield ""
    for place, found in inner:
        yield from _object(found, schema, path=place)


def _objects(node: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what has keys of its own within a value: (what its path ends with, the object)."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if "properties" in node:
        yield "", node
    for each in node.get("anyOf", ()):
        yield from _objects(each, schema)
    if isinstance(node.get("items"), dict):
        for suffix, found in _objects(node["items"], schema):
            yield f"[]{suffix}", found
    by_name = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    for each in by_name:
        if isinstance(each, dict):
            for suffix, found in _objects(each, schema):
                yield f".NAME{suffix}", found


def _kind(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return in words what a value may be."""
    if "$ref" in node:
        return _kind(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in node:
        kinds = dict.fromkeys(_kind(each, schema) for each in node["anyOf"])
        return " or ".join(kind for kind in kinds if kind != "null")
    if "const" in node:
        return code(json.dumps(node["const"]))
    if "enum" in node:
        return ", ".join(code(str(value)) for value in node["enum"])
    kind = str(node.get("type", "any value"))
    if kind == "array":
        return f"list of {_kind(node.get('items', {}), schema)}"
    if kind == "object":
        return "section" if "properties" in node else "section by name"
    return kind + _bounds(node)


def _bounds(node: dict[str, Any]) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    said = [f"{word} {node[key]}" for key, word in words.items() if key in node]
    return f", {', '.join(said)}" if said else ""


def schema_of(name: str) -> dict[str, Any]:
    """Return a schema that the program carries: `settings` or `output`."""
    folder = Path(opsctl.core.__path__[0]) / "schemas"
    loaded: dict[str, Any] = json.loads((folder / f"{name}.schema.json").read_text("utf-8"))
    return loaded
