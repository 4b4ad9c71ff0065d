"""What is known to go wrong with command lines that exist: data, and how it is matched."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opsctl.adapters.command_line import Simple

_FILE = Path(__file__).parent / "tool_options" / "dangers.yaml"


@dataclass(frozen=True)
class Danger:
    """One thing that goes wrong, and what to do instead."""

    rule: str
    severity: Literal["error", "warning"]
    title: str
    hint: str


def dangers_of(line: Simple) -> Iterator[Danger]:
    """Yield what is known to go wrong with a command line, worst first."""
    options = {word.partition("=")[0] for word in line.words if word.startswith("-")}
    plain = [word for word in line.words if not word.startswith("-")]
    for entry in _known()["lines"]:
        if entry["program"] == line.program and _applies(entry, line, options, plain):
            yield _danger(entry)


def dangers_said(text: str) -> Iterator[Danger]:
    """Yield what is known to be wrong about a sentence."""
    for entry in _known()["said"]:
        if re.search(entry["matches"], text, re.IGNORECASE):
            yield _danger(entry)


def _applies(entry: dict[str, Any], line: Simple, options: set[str], plain: list[str]) -> bool:
    begins = [words.split() for words in entry.get("words", [])]
    meant = next((each for each in begins if plain[: len(each)] == each), None)
    if begins and meant is None:
        return False
    arguments = plain[len(meant or ()) :]
    if entry.get("arguments") == "none" and arguments:
        return False
    if entry.get("arguments") == "some" and arguments[:1] in ([], ["status"]):
        return False
    if entry.get("reads") and not line.reads_file:
        return False
    if "with" in entry and not options & set(entry["with"]):
        return False
    if options & set(entry.get("without", ())):
        return False
    text = " ".join(line.words)
    if entry.get("lacks", "\0") in text:
        return False
    return "matches" not in entry or bool(re.search(entry["matches"], text, re.IGNORECASE))


def _danger(entry: dict[str, Any]) -> Danger:
    return Danger(entry["rule"], entry["severity"], entry["title"], entry["hint"])


@functools.cache
def _known() -> dict[str, list[dict[str, Any]]]:
    from opsctl.core.strict_yaml import load_yaml

    data, _ = load_yaml(_FILE.read_bytes(), source=str(_FILE))
    known: dict[str, list[dict[str, Any]]] = data
    return known
