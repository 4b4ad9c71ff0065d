"""The only module that starts programs.

Programs get an argv and never a shell, a time-out, no standard input unless it is given, and
a process group of their own, so that a time-out ends their children too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import IO

from opsctl.core.errors import Exit, OpsError

OWN = (sys.executable, "-m", "opsctl")
"""This opsctl: what a program called `opsctl` is taken for, wherever a plan is carried out."""

LOOK = "opsctl-look"
"""The same for a look or a small write of opsctl's own that bounds its time itself: it needs no
process, which would cost more than the look."""

_KEPT_LINES = 2000
"""Of a program that is followed: enough for every complaint, not for a day of progress."""


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


_LOOKS: ContextVar[Callable[[Sequence[str]], Finished] | None] = ContextVar("looks", default=None)


@contextlib.contextmanager
def looking_by(look: Callable[[Sequence[str]], Finished]) -> Iterator[None]:
    """Have `look` do what is asked of a program called `opsctl-look`, with its arguments."""
    before = _LOOKS.set(look)
    try:
        yield
    finally:
        _LOOKS.reset(before)


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
    on_stderr: Callable[[str], None] | None = None,
) -> Finished:
    """Run a program to its end and return what it said; a non-zero exit is not an error here.

    `env` is added to this process's environment. `user` is a numeric user and group id to
    become first. `on_stderr` hears each line of stderr when it comes, in another thread; such
    a program's stdout is not kept, and of its stderr the last lines alone. Raises OpsError
    `tool-missing` if it cannot be started, `tool-timeout` if it was ended after `timeout_s`
    (its effect is then unknown). Neither shows argv or env.
    """
    look = _LOOKS.get()
    if argv[0] == LOOK and look is not None and not env and cwd is None and stdin is None:
        return look(argv[1:])
    name = os.path.basename(argv[0])  # noqa: PTH119 - argv[0] may be a bare name
    argv = (*OWN, *argv[1:]) if argv[0] in ("opsctl", LOOK) else argv
    become = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    try:
        child = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603 - argv, no shell
            list(argv),
            env=_environment(env or {}),
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
        with _not_left_behind(child):
            if on_stderr is not None:
                return _follow(child, on_stderr, timeout_s=timeout_s)
            given = None if stdin is None else stdin.encode()
            out, err = child.communicate(given, timeout=timeout_s)
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


def run_on_terminal(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout_s: float = 120.0,
) -> int:
    """Run a program that has this process's terminal, and return its exit code.

    It may ask there, gets Ctrl-C as this process does, and what it says goes to stderr. The
    variable _OPSCTL_PARENT tells it whose child it is. Raises what `run_program` does.
    """
    argv = (sys.executable, "-m", *argv) if argv[0] == "opsctl" else argv
    name = os.path.basename(argv[0])  # noqa: PTH119 - argv[0] may be a bare name
    try:
        child = subprocess.Popen(  # noqa: S603 - argv, no shell
            list(argv),
            env={**os.environ, **(env or {}), "_OPSCTL_PARENT": str(os.getpid())},
            cwd=cwd,
            stdout=2,
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
        return child.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=10)
        raise OpsError(
            f"The program {name} did not end in time",
            why=f"it was stopped after {timeout_s:g} s; what it did by then is unknown",
            hint="look at the state of the world before you try again",
            code="tool-timeout",
            exit=Exit.UNKNOWN,
        ) from None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def _follow(
    child: subprocess.Popen[bytes], on_stderr: Callable[[str], None], *, timeout_s: float
) -> Finished:
    """Wait for a program's end and hand on what it says meanwhile, in bounded memory."""
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    stdout, stderr = child.stdout, child.stderr
    if stdout is None or stderr is None:
        raise TypeError("the program's output is not ours")

    def drain() -> None:
        while stdout.read(65536):
            pass

    def listen() -> None:
        for data in stderr:
            line = data.decode(errors="replace").rstrip("\n")
            kept.append(line)
            on_stderr(line)

    threads = [threading.Thread(target=each, daemon=True) for each in (drain, listen)]
    for each in threads:
        each.start()
    child.wait(timeout=timeout_s)
    for each in threads:
        each.join(timeout=10)
    stdout.close()
    stderr.close()
    return Finished(child.returncode, "", "\n".join(kept))


def _end(child: subprocess.Popen[bytes]) -> None:
    _kill(child)
    child.communicate()


@contextlib.contextmanager
def _not_left_behind(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have a program end with this process, should that not wait for the thread it runs in."""
    if threading.current_thread() is threading.main_thread():
        yield
        return

    def end() -> None:
        if child.poll() is None:
            _kill(child)

    atexit.register(end)
    try:
        yield
    finally:
        atexit.unregister(end)


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)


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


_FOR_A_PERSON = ("FORCE_COLOR", "CLICOLOR_FORCE", "FORCE_HYPERLINK")
"""Variables that would put escape sequences into what is read here, not by a person."""


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in _FOR_A_PERSON}
    return {**own, **env}


class Piped:
    """A program whose output is read while it runs; leaving the context ends it.

    What is fed to it is written by another thread, and its stderr goes to a file, so neither
    can stop it while its output is read.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        self._child = subprocess.Popen(  # noqa: S603 - argv, no shell
            list(argv),
            env=_environment(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=sys.platform != "win32",
            bufsize=1 << 20,
        )
        stdin, stdout = self._child.stdin, self._child.stdout
        if stdin is None or stdout is None:
            raise TypeError("the program's input and output are not ours")
        self._stdin = stdin
        self.stdout: IO[bytes] = stdout

    def feed(self, data: bytes | None) -> None:
        """Give it its whole input."""

        def write() -> None:
            # A program that ended early says why itself.
            with contextlib.suppress(BrokenPipeError, ValueError), self._stdin:
                self._stdin.write(data or b"")

        if not data or len(data) <= 4096:
            write()
        else:
            threading.Thread(target=write, daemon=True).start()

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        return self._child.wait()

    def stderr_text(self) -> str:
        """Return what it complained about, the last of it."""
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - 4096))
        return self._stderr.read().decode(errors="replace")

    def __enter__(self) -> Piped:
        return self

    def __exit__(self, *about: object) -> None:
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self._child.kill()
        self.stdout.close()
        self._child.wait()
        self._stderr.close()


def piped_program(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    feed: bytes | None = None,
) -> Piped:
    """Start a program whose output is read as it comes; use it as a context.

    Raises OpsError `tool-missing` if it cannot be started.
    """
    name = os.path.basename(argv[0])  # noqa: PTH119 - argv[0] may be a bare name
    try:
        piped = Piped(argv, env=env or {}, cwd=cwd)
    except OSError as error:
        raise OpsError(
            f"The program {name} could not be started",
            why=error.strerror or type(error).__name__,
            hint=f"check that {name} is installed and may be executed",
            code="tool-missing",
            exit=Exit.UNKNOWN,
        ) from None
    piped.feed(feed)
    return piped


def alive(pid: int) -> bool:
    """Whether a process of this number lives, whosever it is; a zombie does."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


if sys.platform == "win32":

    def _alive_on_windows(pid: int) -> bool:
        # There os.kill(pid, 0) is no question: it presses Ctrl-C.
        import ctypes

        query, denied, still_active = 0x1000, 5, 259
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(query, False, pid)
        if not handle:
            return ctypes.get_last_error() == denied
        code = ctypes.c_ulong()
        try:
            known = kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
        finally:
            kernel.CloseHandle(ctypes.c_void_p(handle))
        return not known or code.value == still_active
