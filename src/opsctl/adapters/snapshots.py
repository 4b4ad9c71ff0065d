"""Stored snapshots of statement statistics: gzipped JSON, one file each, for its owner alone.

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
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsctl.adapters.statements import Costs, Counts, Key, Moments, Snapshot
from opsctl.core.errors import Exit, OpsError

_FORMAT = 1
_LARGEST = 200_000_000
"""Bytes of JSON: 5,000 statements take 1.5 million."""
_LARGEST_FILE = 50_000_000
_NAME = re.compile(r"(\d{13})\.json\.gz")
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
        path = self._folder / f"{round(snapshot.counts.at * 1000):013d}.json.gz"
        _save(path, _document(snapshot))
        for stored in self.list()[:-keep]:
            with contextlib.suppress(FileNotFoundError):
                stored.path.unlink()
        self._sweep()
        return path

    def write_baseline(self, name: str, document: dict[str, Any]) -> Path:
        """Keep a baseline, in the place of one of the same name."""
        path = self._baseline(name)
        _save(path, {"format": _FORMAT, **document})
        return path

    def read_baseline(self, name: str) -> dict[str, Any] | None:
        """Return a baseline, or None where there is none of that name."""
        path = self._baseline(name)
        return _load(path) if path.exists() else None

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
        """Remove what a writer that was killed left behind."""
        for path in self._folder.glob(".*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > 3600:
                    path.unlink()


def _document(snapshot: Snapshot) -> dict[str, Any]:
    counts = snapshot.counts
    return {
        "format": _FORMAT,
        "server": snapshot.server,
        "database": snapshot.database,
        "started_at": snapshot.started_at,
        "at": counts.at,
        "reset_at": counts.reset_at,
        "dealloc": counts.dealloc,
        "hidden": counts.hidden,
        "moments": list(Moments._fields),
        "costs": list(Costs._fields),
        "statements": [
            [*key, *moments, *snapshot.costs[key]] for key, moments in counts.moments.items()
        ],
    }


def _snapshot(document: dict[str, Any], path: Path) -> Snapshot:
    """Return the snapshot that a document describes, each number of it looked at."""
    try:
        moment_names, cost_names = document["moments"], document["costs"]
        if moment_names != list(Moments._fields):
            raise ValueError("its columns are not known")
        # A later version may count more; what this one does not know is left out.
        places = [cost_names.index(name) if name in cost_names else None
                  for name in Costs._fields]  # fmt: skip
        moments: dict[Key, Moments] = {}
        costs: dict[Key, Costs] = {}
        last = 3 + len(moment_names)
        width = last + len(cost_names)
        identical = cost_names == list(Costs._fields)
        for row in document["statements"]:
            if len(row) != width or not _numbers(row):
                raise ValueError("a row of it is not one of numbers")
            key = (row[0], row[1], row[2])
            if not (type(key[0]) is int and type(key[1]) is int and type(key[2]) is bool):
                raise ValueError("a row of it names no statement")
            if type(row[3]) is not int or None in row[4:9]:
                raise ValueError("a row of it is not one of numbers")
            moments[key] = Moments._make(row[3:last])
            rest = row[last:]
            costs[key] = Costs._make(
                rest if identical else [0 if at is None else rest[at] for at in places]
            )
        numbers = [document[name] for name in ("at", "reset_at", "started_at")]
        counted = [document[name] for name in ("dealloc", "hidden")]
        if not _numbers(numbers + counted) or None in numbers + counted:
            raise ValueError("it says no time")
        if not all(isinstance(document[name], str) for name in ("server", "database")):
            raise ValueError("it names no server")
        at, reset_at, started_at = map(float, numbers)
        dealloc, hidden = map(int, counted)
    except (KeyError, TypeError, IndexError) as error:
        raise _damaged(path, f"it lacks {error}" if isinstance(error, KeyError)
                       else "it is not a snapshot") from None  # fmt: skip
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    counts = Counts(at, moments, dealloc, reset_at, hidden, 0.0)
    return Snapshot(counts, costs, document["server"], document["database"], started_at)


_KINDS = frozenset({int, float, bool, type(None)})


def _numbers(row: list[Any]) -> bool:
    """Whether everything in a row is a number, a truth value or nothing."""
    # What a float cannot hold was read as infinite.
    return _KINDS.issuperset(map(type, row)) and math.inf not in row and -math.inf not in row


def _not_finite(text: str) -> Any:
    raise ValueError(f"{text} is not finite")


def _save(path: Path, document: dict[str, Any]) -> None:
    """Write a file whole or not at all, readable by its owner alone."""
    try:
        for folder in reversed([path.parent, *path.parent.parents][:4]):
            folder.mkdir(mode=0o700, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")  # 0600
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                text = json.dumps(document, separators=(",", ":"), allow_nan=False)
                file.write(gzip.compress(text.encode(), compresslevel=1, mtime=0))
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


def _load(path: Path) -> dict[str, Any]:
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
    try:
        document = json.loads(text, parse_constant=_not_finite)
    except (ValueError, RecursionError):
        raise _damaged(path, "it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
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
