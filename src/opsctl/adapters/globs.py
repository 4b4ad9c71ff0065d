"""Globs of the settings, before they become expressions."""

from __future__ import annotations

import re

_STARS = re.compile(r"\*{3,}")
_FOLDERS = re.compile(r"(?:\*\*/){2,}")


def without_repetition(glob: str) -> str:
    """Return a glob that means the same, where each run of stars stands once.

    As expressions, stars in a row take the time of every way to part a name among them.
    """
    return _FOLDERS.sub("**/", _STARS.sub("**", glob))
