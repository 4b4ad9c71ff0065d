"""Runbooks: Markdown with command lines and boxes to tick, read into what is to be done.

Fenced blocks of `opsctl`, `bash`, `sh` and `shell` hold command lines; those of `console` show
some, after a `$`, and nobody is to carry them out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

Kind = Literal["line", "shown", "inline", "tick", "prose"]
"""line: a command line to carry out. shown: one in a console block. inline: one in the prose.
tick: a box of a check-list. prose: a paragraph or a point of a list."""

_RUN = ("opsctl", "bash", "sh", "shell")
_SHOWN = ("console", "shell-session")
_KEYS = ("title", "when", "owner", "before")
_MAX_BYTES = 1024 * 1024
_BOX = re.compile(r"\[([ xX])\]\s+")
_FRONT = re.compile(r"\A---\n(.*?\n)?---\n", re.DOTALL)


@dataclass(frozen=True)
class Item:
    """One thing that a runbook says, and where."""

    kind: Kind
    text: str
    line: int
    """From 1."""
    heading: str
    """The nearest heading above."""
    link: str = ""
    """The first web address that a box links to."""


@dataclass(frozen=True)
class Runbook:
    """One runbook, its items in the order of the file."""

    name: str
    """The file's name without `.md`."""
    path: Path
    title: str
    when: str
    """When it is for, in a sentence; empty where it does not say."""
    owner: str
    before: tuple[str, ...]
    """Command lines of opsctl's that make of a new sandbox what the runbook is for."""
    items: tuple[Item, ...]

    @property
    def steps(self) -> tuple[Item, ...]:
        """What is carried out: command lines and boxes to tick, in order."""
        return tuple(item for item in self.items if item.kind in ("line", "tick"))


def shipped_folder() -> Path:
    """Return where this opsctl's own runbooks lie: in the package, else in its source."""
    package = Path(__file__).resolve().parent.parent
    own = package / "runbooks"
    return own if own.is_dir() else package.parent.parent / "runbooks"


def runbook_paths(root: Path) -> tuple[Path, ...]:
    """Return the files of the project's runbooks, then of opsctl's own, each by name.

    One of the project hides one of opsctl's with the same name.
    """
    found: dict[str, Path] = {}
    for folder in (root / "runbooks", shipped_folder()):
        for path in sorted(folder.glob("*.md")):
            found.setdefault(path.stem, path)
    return tuple(found.values())


def find_runbook(root: Path, wanted: str) -> Path:
    """Return the file that is meant by a path or by a runbook's name.

    Raises OpsError `no-such-runbook` (exit 2).
    """
    from opsctl.core.misfits import did_you_mean

    given = Path(wanted)
    if given.is_file():
        return given
    known = {path.stem: path for path in runbook_paths(root)}
    if wanted.removesuffix(".md") in known:
        return known[wanted.removesuffix(".md")]
    raise OpsError(
        f"The runbook {wanted} was not found",
        why=f"it is no file, and none of {', '.join(known) or 'no runbooks at all'}",
        hint=did_you_mean(wanted, list(known)) or "opsctl runbook list",
        code="no-such-runbook",
    )


