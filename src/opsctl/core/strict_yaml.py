"""YAML for settings: one document of plain mappings, lists and scalars, and nothing clever.

The parser's events are walked without recursion and the data is built from them, so that no
constructor, alias bomb or depth can do harm: composing 100,000 nested lists kills the process,
reading their events stops at the sixty-fifth. Of plain scalars only true, false, null, decimal
integers and decimal fractions are other than text: `NO`, `1:30` and `2026-01-01` stay text.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml

from opsctl.core.errors import OpsError

MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 64
_MAX_NODES = 50_000
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)
_FRACTION = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# At most three digits and thirty-two signs in all: tokens and URLs are not like that.
_KEY = re.compile(r"(?=.{1,32}$)[A-Za-z_-]*([0-9][A-Za-z_-]*){0,3}", re.ASCII)
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS: dict[str, type] = {
    f"{_TAG}int": int,
    f"{_TAG}float": float,
    f"{_TAG}bool": bool,
    f"{_TAG}null": type(None),
}

Lines = dict[tuple[str | int, ...], int]
"""The line, from 1, on which the value at a path begins."""

_HINTS = {
    "alias": "write the value out where it is used",
    "control": "remove the control character",
    "documents": "keep one document: remove the line of three dashes and what follows it",
    "duplicate-key": "keep one of the two",
    "encoding": "save the file as UTF-8",
    "key": "write a plain word before the colon",
    "syntax": "check the indentation, quotes, brackets and colons there and just above",
    "tag": "leave the tag out; quotes make a value text",
    "too-deep": "settings need a depth of six; look for brackets that are not closed",
    "too-large": "is this a settings file? the example is config/opsctl.example.yaml",
}


def load_yaml(text: bytes | str, *, source: str) -> tuple[Any, Lines]:
    """Return (data, lines) of one YAML document; an empty one is None.

    Raises OpsError (exit 2) with file, line and column: `yaml-encoding`, `yaml-control`,
    `yaml-too-large`, `yaml-syntax`, `yaml-too-deep`, `yaml-alias`, `yaml-tag`,
    `yaml-duplicate-key`, `yaml-key`, `yaml-documents`. No message repeats a value of the file:
    it may be a secret.
    """
    return _Builder(source).build(_decode(text, source))


def scalar(text: str) -> Any:
    """Return what a plain scalar means: true, false, null, a decimal number, or else text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FRACTION.fullmatch(text):
        return float(text)
    return text


def shown_key(key: object) -> str:
    """Return a key as a message may show it; one that does not look like a word may be a secret."""
    if isinstance(key, int):
        return str(key)
    return str(key) if _KEY.fullmatch(str(key)) else "(a key that is not shown)"


def has_control(text: str) -> bool:
    """Whether `text` holds a control character other than tab and line feed."""
    return _CONTROL.search(text) is not None


def _decode(data: bytes | str, source: str) -> str:
    if len(data) > MAX_BYTES:
        _refuse(source, None, "is too large", f"the limit is {MAX_BYTES} bytes", "too-large")
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            place = _place_of(data[: error.start].decode("utf-8"))
            why = "it begins like UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else (
                f"byte {error.start} begins no character"
            )  # fmt: skip
            _refuse(source, place, "is not UTF-8 text", why, "encoding")
    else:
        text = data
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if found := _CONTROL.search(text):
        place = _place_of(text[: found.start()])
        why = f"the character has the number {ord(found[0]):#04x}"
        _refuse(source, place, "holds a control character", why, "control")
    return text


def _open_brackets(text: str) -> int:
    """Return how many brackets are open at the end, taking those in quotes for brackets, too."""
    return sum(map(text.count, "[{")) - sum(map(text.count, "]}"))


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
                        self._refuse(event, "holds more than one document", "documents")
                self._take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark is not None else None
            # From 6.0.4 on the scanner itself gives up some depths before we could.
            if mark is not None and _open_brackets(text[: mark.index]) > _MAX_DEPTH:
                what = f"is nested deeper than {_MAX_DEPTH}"
                _refuse(self._source, place, what, "settings are kept plain", "too-deep")
            _refuse(self._source, place, "is not valid YAML", _quiet(error.problem), "syntax")
        except yaml.reader.ReaderError as error:
            place = _place_of(text[: error.position])
            why = "YAML forbids the character there"
            _refuse(self._source, place, "is not valid YAML", why, "syntax")
        except (yaml.YAMLError, ValueError):
            why = "it holds something YAML forbids"
            _refuse(self._source, None, "is not valid YAML", why, "syntax")
        return self._root, self._lines

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._refuse(event, "uses an anchor or an alias", "alias")
        if isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            if self._nodes > _MAX_NODES:
                self._refuse(event, f"holds more than {_MAX_NODES} values", "too-large")
        if isinstance(event, yaml.ScalarEvent):
            self._place(event, self._scalar(event))
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(self._stack) >= _MAX_DEPTH:
                self._refuse(event, f"is nested deeper than {_MAX_DEPTH}", "too-deep")
            is_map = isinstance(event, yaml.MappingStartEvent)
            if event.tag not in (None, "!", _TAG + ("map" if is_map else "seq")):
                self._refuse(event, "uses a tag that settings do not have", "tag")
            value: Any = {} if is_map else []
            path = self._place(event, value)
            self._stack.append(_Open(value, path))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._stack.pop()

    def _scalar(self, event: Any) -> Any:
        if has_control(event.value):  # by an escape: "\0"
            self._refuse(event, "holds a control character", "control")
        if event.tag in (None, "!"):
            plain = event.tag is None and event.style in (None, "")
            return scalar(event.value) if plain else event.value
        if event.tag == f"{_TAG}str":
            return event.value
        value = scalar(event.value)
        if type(value) is not _SCALAR_TAGS.get(event.tag):
            self._refuse(event, "uses a tag that settings do not have, or not there", "tag")
        return value

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
                self._refuse(event, "has a key that is not a word", "key")
            if event.value in top.value:
                what = f"has the key {shown_key(event.value)} twice"
                self._refuse(event, what, "duplicate-key")
            top.key = event.value
            # The key's line, not its value's: that is where a person looks.
            self._lines[(*top.path, event.value)] = line
            return top.path
        else:
            top.value[top.key] = value
            path = (*top.path, top.key)
            top.key = None
            self._lines.setdefault(path, line)
            return path
        self._lines[path] = line
        return path

    def _refuse(self, event: Any, what: str, code: str) -> NoReturn:
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        _refuse(self._source, place, what, "settings are kept plain", code)


class _Open:
    """A mapping or list that is being filled."""

    def __init__(self, value: Any, path: tuple[str | int, ...]) -> None:
        self.value = value
        self.path = path
        self.key: str | None = None


def _place_of(before: str) -> tuple[int, int]:
    """Return (line, column), from 1, of what follows `before`."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _quiet(problem: str | None) -> str:
    # The C parser's words are fixed; the Python one's quote the file, which may hold a secret.
    return problem if yaml.__with_libyaml__ and problem else "it cannot be parsed"


def _refuse(source: str, place: tuple[int, int] | None, what: str, why: str, code: str) -> NoReturn:
    where = f"{source}:{place[0]}:{place[1]}" if place else source
    raise OpsError(
        f"The file {where} {what}", why=why, hint=_HINTS[code], code=f"yaml-{code}"
    ) from None
