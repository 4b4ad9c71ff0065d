"""Stored snapshots of statement statistics: one packed file each, for its owner alone.

A line of JSON says what was counted; the numbers follow, a column after the other, eight bytes
each: 5,000 statements are 135,000 numbers, and writing them as text takes eight times as long.
No statement's text is ever written: of statements that PostgreSQL does not normalise, such as
ALTER ROLE, it may hold a password. A file that is cut off or was written by somebody else is
refused with its name, and never half believed.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
import os
import re
import sys
import tempfile
import time
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from opsctl.adapters.statements import Costs, Counts, Moments, Snapshot
from opsctl.core.errors import Exit, OpsError

_FORMAT = 2
_BASELINE_FORMAT = 1
_LARGEST = 200_000_000
"""Bytes unpacked: 5,000 statements take 1.1 million."""
_LARGEST_FILE = 50_000_000
_SUFFIX = ".snapshot.gz"
_NAME = re.compile(r"(\d{13})\.snapshot\.gz")
_FORMER = re.compile(r"\d{13}\.json\.gz")
"""Snapshots as they were written before; they are not read any more."""
_BASELINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Stored:
    """A snapshot's file; nothing of it has been read."""

    path: Path
    at: float
    """Seconds since the epoch, of the server's clock."""


class SnapshotStore:
    """The snapshots and baselines of one environment, under `.opsctl/slowquery/`."""

    def __init__(self, root: Path, environment: str) -> None:
        self._folder = root / ".opsctl" / "slowquery" / environment

    def list(self) -> tuple[Stored, ...]:
        """Return the snapshots, oldest first; other files are nobody's business."""
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - names are enough
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _unreadable(self._folder, error.strerror or "it cannot be listed") from None
        found = ((name, _NAME.fullmatch(name)) for name in names)
        stored = [Stored(self._folder / name, int(match[1]) / 1000) for name, match in found
                  if match]  # fmt: skip
        return tuple(sorted(stored, key=lambda each: each.at))

    def read(self, stored: Stored) -> Snapshot:
        """Return a snapshot; raises OpsError `snapshot-damaged` (exit 3), naming the file."""
        return _snapshot(_load(stored.path), stored.path)

    def write(self, snapshot: Snapshot, *, keep: int) -> Path:
        """Keep a snapshot, and of all of them the newest `keep`."""
        path = self._folder / f"{round(snapshot.counts.at * 1000):013d}{_SUFFIX}"
        _save(path, _packed(snapshot))
        for stored in self.list()[:-keep]:
            with contextlib.suppress(FileNotFoundError):
                stored.path.unlink()
        self._sweep()
        return path

    def write_baseline(self, name: str, document: dict[str, Any]) -> Path:
        """Keep a baseline, in the place of one of the same name."""
        path = self._baseline(name)
        text = json.dumps({"format": _BASELINE_FORMAT, **document}, separators=(",", ":"),
                          allow_nan=False)  # fmt: skip
        _save(path, text.encode())
        return path

    def read_baseline(self, name: str) -> dict[str, Any] | None:
        """Return a baseline, or None where there is none of that name."""
        path = self._baseline(name)
        return _document(_load(path), path, format_=_BASELINE_FORMAT) if path.exists() else None

    def baselines(self) -> tuple[str, ...]:
        """Return the names of the baselines."""
        found = (self._folder / "baselines").glob("*.json.gz")
        return tuple(sorted(path.name.removesuffix(".json.gz") for path in found))

    def _baseline(self, name: str) -> Path:
        if not _BASELINE_NAME.fullmatch(name):
            raise OpsError(
                "The baseline's name was not understood",
                why="a name is made of letters, digits, - and _",
                hint="opsctl slowquery baseline --name before-release",
                code="baseline-name",
            )
        return self._folder / "baselines" / f"{name}.json.gz"

    def _sweep(self) -> None:
        """Remove what a writer that was killed left behind, and what is not read any more."""
        for path in self._folder.glob(".*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > 3600:
                    path.unlink()
        for path in self._folder.glob("*.json.gz"):
            if _FORMER.fullmatch(path.name):
                path.unlink(missing_ok=True)


_KEY = ("role", "query", "sent_itself")
_COLUMNS = (*_KEY, *Moments._fields, *Costs._fields)
_INTEGERS = frozenset({*_KEY, "calls", *(name for name, each in Costs._field_defaults.items()
                                         if isinstance(each, int))})  # fmt: skip
_OPTIONAL = frozenset({"since", "extremes_since"})
"""Columns that may hold nothing, written as not a number."""
_KEYS, _MOMENTS = len(_KEY), len(Moments._fields)


def _packed(snapshot: Snapshot) -> bytes:
    counts = snapshot.counts
    header = {
        "format": _FORMAT,
        "server": snapshot.server,
        "database": snapshot.database,
        "started_at": snapshot.started_at,
        "at": counts.at,
        "reset_at": counts.reset_at,
        "dealloc": counts.dealloc,
        "hidden": counts.hidden,
        "statements": len(counts.moments),
        "columns": list(_COLUMNS),
    }
    parts = [json.dumps(header, allow_nan=False).encode(), b"\n"]
    rows = ((*key, *moments, *snapshot.costs[key]) for key, moments in counts.moments.items())
    for name, column in zip(_COLUMNS, zip(*rows, strict=True), strict=False):
        values = [math.nan if each is None else each for each in column] if (
            name in _OPTIONAL) else column  # fmt: skip
        parts.append(_little(array("q" if name in _INTEGERS else "d", values)).tobytes())
    return b"".join(parts)


def _little(numbers: array[Any]) -> array[Any]:
    """Return numbers in the order of bytes that files have, or turn them back."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _snapshot(data: bytes, path: Path) -> Snapshot:
    """Return the snapshot of a file, each number of it looked at."""
    end = data.find(b"\n")
    header = _document(data[: max(end, 0)], path, format_=_FORMAT)
    try:
        count, names = header["statements"], header["columns"]
        if names != list(_COLUMNS):
            raise ValueError("its columns are not known")
        if type(count) is not int or len(data) - end - 1 != 8 * count * len(names):
            raise ValueError("it lacks statements")
        columns = list(_columns(memoryview(data)[end + 1 :], count))
        keys = list(zip(columns[0], columns[1], map(bool, columns[2]), strict=True))
        rows = zip(*columns[_KEYS : _KEYS + _MOMENTS], strict=True)
        moments = dict(zip(keys, map(tuple.__new__, repeat(Moments), rows), strict=False))
        rows = zip(*columns[_KEYS + _MOMENTS :], strict=True)
        costs = dict(zip(keys, map(tuple.__new__, repeat(Costs), rows), strict=False))
        numbers = [header[name] for name in ("at", "reset_at", "started_at")]
        counted = [header[name] for name in ("dealloc", "hidden")]
        if not all(type(each) in (int, float) and math.isfinite(each) for each in numbers):
            raise ValueError("it says no time")
        if not all(type(each) is int for each in counted):
            raise ValueError("it does not say what was thrown out")
        if not all(isinstance(header[name], str) for name in ("server", "database")):
            raise ValueError("it names no server")
    except KeyError as error:
        raise _damaged(path, f"it lacks {error}") from None
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    at, reset_at, started_at = map(float, numbers)
    counts = Counts(at, moments, counted[0], reset_at, counted[1], 0.0)
    return Snapshot(counts, costs, header["server"], header["database"], started_at)


def _columns(data: memoryview, count: int) -> Iterator[Sequence[Any]]:
    """Yield the columns of so many rows; raises ValueError for what is not a number."""
    for place, name in enumerate(_COLUMNS):
        column = array("q" if name in _INTEGERS else "d")
        column.frombytes(data[8 * count * place : 8 * count * (place + 1)])
        _little(column)
        if name in _OPTIONAL:
            some = [None if each != each else each for each in column]
            finite = all(each is None or math.isfinite(each) for each in some)
            values: Sequence[Any] = some
        else:
            values, finite = column, math.isfinite(sum(column))
        if not finite:
            raise ValueError("a row of it is not one of numbers")
        yield values


def _not_finite(text: str) -> Any:
    raise ValueError(f"{text} is not finite")


def _save(path: Path, data: bytes) -> None:
    """Write a packed file whole or not at all, readable by its owner alone."""
    try:
        for folder in reversed([path.parent, *path.parent.parents][:4]):
            folder.mkdir(mode=0o700, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")  # 0600
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(gzip.compress(data, compresslevel=1, mtime=0))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OpsError(
            "The snapshot was not kept",
            why=f"{path}: {error.strerror or type(error).__name__}",
            hint="is there room on the disk, and may the directory be written?",
            code="snapshot-not-kept",
            exit=Exit.UNKNOWN,
        ) from None


def _load(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            raise _damaged(path, "it is larger than any snapshot")
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
            text = unpacked.read(_LARGEST + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise _damaged(path, "it is cut off, or not packed by gzip") from None
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be read") from None
    if len(text) > _LARGEST:
        raise _damaged(path, "it unpacks to more than any snapshot")
    return text


def _document(text: bytes, path: Path, *, format_: int) -> dict[str, Any]:
    try:
        document = json.loads(text, parse_constant=_not_finite)
    except (ValueError, RecursionError):
        raise _damaged(path, "it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != format_:
        raise _damaged(path, "it is not in a format that this opsctl knows")
    return document


def _damaged(path: Path, why: str) -> OpsError:
    return OpsError(
        "A stored snapshot is damaged",
        why=f"{path}: {why}",
        hint=f"remove it: rm {path}",
        code="snapshot-damaged",
        exit=Exit.UNKNOWN,
    )


def _unreadable(path: Path, why: str) -> OpsError:
    return OpsError(
        "A stored snapshot was not read",
        why=f"{path}: {why}",
        hint="check the rights of the directory",
        code="snapshot-unreadable",
        exit=Exit.UNKNOWN,
    )
