"""Where backups are kept: a directory, or an object storage; each backup is a folder of files.

A backup is named by its folder. Whatever has no manifest is a backup that was cut off.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.settings import ObjectStorage

MANIFEST = "manifest.json"
VERIFIED = "verified.json"
"""The result of the last verification, beside the manifest."""

MAKING = "making"
"""Held locked by whoever makes the backup; without a holder and a manifest it was cut off."""

_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[a-z0-9]{4,6}")
_MANIFEST_BYTES = 256 << 20


class Store(Protocol):
    """A place that holds backups."""

    where: str
    """For a person: the directory or the address."""

    def ids(self) -> tuple[str, ...]:
        """Return the names of everything that looks like a backup, oldest first, whole or not."""

    def interrupted(self) -> tuple[str, ...]:
        """Return those of `ids` that have no manifest and that nobody is making any more."""

    def read(self, backup: str, name: str, *, most: int) -> bytes | None:
        """Return a small file of a backup; None where it is not there.

        Raises OpsError `backup-damaged` where it is larger than `most` bytes.
        """

    def write(self, backup: str, name: str, data: bytes) -> None:
        """Write a small file of a backup, atomically."""

    @contextmanager
    def making(self, backup: str) -> Iterator[Path]:
        """Give a folder to fill. What is in it becomes the backup when the block ends well.

        Of everything the manifest comes last. When the block fails nothing is left.
        """

    @contextmanager
    def files(
        self, backup: str, names: tuple[str, ...], *, progress: Callable[[int], None]
    ) -> Iterator[Path]:
        """Give a folder that holds these files of a backup; `progress` hears of bytes fetched.

        Raises OpsError `backup-damaged` where one of them is missing.
        """

    def delete(self, backup: str) -> None:
        """Remove a backup, its manifest first; harmless where it is gone."""


def new_id(at: datetime) -> str:
    """Return a name for a backup: `20260131T020304Z-` and six characters, in order of time.

    Three of them are milliseconds, so that names tell which of two backups is the newer.
    """
    utc = at.astimezone(UTC)
    return f"{utc:%Y%m%dT%H%M%SZ}-{utc.microsecond // 1000:03d}{secrets.token_hex(2)[:3]}"


def is_id(name: str) -> bool:
    """Whether a name is one that `new_id` makes."""
    return _ID.fullmatch(name) is not None


def newest(store: Store) -> datetime | None:
    """Return when the newest whole backup was taken, by its name; None where there is none."""
    for each in reversed(store.ids()):
        if store.read(each, MANIFEST, most=_MANIFEST_BYTES) is not None:
            return datetime.strptime(each[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return None


def open_store(to: str, *, root: Path, environment: str, storage: ObjectStorage) -> Store:
    """Return the store of one environment. `to` is a directory or s3://BUCKET/PREFIX."""
    if to.startswith("s3://"):
        from opsctl.adapters.s3 import S3Store

        return S3Store(to, environment=environment, storage=storage)
    if "://" in to:
        raise OpsError(
            f"Backups cannot be kept in {to.partition('://')[0]}://",
            why="there are directories and s3://BUCKET/PREFIX",
            hint="opsctl backup create --to DIRECTORY",
            code="unknown-store",
        )
    return LocalStore((root / Path(to).expanduser()).resolve() / environment)


class LocalStore:
    """Backups in a directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.where = str(folder)

    def ids(self) -> tuple[str, ...]:
        """Return the names of the backups, oldest first, whole or not."""
        if not self._folder.is_dir():
            return ()
        return tuple(sorted(path.name for path in self._folder.iterdir() if is_id(path.name)))

    def interrupted(self) -> tuple[str, ...]:
        """Return what was cut off: no manifest, and its maker is gone."""
        return tuple(
            each
            for each in self.ids()
            if not (self._folder / each / MANIFEST).exists()
            and not _is_held(self._folder / each / MAKING)
        )

    def read(self, backup: str, name: str, *, most: int) -> bytes | None:
        """Return a small file of a backup; None where it is not there."""
        path = self._folder / backup / name
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | _NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise damaged(backup, f"{name} cannot be read: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise damaged(backup, f"{name} is larger than {most} bytes")
        return data

    def write(self, backup: str, name: str, data: bytes) -> None:
        """Write a small file of a backup, atomically and to the disk."""
        write_atomically(self._folder / backup / name, data)

    @contextmanager
    def making(self, backup: str) -> Iterator[Path]:
        """Give the backup's own folder; it is removed when the block fails."""
        folder = self._folder / backup
        folder.mkdir(mode=0o700, parents=True)
        try:
            with _held(folder / MAKING):
                yield folder
            (folder / MAKING).unlink(missing_ok=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @contextmanager
    def files(
        self, backup: str, names: tuple[str, ...], *, progress: Callable[[int], None]
    ) -> Iterator[Path]:
        """Give the backup's own folder: everything is there already."""
        folder = self._folder / backup
        for name in names:
            if not (folder / name).exists():
                raise damaged(backup, f"{name} is missing")
        yield folder

    def delete(self, backup: str) -> None:
        """Remove a backup, its manifest first: what is cut off is no backup any more."""
        folder = self._folder / backup
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise OpsError(
                f"The backup {backup} was not removed whole",
                why=f"files are left in {folder}",
                hint="are they another user's? remove the directory by hand",
                code="backup-not-removed",
                exit=Exit.PARTIAL,
            )


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a file locked: the kernel lets it go with the process, however that ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_held(path: Path) -> bool:
    if sys.platform == "win32":
        return path.exists() and time.time() - path.stat().st_mtime < _ABANDONED_S
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


_ABANDONED_S = 86400.0
"""Where the kernel cannot tell: nobody makes one backup for longer than a day."""

_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
"""A pipe in the place of a file must not make anybody wait."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a private file so that it is there whole or not at all, whatever is cut off."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a directory's entries to the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damaged(backup: str, why: str) -> OpsError:
    """Return the error for a backup that is not what it was."""
    return OpsError(
        f"The backup {backup} is damaged",
        why=why,
        hint="opsctl backup list; take another one, and find out what happened to this one",
        code="backup-damaged",
        exit=Exit.FAILED,
    )
