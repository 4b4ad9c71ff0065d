"""What every command says first where an incident waits for somebody."""

from __future__ import annotations

import os
import time

FILE_NAME = "incident-clock"
FOLDER = ".opsctl"
_MOST_UP = 40


def overdue(start: str, *, now: float | None = None) -> list[str]:
    """Return what is overdue, a line each, from the clock file at or above a directory.

    Without such a file it costs a call of the system for every directory up to the root.
    """
    folder = start
    for _ in range(_MOST_UP):
        try:
            with open(os.path.join(folder, FOLDER, FILE_NAME), "rb") as file:  # noqa: PTH118, PTH123
                text = file.read(65536).decode("utf-8", "replace")
        except OSError:
            parent = os.path.dirname(folder)  # noqa: PTH120
            if parent == folder:
                return []
            folder = parent
            continue
        return _due(text, time.time() if now is None else now)
    return []


def _due(text: str, now: float) -> list[str]:
    lines = []
    for line in text.splitlines():
        due, _, rest = line.partition("\t")
        _, _, said = rest.partition("\t")
        if due.isdecimal() and float(due) <= now and said:
            late = int(now - float(due)) // 60
            said = "".join(sign if sign.isprintable() else "?" for sign in said)
            lines.append(f"OVERDUE by {late} min: {said}")
    return lines
