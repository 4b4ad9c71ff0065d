"""Addresses in text as a terminal's hyperlinks (OSC 8): what is written stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_ADDRESS = re.compile(r"https?://[!#-&(-;=?-\[\]_a-z~|]+")
"""Printable ASCII alone, so that nothing in an address can end the sequence it stands in."""
_CLOSING = ".,;:!?)]"
"""What ends a sentence that an address stands in, and is no part of it."""
_LINK = re.compile(r"\x1b\]8;(?:id=([^;\x1b]*))?;([^\x1b]*)\x1b\\")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def find_links(text: str, links: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, address) of each address in `text`, and of each word that `links` names.

    A name counts where it stands as a word of its own; one whose address is no plain http or
    https address is left out.
    """
    for found in _ADDRESS.finditer(text):
        address = found[0].rstrip(_CLOSING)
        yield found.start(), found.start() + len(address), address
    for name, address in links.items():
        if name and name in text and _ADDRESS.fullmatch(address):
            for found in re.finditer(rf"(?<![\w/.-]){re.escape(name)}(?![\w/-])", text):
                yield found.start(), found.end(), address


def with_links(line: str) -> str:
    """Return a line of plain text with each address in it as a hyperlink."""
    return _ADDRESS.sub(_as_link, line)


def without_links(text: str) -> str:
    """Return text without the sequences that begin and end hyperlinks."""
    return _LINK.sub("", text)


def without_color(text: str) -> str:
    """Return text without colours, bold and dim."""
    return _COLOR.sub("", text)


def numbered(text: str) -> str:
    """Return text whose hyperlinks are told apart by 1, 2, 3 instead of by chance.

    The parts of a folded link have one id, so that a terminal shows them as one.
    """
    ids: dict[str, int] = {}

    def name(found: re.Match[str]) -> str:
        if not found[2]:
            return "\x1b]8;;\x1b\\"
        return f"\x1b]8;id={ids.setdefault(found[1], len(ids) + 1)};{found[2]}\x1b\\"

    return _LINK.sub(name, text)


def _as_link(found: re.Match[str]) -> str:
    address = found[0].rstrip(_CLOSING)
    return f"\x1b]8;;{address}\x1b\\{address}\x1b]8;;\x1b\\{found[0][len(address) :]}"
