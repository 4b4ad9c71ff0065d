"""Hyperscan: all expressions in one pass over a text. It says where matches end, no more.

The `hyperscan` package is an extra. A compiled database is good for one version and one kind
of processor; Hyperscan refuses another's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opsctl.core.errors import OpsError


@dataclass(frozen=True)
class Expression:
    """One expression without look-around; `^` and `$` are those of lines."""

    name: str
    """For a message, should it be refused."""
    text: str
    ignore_case: bool = False


def hyperscan_version() -> str | None:
    """Return the version of the package, or None where it is not installed."""
    try:
        import hyperscan
    except ImportError:
        return None
    # Not by importlib.metadata, which takes longer than a small scan.
    return str(vars(hyperscan)["__version__"])


class Database:
    """Compiled expressions. Finds (index of expression, end of match), in no certain order."""

    def __init__(self, database: Any) -> None:
        self._database = database

    @classmethod
    def compile(cls, expressions: Sequence[Expression]) -> Database:
        """Compile expressions; raises OpsError `bad-rule` (exit 2) that names the one refused."""
        import hyperscan

        database = hyperscan.Database()
        flags = [
            hyperscan.HS_FLAG_MULTILINE | (hyperscan.HS_FLAG_CASELESS if each.ignore_case else 0)
            for each in expressions
        ]
        try:
            database.compile(
                expressions=[each.text.encode() for each in expressions],
                ids=list(range(len(expressions))),
                elements=len(expressions),
                flags=flags,
            )
        except hyperscan.HyperscanError as error:
            raise _refused(expressions, str(error)) from None
        return cls(database)

    @classmethod
    def load(cls, data: bytes) -> Database | None:
        """Return a database from what `dump` gave, or None where it is not for this machine."""
        import hyperscan

        try:
            database = hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK)
            database.scratch = hyperscan.Scratch(database)
        except hyperscan.HyperscanError:
            return None
        return cls(database)

    def dump(self) -> bytes:
        """Return the database as bytes."""
        import hyperscan

        return bytes(hyperscan.dumpb(self._database))

    def scan(self, data: bytes | bytearray | memoryview) -> list[tuple[int, int]]:
        """Return (index of expression, end) of every match in `data`."""
        found: list[tuple[int, int]] = []
        add = found.append

        def on_match(index: int, start: int, end: int, flags: int, context: object) -> None:
            add((index, end))

        self._database.scan(data, match_event_handler=on_match)
        return found


def _refused(expressions: Sequence[Expression], why: str) -> OpsError:
    import hyperscan

    name = ""
    for each in expressions:
        try:
            hyperscan.Database().compile(expressions=[each.text.encode()], ids=[0], elements=1)
        except hyperscan.HyperscanError as error:
            name, why = each.name, str(error)
            break
    return OpsError(
        f"The rule {name} was refused" if name else "The rules were refused",
        why=re.sub(r"\s+", " ", why) or "Hyperscan did not say why",
        hint="write its pattern without look-around, back-references and endless repeats",
        code="bad-rule",
    )
