"""How many bytes of a script each source module became, from its source map."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

_DIGITS = {
    sign: number
    for number, sign in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
}
_SCHEME = re.compile(
    r"^[a-z][a-z0-9+.-]*://(?:\[project\]/|\[turbopack\]/|/\[project\]/|_N_E/|[^/]*/\./)?", re.I
)
UNMAPPED = "(not mapped)"
"""What no source is named for: the bundler's own code."""


def modules_of(script: bytes, source_map: bytes, *, place: str) -> dict[str, int]:
    """Return source -> bytes of a script; they add up to the script's size.

    `place` is the map's path below the build, which relative sources start from. Raises
    ValueError for what is no source map of version 3.
    """
    try:
        data = json.loads(source_map)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    text = script.decode("utf-8", errors="replace")
    lengths = [len(line) for line in text.split("\n")]
    counts: dict[str, int] = {}
    for line, column, part in _sections(data):
        names = [clean_source(each, place) for each in _sources(part)]
        for index, count in _decode(part, lengths, line=line, column=column):
            name = names[index] if 0 <= index < len(names) else UNMAPPED
            counts[name] = counts.get(name, 0) + count
    return _in_bytes(counts, total_signs=sum(lengths) + len(lengths) - 1, total=len(script))


def clean_source(source: str, place: str) -> str:
    """Return a source's path as a person knows it: from the project, or from `node_modules`.

    Bundlers write `webpack://_N_E/./parts/nav.jsx`, `turbopack:///[project]/parts/nav.jsx` or
    `../../parts/nav.jsx`.
    """
    path = unquote(_SCHEME.sub("", source)).partition("?")[0]
    if not _SCHEME.match(source):
        path = posixpath.join(posixpath.dirname(place), path)
    path = posixpath.normpath(path) if path else UNMAPPED
    while path.startswith("../"):
        path = path[3:]
    return path.lstrip("/")


def _sections(data: Any) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Give (line, column, map) of each part of a map; most have one."""
    if not isinstance(data, dict) or data.get("version") != 3:
        raise ValueError("it is no source map of version 3")
    sections = data.get("sections")
    if sections is None:
        yield 0, 0, data
        return
    if not isinstance(sections, list):
        raise ValueError("its sections are no list")
    for each in sections:
        try:
            offset, part = each["offset"], each["map"]
            line, column = int(offset["line"]), int(offset["column"])
        except (TypeError, KeyError, ValueError, OverflowError):
            raise ValueError("a section of it has no offset and no map") from None
        if not isinstance(part, dict):
            raise ValueError("a section of it is no map")
        yield line, column, part


def _sources(part: dict[str, Any]) -> list[str]:
    sources = part.get("sources")
    root = part.get("sourceRoot")
    prefix = f"{root.rstrip('/')}/" if isinstance(root, str) and root else ""
    if not isinstance(sources, list):
        raise ValueError("it names no sources")
    return [f"{prefix}{each}" if isinstance(each, str) else "" for each in sources]


def _decode(
    part: dict[str, Any], lengths: list[int], *, line: int, column: int
) -> Iterator[tuple[int, int]]:
    """Give (index of the source or -1, signs of the script) for every segment.

    A segment ends where the next one begins, or at the end of its line.
    """
    mappings = part.get("mappings")
    if not isinstance(mappings, str):
        raise ValueError("it has no mappings")
    digits = _DIGITS
    source = 0
    for number, group in enumerate(mappings.split(";"), line):
        if number >= len(lengths):
            return
        at = column if number == line else 0
        start, owner = at, -1
        for segment in group.split(","):
            if not segment:
                continue
            value = shift = 0
            first, owned = True, False
            for sign in segment:
                digit = digits.get(sign)
                if digit is None or shift > 60:
                    raise ValueError("its mappings are damaged")
                value |= (digit & 31) << shift
                if digit & 32:
                    shift += 5
                    continue
                amount = -(value >> 1) if value & 1 else value >> 1
                if not first:
                    source += amount
                    owned = True
                    break  # where in the source does not matter
                at += amount
                first = False
                value = shift = 0
            place = min(at, lengths[number])
            if place > start:
                yield owner, place - start
                start = place
            owner = source if owned else -1
        if lengths[number] > start:
            yield owner, lengths[number] - start


def _in_bytes(counts: dict[str, int], *, total_signs: int, total: int) -> dict[str, int]:
    """Return counts of signs as bytes that add up to the script's size."""
    ratio = total / total_signs if total_signs else 0.0
    found = {name: int(count * ratio) for name, count in counts.items()}
    rest = total - sum(found.values())
    if rest > 0:
        found[UNMAPPED] = found.get(UNMAPPED, 0) + rest
    return found
