"""Let a program begin only while its lease lasts, asked in the program's own process.

A look at the lease by this process is not the last moment: it may be stopped after it, and go on
when somebody else is at work. So the program's process looks again, just before it becomes the
program, at a clock that also runs while the machine sleeps.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from opsctl.core.process import OWN, Finished

_CLOCK = "/proc/uptime"
_TOO_LATE = 97
_SAID = "opsctl-lease-over"
_LOOK = (
    f"read -r now rest <{_CLOCK} && "
    '[ "${now%.*}${now#*.}" -lt "$0" ] || { echo ' + _SAID + ' >&2; exit 97; }; exec "$@"'
)
"""Hundredths of a second, as a whole number: the shell knows no others."""


def begun_in_time(argv: Sequence[str], latest_start: float | None) -> tuple[str, ...]:
    """Return an argv that becomes `argv` before `latest_start`, on the boot's clock, or fails.

    Without a limit, or where there is no such clock, it is `argv` itself; as well where there
    is no such program, whose absence is told better without a shell.
    """
    argv = tuple(argv)
    if argv[0] == "opsctl":
        argv = (*OWN, *argv[1:])
    if latest_start is None or not Path(_CLOCK).exists() or not shutil.which(argv[0]):
        return argv
    return ("/bin/sh", "-c", _LOOK, str(int(latest_start * 100)), *argv)


def was_too_late(done: Finished) -> bool:
    """Whether a program was not begun, because its lease would not have lasted."""
    return done.exit_code == _TOO_LATE and done.stderr.strip() == _SAID
