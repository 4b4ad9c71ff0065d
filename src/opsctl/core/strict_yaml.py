"""YAML for settings: one document of plain mappings, lists and scalars, and nothing clever.

The parser's events are walked without recursion and the data is built from them, so that no
constructor, alias bomb or depth can do harm. Of plain scalars only true, false, null, decimal
integers and decimal fractions are other than text: `NO`, `1:30` and `2026-01-01` stay text.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from opsctl.core.errors import OpsError

_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 64
_MAX_NODES = 50_000
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)
_FRACTION = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_TAGS = {
    "tag:yaml.org,2002:str",
    "tag:yaml.org,2002:map",
    "tag:yaml.org,2002:seq",
    "tag:yaml.org,2002:int",
    "tag:yaml.org,2002:float",
    "tag:yaml.org,2002:bool",
    "tag:yaml.org,2002:null",
}

Lines = dict[tuple[str | int, ...], int]
"""The line, from 1, on which the value at a path begins."""


def load_yaml(data: bytes | str, *, source: str) -> tuple[Any, Lines]:
    """Return (data, lines) of one YAML document; an empty one is None.

    Raises OpsError (exit 2) with file, line and column: `yaml-encoding`, `yaml-too-large`,
    `yaml-syntax`, `yaml-too-deep`, `yaml-alias`, `yaml-tag`, `yaml-duplicate-key`,
    `yaml-key`, `yaml-documents`. No message repeats the file's text.
    """
    return _Builder(source).build(_decode(data, source))


def scalar(text: str) -> Any:
    """Return what a plain scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FRACTION.fullmatch(text):
        return float(text)
    return text


def _decode(data: bytes | str, source: str) -> str:
    if len(data) > _MAX_BYTES:
        raise _error(source, None, "is too large", f"the limit is {_MAX_BYTES} bytes", "too-large")
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise _error(
                source, None, "is not UTF-8 text", f"byte {error.start} is not", "encoding"
            ) from None
    return data


class _Builder:
    """Builds data from parser events; one per document."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines: Lines = {}
        self._stack: list[_Open] = []
        self._root: Any = None
        self._nodes = 0

    def build(self, text: str) -> tuple[Any, Lines]:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        documents = 0
        try:
            for event in yaml.parse(text, Loader=loader):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        raise self._error(event, "holds more than one document", "documents")
                self._take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            why = error.problem or "it cannot be parsed"
            raise _error(self._source, mark, "is not valid YAML", why, "syntax") from None
        except (yaml.YAMLError, ValueError, RecursionError):
            raise _error(
                self._source, None, "is not valid YAML", "it holds characters YAML forbids",
                "syntax",
            ) from None  # fmt: skip
        return self._root, self._lines

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._error(event, "uses an anchor or alias", "alias")
        if isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            tag = getattr(event, "tag", None)
            if tag is not None and tag not in _TAGS and tag != "!":
                raise self._error(event, "uses a tag that settings do not have", "tag")
            if self._nodes > _MAX_NODES:
                raise self._error(event, "holds too many values", "too-large")
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style in (None, "") and event.tag is None
            self._place(event, scalar(event.value) if plain else event.value)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(self._stack) >= _MAX_DEPTH:
                raise self._error(event, f"is nested deeper than {_MAX_DEPTH}", "too-deep")
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            path = self._place(event, value)
            self._stack.append(_Open(value, path))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._stack.pop()

    def _place(self, event: Any, value: Any) -> tuple[str | int, ...]:
        """Put a value where it belongs and return its path."""
        line = event.start_mark.line + 1
        if not self._stack:
            self._root = value
            self._lines[()] = line
            return ()
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            path = (*top.path, len(top.value) - 1)
        elif top.key is None:
            if not isinstance(event, yaml.ScalarEvent) or not event.value:
                raise self._error(event, "has a key that is not a word", "key")
            if event.value in top.value:
                raise self._error(
                    event, f"has the key {_shown(event.value)} twice", "duplicate-key"
                )
            top.key = event.value
            return top.path
        else:
            top.value[top.key] = value
            path = (*top.path, top.key)
            top.key = None
        self._lines[path] = line
        return path

    def _error(self, event: Any, what: str, code: str) -> OpsError:
        return _error(self._source, event.start_mark, what, "settings are kept plain", code)


class _Open:
    """A mapping or list that is being filled."""

    def __init__(self, value: Any, path: tuple[str | int, ...]) -> None:
        self.value = value
        self.path = path
        self.key: str | None = None


def _error(source: str, mark: Any, what: str, why: str, code: str) -> OpsError:
    place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark is not None else source
    return OpsError(
        f"The file {place} {what}",
        why=" ".join(why.split()),
        hint=f"mend {place}; opsctl config check tells whether it is well",
        code=f"yaml-{code}",
    )


def _shown(key: str) -> str:
    return repr(key if len(key) <= 40 else key[:37] + "...")
