"""Scan pieces of text: matcher, confirmation, and what the line around a secret says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from opsctl.adapters.secret_scanner.patterns import Patterns
from opsctl.adapters.secret_scanner.reading import (
    Piece,
    is_plain,
    pieces_of,
    read_file,
    read_whole,
)
from opsctl.adapters.secret_scanner.sighting import Buffer, Place

if TYPE_CHECKING:
    from opsctl.adapters.secret_scanner.confirm import Hit

_ALLOWED = (
    rb"(?i)(?:opsctl|gitleaks|betterleaks|kingfisher)\s?:\s?(?:allow|ignore)|"
    rb"pragma:\s?(?:allow|white)list[ _-](?:secret|nextline secret)|nosecrets?\b"
)
_ALLOWED_NEXT = rb"(?i)opsctl:allow-next-line|pragma:\s?(?:allow|white)list[ _-]nextline[ _-]secret"
_PUBLIC_NAME = (
    rb"(?:NEXT_PUBLIC|VITE|EXPO_PUBLIC|REACT_APP|NUXT_PUBLIC|GATSBY|VUE_APP|PUBLIC|NG_APP)_\w{0,80}"
    rb"[\"'`\]]{0,2}\s{0,4}(?:=>|[:?]?=|:|,)\s{0,4}[\"'`]?[^\s\"'`=:]{0,200}$"
)
_LINE = 2048
"""Bytes to each side of a secret in which the ends of its line are looked for."""


@dataclass(frozen=True)
class Found:
    """One secret at one place. The value is for comparing and asking, never for showing."""

    rule: str
    title: str
    severity: str
    confidence: str
    next: str
    path: str
    line: int
    column: int
    secret: str
    note: str = ""
    project: str = ""
    member: str = ""
    allowed: bool = False
    """Whether a comment on its line says that it may stay."""
    public: str = ""
    """Why every visitor has it: `name`, `client`, or empty."""

    @property
    def digest(self) -> str:
        """A hash of the secret, to tell it from others."""
        return sha256(self.secret.encode("latin-1", "replace")).hexdigest()


def redacted(secret: str) -> str:
    """Return what may be shown of a secret: its ends, if it is long, and its length."""
    count = len(secret)
    if count < 12 or not secret.isprintable() or not secret.isascii():
        return f"{count} characters"
    ends = 4 if count >= 24 else 2
    return f"{secret[:ends]}…{secret[-2:]}, {count} characters"


class Scanner:
    """Scans one piece after another; made anew in each process."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._scan = patterns.matcher.scan
        self.bytes = 0

    def scan(self, pieces: Iterable[Piece], place: Place) -> list[Found]:
        """Return the secrets of a text's pieces, in order of place."""
        found: list[Found] = []
        for piece in pieces:
            self.bytes += len(piece.data) - piece.skip
            ends = self._scan(piece.data)
            if ends:
                found += self.confirm(piece, ends, place)
        return found

    def scan_file(self, path: bytes | str, place: Place, *, follow: bool = False) -> list[Found]:
        """Return the secrets of a file; raises what `read_file` does."""
        data = read_whole(path, follow=follow)
        if data is None:
            return self.scan(read_file(path, follow=follow), place)
        if is_plain(data):
            return self.scan_plain(data, place) if data else []
        return self.scan(pieces_of(data), place)

    def scan_plain(self, data: bytes, place: Place) -> list[Found]:
        """Return the secrets of a whole text for which `is_plain` holds."""
        self.bytes += len(data)
        ends = self._scan(data)
        return self.confirm(Piece(data), ends, place) if ends else []

    def confirm(self, piece: Piece, ends: Iterable[tuple[int, int]], place: Place) -> list[Found]:
        """Return the secrets at the ends of matches in a piece."""
        hits = self._patterns.confirmer.confirm(piece.data, ends, place, text=piece.text)
        size = len(piece.data)
        return [
            self._describe(piece, hit, place)
            for hit in hits
            if hit.end >= piece.skip and not (piece.more and hit.end >= size)
        ]

    def _describe(self, piece: Piece, hit: Hit, place: Place) -> Found:
        rule = self._patterns.rules[hit.rule]
        verdict = hit.verdict
        data = piece.data
        before = bytes(data[max(0, hit.start - _LINE) : hit.start])
        after = bytes(data[hit.end : hit.end + _LINE])
        cut = before.rfind(b"\n") + 1
        line_start, line_end = before[cut:], after.partition(b"\n")[0]
        above = before[:cut].rstrip(b"\r\n").rpartition(b"\n")[2]
        middle = bytes(data[hit.start : hit.end])[:400]
        whole = line_start + middle + line_end
        allowed = (
            re.search(_ALLOWED, whole) is not None or re.search(_ALLOWED_NEXT, above) is not None
        )
        public = ""
        if re.search(_PUBLIC_NAME, line_start[-320:]):
            public = "name"
        elif place.is_client:
            public = "client"
        shown = line_start.decode("utf-8", "replace")
        return Found(
            rule=rule.id,
            title=verdict.title or rule.title,
            severity=verdict.severity or rule.severity,
            confidence=verdict.confidence,
            next=rule.next,
            path=place.path,
            line=piece.lines_before + _line_ends(data, hit.start) + 1,
            column=len(shown) + 1 if len(line_start) < _LINE else 1,
            secret=hit.secret,
            note=verdict.note,
            project=verdict.project,
            member=piece.member,
            allowed=allowed,
            public=public,
        )


def _line_ends(data: Buffer, end: int) -> int:
    if isinstance(data, memoryview):
        return bytes(data[:end]).count(b"\n")
    return data.count(b"\n", 0, end)
