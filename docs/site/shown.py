"""Plain text as Markdown that shows it as it is."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator


def prose(text: str) -> str:
    """Return plain text as Markdown that shows it as it is; what stands in backticks stays."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if index % 2 else re.sub(r"([\\*_\[\]|#])", r"\\\1", html.escape(part, quote=False))
        for index, part in enumerate(parts)
    )


def code(text: str) -> str:
    """Return text as code, where backticks in it allow that."""
    return f"`{text}`" if text and "`" not in text else prose(text)


def listed(words: Iterable[object]) -> str:
    """Return words as code, with commas between."""
    return ", ".join(f"`{word}`" for word in words)


def table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a table whose first column is code."""
    yield from (f"| {head[0]} | {head[1]} |", "|---|---|")
    for name, meaning in rows:
        yield f"| {code(name)} | {prose(meaning)} |"
