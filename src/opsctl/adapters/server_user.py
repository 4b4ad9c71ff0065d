"""Who the server runs as: PostgreSQL refuses to run as root, so root starts it as another."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from opsctl.core.errors import Exit, OpsError

NOBODY = 65534
_RIGHTS = (("dac_read_search", 2), ("dac_override", 1))
"""Names and numbers of the capabilities that open closed directories, the smaller one first."""
_SETPCAP = 8
"""The number of the capability that may set securebits."""


def is_root() -> bool:
    """Whether this process is root."""
    return sys.platform != "win32" and os.geteuid() == 0


def give(path: Path) -> None:
    """Give a path and all in it to the user that the server runs as, where root starts it."""
    if is_root():
        for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
            os.chown(each, NOBODY, NOBODY, follow_symlinks=False)


def reachable(path: Path) -> bool:
    """Whether any user may walk down to a path."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def through_closed_doors() -> tuple[str, ...]:
    """Return the argv that lets the server's user into directories that only root may enter.

    The data directory may lie in a home directory of mode 0700. The server gets the one right
    it needs there, and is still not root. Containers mostly withhold dac_read_search and grant
    dac_override, which allows more; it is taken where there is no other way. Raises OpsError
    `directory-closed` (exit 3) where there is none at all.
    """
    setpriv = shutil.which("setpriv")
    held = _capabilities()
    right = next((name for name, bit in _RIGHTS if held & (1 << bit)), None)
    if setpriv is None or right is None:
        missing = "setpriv is not installed" if setpriv is None else "root's rights are cut here"
        raise OpsError(
            "The PostgreSQL server cannot be started here as root",
            why=f"its user may not enter this directory, and {missing}",
            hint="run it as a normal user, or in a directory that everybody may enter",
            code="directory-closed",
            exit=Exit.UNKNOWN,
        )
    return (
        setpriv,
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        f"--inh-caps=+{right}",
        f"--ambient-caps=+{right}",
        # initdb asks access() for the server beside it, which looks past a user's capabilities
        # unless this bit is set; programs installed below a closed home are not found without.
        *(("--securebits=+no_setuid_fixup",) if held & (1 << _SETPCAP) else ()),
    )


def _capabilities() -> int:
    """Return the capabilities this process may hand on, as bits; all where it cannot be said."""
    status = Path("/proc/self/status")
    if not status.exists():
        return -1
    text = status.read_text(encoding="utf-8")
    held = -1
    for name in ("CapPrm", "CapBnd"):
        match = re.search(rf"^{name}:\s*([0-9a-f]+)$", text, re.MULTILINE)
        if match is not None:
            held &= int(match.group(1), 16)
    return held
