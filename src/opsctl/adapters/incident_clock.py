"""What is due in open incidents, in a small file that every command can look at for nothing.

One line each: when it is due in epoch seconds, a tab, and what to say. There is no file while
nothing is open, so looking costs one failed call of the system.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from opsctl.core.start_banner import FILE_NAME, FOLDER


def write_clock(root: Path, environment: str, lines: Iterable[tuple[float, str]]) -> None:
    """Replace what is due in one environment; without anything left the file goes.

    A disk that takes no more is nobody's news here: the incident itself is kept elsewhere.
    """
    path = root / FOLDER / FILE_NAME
    mark = f"\t{environment}\t"
    kept = []
    with suppress(OSError):
        text = path.read_text(encoding="utf-8", errors="replace")
        kept = [line for line in text.splitlines() if mark not in line]
    kept += [f"{due:.0f}{mark}{' '.join(text.split())}" for due, text in lines]
    with suppress(OSError):
        if not kept:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.write_text("\n".join(kept) + "\n", encoding="utf-8")
        new.replace(path)
