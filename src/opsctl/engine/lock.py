"""One run per environment at a time, on one machine.

The kernel's lock says whether the holder lives: it is gone with its process, however that
ended. The file's text says who it is.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from opsctl.core.errors import Exit, OpsError
from opsctl.core.lease import Fence, Holder, not_locked, wrong_lock
from opsctl.core.process import alive


class FileLocks:
    """The locks of one machine: a file for each environment, in one directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def hold(self, environment: str, *, actor: str, run: str, command: str) -> Iterator[HeldFile]:
        """Hold an environment; raises OpsError `locked` (exit 5) where another does."""
        with hold(self._folder, environment, actor=actor, run=run, command=command) as holder:
            yield HeldFile(holder)

    def holder_of(self, environment: str) -> Holder | None:
        """Return who is written into an environment's lock file; nobody where it is free."""
        return holder_of(self._folder, environment)

    def is_alive(self, holder: Holder) -> bool:
        """Whether the process that holds a lock runs on this machine."""
        return is_alive(holder)

    def refuse_if_held(self, environment: str) -> None:
        """Raise OpsError `locked` where a living process holds it."""
        holder = holder_of(self._folder, environment)
        if holder is not None and is_alive(holder):
            raise locked(environment, holder)

    def unlock(self, environment: str, lock_id: str) -> Holder:
        """Clear what a dead holder left and return it; raises OpsError as `unlock` does."""
        return unlock(self._folder, environment, lock_id)


class HeldFile:
    """A lock of the kernel's: it is held for as long as its holder lives."""

    fence: Fence | None = None
    latest_start: float | None = None

    def __init__(self, holder: Holder) -> None:
        self.holder = holder

    def ensure(self, for_s: float) -> None:
        """Do nothing: it is held until it is let go."""

    def check(self) -> None:
        """Do nothing: nobody can have taken it."""


@contextmanager
def hold(folder: Path, environment: str, *, actor: str, run: str, command: str) -> Iterator[Holder]:
    """Hold an environment's lock; raises OpsError `locked` (exit 5) where another does."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _path(folder, environment)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _try_lock(descriptor):
            raise locked(environment, _read(descriptor))
        holder = Holder(
            id=secrets.token_hex(4),
            actor=actor,
            pid=os.getpid(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            run=run,
            command=command,
        )
        _write(descriptor, json.dumps(asdict(holder)))
        try:
            yield holder
        finally:
            _write(descriptor, "")
            _unlock(descriptor)
    finally:
        os.close(descriptor)


def holder_of(folder: Path, environment: str) -> Holder | None:
    """Return who is written into an environment's lock file; nobody where it is free."""
    try:
        descriptor = os.open(_path(folder, environment), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def is_alive(holder: Holder) -> bool:
    """Whether the process that holds a lock runs on this machine."""
    return alive(holder.pid)


def unlock(folder: Path, environment: str, lock_id: str) -> Holder:
    """Clear what a dead holder left and return it.

    Raises OpsError: `not-locked` or `wrong-lock` (exit 2), `lock-held` (exit 5) while the
    holder's process lives.
    """
    holder = holder_of(folder, environment)
    if holder is None:
        raise not_locked(environment)
    if holder.id != lock_id:
        raise wrong_lock(environment, lock_id, holder)
    descriptor = os.open(_path(folder, environment), os.O_RDWR)
    try:
        if not _try_lock(descriptor):
            raise OpsError(
                f"The lock on {environment} was not freed",
                why=f"its holder lives: {holder}",
                hint=f"end that process first, then: opsctl runs resume {holder.run}",
                code="lock-held",
                exit=Exit.REFUSED,
            )
        _write(descriptor, "")
        _unlock(descriptor)
    finally:
        os.close(descriptor)
    return holder


def _path(folder: Path, environment: str) -> Path:
    name = "".join(c if c.isalnum() or c in "-_" else f"%{ord(c):x}" for c in environment)
    return folder / f"{name}.lock"


def _read(descriptor: int) -> Holder | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 65536).decode(errors="replace")
    if not text.strip():
        return None
    try:
        holder = Holder(**json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return _UNREADABLE
    words = (holder.id, holder.actor, holder.since, holder.run, holder.command)
    sound = all(isinstance(each, str) for each in words) and type(holder.pid) is int
    return holder if sound and 0 <= holder.pid < 1 << 31 else _UNREADABLE


_UNREADABLE = Holder("unreadable", "somebody", 0, "an unknown time", "unknown", "unknown")


def _write(descriptor: int, text: str) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, text.encode())


def locked(environment: str, holder: Holder | None) -> OpsError:
    """Return the error for an environment that `holder` holds; None is one just starting."""
    who = str(holder) if holder else "another opsctl that is just starting"
    hint = "wait for it to end"
    if holder:
        hint += f"; if it hangs, end process {holder.pid}, then: opsctl runs resume {holder.run}"
    return OpsError(
        f"The environment {environment} is locked",
        why=f"held by {who}",
        hint=hint,
        code="locked",
        exit=Exit.REFUSED,
    )


if sys.platform == "win32":
    import msvcrt

    # A byte far behind the text: others can still read who holds it.
    _BYTE = 1 << 30

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
