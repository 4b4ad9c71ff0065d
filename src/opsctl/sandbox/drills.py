"""The record of drills, under `.opsctl/drills/`: a file each, and what is typed meanwhile.

It lies beside the sandbox and not in it, for a reset throws the sandbox away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from opsctl.adapters.contents import Contents
from opsctl.adapters.scratch import write_private
from opsctl.core.drill_notes import FILE_NAME

_TABS = 3
"""In each line of the notes."""


@dataclass(frozen=True)
class Typed:
    """One command that was typed while a drill was on; times are epoch seconds."""

    began_at: float
    ended_at: float
    exit_code: int
    words: str
    """The words that it began with, without options."""


@dataclass(frozen=True)
class Drill:
    """One drill, as far as it came."""

    id: str
    scenario: str
    how: str
    """by hand, or auto."""
    struck_at: float
    contents: str = ""
    """A hash of what the database held, where that must come back."""
    hinted_at: tuple[float, ...] = ()
    """When each hint was asked for."""
    checks: int = 0
    """How often it was asked whether it is solved."""
    solved_at: float | None = None
    ended_at: float | None = None
    """When it was solved or given up."""
    typed: tuple[Typed, ...] = ()
    """What was typed, once it has ended."""


class Drills:
    """The drills of one root directory."""

    def __init__(self, root: Path) -> None:
        self._now = root / ".opsctl" / FILE_NAME
        self._folder = self._now.parent

    def begin(self, scenario: str, *, how: str, contents: str = "") -> Drill:
        """Start the clock of a drill, and have what is typed noted from now on."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        drill = Drill(f"{stamp}-{scenario}", scenario, how, struck_at=now, contents=contents)
        write_private(self._now, "")
        self._write(drill)
        return drill

    def newest(self) -> Drill | None:
        """Return the drill that is on, or else the last one; None before the first."""
        found = self.all()
        return found[-1] if found else None

    def on(self) -> Drill | None:
        """Return the drill that is on."""
        newest = self.newest()
        return newest if newest is not None and newest.ended_at is None else None

    def all(self) -> list[Drill]:
        """Return every drill, the earliest first; a file that is no record is left out."""
        found = []
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                found.append(_read(json.loads(path.read_text(encoding="utf-8"))))
        return sorted(found, key=lambda each: each.struck_at)

    def hinted(self, drill: Drill) -> Drill:
        """Record that one more hint was shown."""
        return self._write(replace(drill, hinted_at=(*drill.hinted_at, time.time())))

    def checked(self, drill: Drill) -> Drill:
        """Record that it was asked whether it is solved, and it is not."""
        return self._write(replace(drill, checks=drill.checks + 1))

    def end(self, drill: Drill, *, solved: bool, asked_at: float) -> Drill:
        """Stop the clock; what was typed before `asked_at` stays with the record."""
        now = time.time()
        typed = tuple(each for each in self.typed(drill) if each.began_at < asked_at)
        self._now.unlink(missing_ok=True)
        return self._write(
            replace(
                drill,
                checks=drill.checks + solved,
                solved_at=now if solved else None,
                ended_at=now,
                typed=typed,
            )
        )

    def typed(self, drill: Drill) -> tuple[Typed, ...]:
        """Return what was typed since the strike; what a command started itself is left out."""
        if drill.ended_at is not None:
            return drill.typed
        try:
            text = self._now.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ()
        # A line that a full disk cut off is no command.
        whole = [line for line in text.splitlines() if line.count("\t") == _TABS]
        read = (_typed(line) for line in whole)
        found = sorted((each for each in read if each), key=lambda each: each.began_at)
        return tuple(
            each
            for each in found
            if each.began_at >= drill.struck_at and not any(_within(each, other) for other in found)
        )

    def _write(self, drill: Drill) -> Drill:
        path = self._folder / f"{drill.id}.json"
        write_private(path, json.dumps(asdict(drill), indent=1) + "\n")
        return drill


def contents_hash(contents: Contents) -> str:
    """Return one hash of everything that a database holds."""
    text = json.dumps(asdict(contents), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _typed(line: str) -> Typed | None:
    began, ended, code, words = line.split("\t")
    try:
        return Typed(float(began), float(ended), int(code), words)
    except ValueError:
        return None  # nothing that `note` wrote


def _within(inner: Typed, outer: Typed) -> bool:
    return (
        inner is not outer
        and outer.began_at <= inner.began_at
        and inner.ended_at <= outer.ended_at
        and (outer.began_at, outer.ended_at) != (inner.began_at, inner.ended_at)
    )


def _read(data: Mapping[str, Any]) -> Drill:
    given = dict(data)
    given["hinted_at"] = tuple(given["hinted_at"])
    given["typed"] = tuple(Typed(**each) for each in given["typed"])
    return Drill(**given)
