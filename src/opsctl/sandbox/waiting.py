"""Wait for a process of the sandbox to answer, or to be gone; who it is, it says itself."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from opsctl.core.errors import Exit, OpsError

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0


def wait_until_up(pid: Callable[[], int | None], *, name: str, log: Path, code: str) -> None:
    """Wait until a process answers; raises OpsError `code` (exit 3) with where its log lies."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if pid() is not None:
            return
        time.sleep(0.03)
    raise OpsError(
        f"{name} did not start",
        why=f"nobody answered within {_START_TIMEOUT_S:g} s",
        hint=f"look at {log}",
        code=code,
        exit=Exit.UNKNOWN,
    )


def end(pid: Callable[[], int | None], *, name: str, code: str) -> bool:
    """End a process and wait until it is gone; return whether it ran.

    What it knows is on disk already: an abrupt end hurts nothing. Raises OpsError `code` (exit 3).
    """
    running = pid()
    if running is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(running, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while pid() == running:
        if time.monotonic() > deadline:
            raise OpsError(
                f"{name} did not stop",
                why=f"the process {running} still answers after {_STOP_TIMEOUT_S:g} s",
                hint=f"is it being debugged? kill {running}",
                code=code,
                exit=Exit.UNKNOWN,
            )
        time.sleep(0.02)
    return True