def read_runbook(path: Path) -> Runbook:
    """Read a runbook; raises OpsError `runbook-unreadable` (exit 3) or `runbook-invalid`."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        text = raw.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text") from None
    if len(raw) > _MAX_BYTES:
        raise _unreadable(path, "it is larger than 1 MiB")
    front = _front_matter(text, path)
    items, first_heading, first_prose = _items(text)
    return Runbook(
        name=path.stem,
        path=path,
        title=front.get("title") or first_heading or path.stem,
        when=front.get("when") or first_prose,
        owner=front.get("owner", ""),
        before=_before(front.get("before", ""), path),
        items=items,
    )


def _unreadable(path: Path, why: str) -> OpsError:
    return OpsError(
        f"The runbook {path} could not be read",
        why=why,
        hint="opsctl runbook list",
        code="runbook-unreadable",
        exit=Exit.UNKNOWN,
    )


def _before(text: str, path: Path) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not all(line.startswith("opsctl ") for line in lines):
        raise OpsError(
            f"The front matter of {path} was not understood",
            why="a line of before is no command line of opsctl",
            hint="before: opsctl rollback db --env sandbox --yes",
            code="runbook-invalid",
        )
    return lines


def _front_matter(text: str, path: Path) -> dict[str, str]:
    from opsctl.core.strict_yaml import load_yaml

    match = _FRONT.match(text)
    if match is None:
        return {}
    data, _ = load_yaml(match.group(1) or "", source=str(path))
    wrong = "it is no mapping" if data is not None and not isinstance(data, dict) else ""
    if isinstance(data, dict):
        others = [str(key) for key in data if key not in _KEYS]
        empty = [key for key in data if not isinstance(data[key], str)]
        wrong = f"{others[0]} is no key of it" if others else ""
        wrong = wrong or (f"{empty[0]} is no text" if empty else "")
    if wrong:
        raise OpsError(
            f"The front matter of {path} was not understood",
            why=wrong,
            hint=f"it may have the keys {', '.join(_KEYS)}, each a text",
            code="runbook-invalid",
        )
    return data or {}


def _items(written: str) -> tuple[tuple[Item, ...], str, str]:
    """Return (items, first heading, first sentence of the first paragraph)."""
    from markdown_it import MarkdownIt

    match = _FRONT.match(written)
    # Blank lines in the place of the front matter keep the numbers of the lines.
    body = written if match is None else "\n" * match.group().count("\n") + written[match.end() :]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    items: list[Item] = []
    heading = first_heading = first_prose = ""
    for index, token in enumerate(tokens):
        line = (token.map[0] if token.map else 0) + 1
        if token.type == "fence":
            language = token.info.split()[0] if token.info.strip() else ""
            items += _lines_of(token.content, language, line + 1, heading)
        elif token.type == "inline":
            before = tokens[index - 1]
            if before.type == "heading_open":
                heading = _plain(token.children or ())
                first_heading = first_heading or heading
                continue
            in_list = index > 1 and tokens[index - 2].type == "list_item_open"
            box = _BOX.match(token.content) if in_list else None
            plain = " ".join(_plain(token.children or ()).split())
            if box:
                text = plain[len(box.group()) :].strip()
                items.append(Item("tick", text, line, heading, _link(token.children or ())))
            else:
                items.append(Item("prose", plain, line, heading))
                first_prose = first_prose or _sentence(plain)
            items += [
                Item("inline", child.content, line, heading)
                for child in token.children or ()
                if child.type == "code_inline"
            ]
    return tuple(items), first_heading, first_prose


def _lines_of(content: str, language: str, first: int, heading: str) -> list[Item]:
    """Return the command lines of a block; one that ends in a backslash goes on below."""
    if language not in _RUN + _SHOWN:
        return []
    kind: Kind = "line" if language in _RUN else "shown"
    items: list[Item] = []
    began, so_far = 0, ""
    for number, raw in enumerate(content.splitlines(), start=first):
        text = raw.strip()
        if kind == "shown" and not so_far:
            if not text.startswith("$ "):
                continue
            text = text[2:].strip()
        if not so_far:
            began = number
        if text.endswith("\\"):
            so_far += text[:-1].strip() + " "
            continue
        text, so_far = (so_far + text).strip(), ""
        if text and not text.startswith("#"):
            items.append(Item(kind, text, began, heading))
    if so_far.strip():
        items.append(Item(kind, so_far.strip(), began, heading))
    return items


def _plain(children: Sequence[Token]) -> str:
    """Return the text of a paragraph as a person reads it."""
    parts = []
    for child in children:
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.children:
            parts.append(_plain(child.children))
    return "".join(parts)


def _link(children: Sequence[Token]) -> str:
    found = (str(each.attrGet("href") or "") for each in children if each.type == "link_open")
    return next((href for href in found if href.startswith(("https://", "http://"))), "")


def _sentence(text: str) -> str:
    first, dot, _ = text.partition(". ")
    return first + "." if dot else text
