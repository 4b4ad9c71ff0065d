"""The only module that starts programs.

Programs get an argv and never a shell, a time-out, no standard input unless it is given, and
a process group of their own, so that a time-out ends their children too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsctl.core.errors import Exit, OpsError


@dataclass(frozen=True)
class Finished:
    """A program that ended by itself. `exit_code` is negative for a signal."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """The last line that says anything, stderr before stdout; empty if there is none."""
        for text in (self.stderr, self.stdout):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[-1]
        return ""


def find_program(name: str, *, hint: str) -> str:
    """Return the path of a program.

    Raises OpsError `tool-missing` (exit 3) if it is not there; `hint` says how to get it.
    """
    path = shutil.which(name)
    if path is None:
        raise OpsError(
            f"The program {name} was not found",
            why="it is not on the PATH",
            hint=hint,
            code="tool-missing",
            exit=Exit.UNKNOWN,
        )
    return path


def run_program(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: str | None = None,
    timeout_s: float = 120.0,
    user: int | None = None,
) -> Finished:
    """Run a program to its end and return what it said; a non-zero exit is not an error here.

    `env` is added to this process's environment. `user` is a numeric user and group id to
    become first. Raises OpsError `tool-missing` if it cannot be started, `tool-timeout` if it
    was ended after `timeout_s` (its effect is then unknown). Neither shows argv or env.
    """
    name = os.path.basename(argv[0])  # noqa: PTH119 - argv[0] may be a bare name
    become = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    try:
        child = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603 - argv, no shell
            list(argv),
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=sys.platform != "win32",
            **become,
        )
    except OSError as error:
        raise OpsError(
            f"The program {name} could not be started",
            why=error.strerror or type(error).__name__,
            hint=f"check that {name} is installed and may be executed",
            code="tool-missing",
            exit=Exit.UNKNOWN,
        ) from None
    try:
        out, err = child.communicate(None if stdin is None else stdin.encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _end(child)
        raise OpsError(
            f"The program {name} did not end in time",
            why=f"it was stopped after {timeout_s:g} s; what it did by then is unknown",
            hint="look at the state of the world before you try again",
            code="tool-timeout",
            exit=Exit.UNKNOWN,
        ) from None
    except BaseException:
        _end(child)
        raise
    return Finished(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


def start_daemon(argv: Sequence[str], *, log: str, cwd: str) -> int:
    """Start a program that outlives this process, its output going to `log`; return its pid.

    Raises OpsError `tool-missing` if it cannot be started.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(  # noqa: S603 - argv, no shell
            list(argv),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=sys.platform != "win32",
        )
    except OSError as error:
        raise OpsError(
            f"The program {os.path.basename(argv[0])} could not be started",  # noqa: PTH119
            why=error.strerror or type(error).__name__,
            hint="check that it is installed and may be executed",
            code="tool-missing",
            exit=Exit.UNKNOWN,
        ) from None
    finally:
        os.close(descriptor)
    # It is not waited for on purpose: the interpreter need not warn about it.
    child.returncode = 0
    return child.pid
