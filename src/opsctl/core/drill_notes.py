"""What is typed while a drill is on: opsctl's commands, each with its times and its exit code.

The words of a command are noted, its options and what they hold are not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

FILE_NAME = "drills/now"
"""It exists only while a drill is on, beside the state."""
UNNOTED = "_OPSCTL_UNNOTED"
"""The variable that says of a command that nobody typed it: a drill's own looks."""
_FOLDER = ".opsctl"
_MOST_UP = 40


def note(start: str, argv: Sequence[str], *, began: float, ended: float, code: int) -> None:
    """Add a line to the notes of the drill that is on at or above a directory, if one is.

    Otherwise it costs a call of the system for every directory up to the root.
    """
    if UNNOTED in os.environ:
        return
    folder = start
    for _ in range(_MOST_UP):
        path = os.path.join(folder, _FOLDER, FILE_NAME)  # noqa: PTH118 - pathlib costs more
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        except OSError:
            parent = os.path.dirname(folder)  # noqa: PTH120
            if parent == folder:
                return
            folder = parent
            continue
        try:
            line = f"{began:.3f}\t{ended:.3f}\t{code}\t{' '.join(_words(argv))}\n"
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        return


def _words(argv: Sequence[str]) -> list[str]:
    """Return the words that a command line begins with: up to what may be no command."""
    words: list[str] = []
    for word in argv[:3]:
        letters = word.replace("-", "")
        if word.startswith("-") or not (letters.isalpha() and word.isascii() and word.islower()):
            break
        words.append(word[:40])
    return words
