"""Scan many files with every core: alone while it is quick, then with processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from opsctl.adapters.secret_scanner.patterns import Patterns
from opsctl.adapters.secret_scanner.reading import NotScanned
from opsctl.adapters.secret_scanner.scanner import Found, Scanner
from opsctl.adapters.secret_scanner.sighting import Place
from opsctl.areas.secrets_scan.tree import Target, list_directory
from opsctl.core.errors import Exit, OpsError

_ALONE_S = 0.05
"""A process costs some 15 ms to start: what is done by then needs none."""
_MANY = 1024
"""Files that never are done by then."""
_BATCH = 64


@dataclass
class Scanned:
    """What came of scanning some files."""

    found: list[Found] = field(default_factory=list)
    not_scanned: list[tuple[str, str]] = field(default_factory=list)
    """(path, why)."""
    files: int = 0
    bytes: int = 0

    def add(self, other: Scanned) -> None:
        """Take in what another scan came to."""
        self.found += other.found
        self.not_scanned += other.not_scanned
        self.files += other.files
        self.bytes += other.bytes


@dataclass(frozen=True)
class Work:
    """What every process does."""

    patterns: Patterns
    targets: Sequence[Target]
    client: bool = False
    """Whether all of it goes to browsers."""
    ignored: bool = False


def cores() -> int:
    """Return how many processes can run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def scan_files(work: Work, *, jobs: int) -> Scanned:
    """Scan files and return what was found, in order of path and line.

    Raises OpsError `scan-process-ended` (exit 3) where a process ended before its work did.
    """
    scanned = Scanned()
    many = jobs > 1 and len(work.targets) > _MANY
    at = 0 if many else _scan_for(work, scanned, seconds=_ALONE_S if jobs > 1 else float("inf"))
    left = len(work.targets) - at
    if left:
        scanned.add(_with_processes(work, at, jobs=min(jobs, 1 + left // _BATCH)))
    scanned.found.sort(key=lambda found: (found.path, found.line, found.column, found.rule))
    scanned.not_scanned.sort()
    return scanned


def scan_targets(work: Work, targets: Iterable[Target], scanner: Scanner) -> Scanned:
    """Scan files one after another in this process."""
    scanned = Scanned()
    before = scanner.bytes
    for target in targets:
        place = Place(target.shown, client=work.client)
        try:
            scanned.found += scanner.scan_file(target.path, place, follow=target.follow)
            scanned.files += 1
        except NotScanned as error:
            scanned.not_scanned.append((target.shown, str(error)))
        except IsADirectoryError:
            # A submodule: git names it as if it were a file.
            inner = list_directory(target.path, target.shown, ignored=work.ignored)
            scanned.not_scanned += inner.not_scanned
            part = scan_targets(work, inner.targets, scanner)
            part.bytes = 0
            scanned.add(part)
    scanned.bytes += scanner.bytes - before
    return scanned


def _scan_for(work: Work, scanned: Scanned, *, seconds: float) -> int:
    """Scan until the time is up and return how many files were."""
    scanner = Scanner(work.patterns)
    ends = time.perf_counter() + seconds
    at = 0
    while at < len(work.targets) and time.perf_counter() < ends:
        scanned.add(scan_targets(work, work.targets[at : at + 1], scanner))
        at += 1
    return at


def _with_processes(work: Work, start: int, *, jobs: int) -> Scanned:
    import multiprocessing

    # Forked, a process has the compiled patterns and the list for nothing.
    method = "fork" if sys.platform == "linux" else "spawn"
    context: Any = multiprocessing.get_context(method)
    counter = context.Value("q", start)
    scanned = Scanned()
    children = []
    for _ in range(jobs - 1):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(work, counter, theirs), daemon=True)
        child.start()
        theirs.close()
        children.append((child, ours))
    try:
        scanned.add(_take_batches(work, counter))
        for child, pipe in children:
            try:
                scanned.add(pipe.recv())
            except EOFError:
                child.join()
                raise OpsError(
                    "A process of the scan ended before its work did",
                    why=f"its exit code was {child.exitcode}; not every file was looked at",
                    hint="run it again with --jobs 1, or on fewer paths",
                    code="scan-process-ended",
                    exit=Exit.UNKNOWN,
                ) from None
            child.join()
    finally:
        for child, pipe in children:
            pipe.close()
            if child.is_alive():
                child.kill()
    return scanned


def _child(work: Work, counter: Any, pipe: Any) -> None:
    pipe.send(_take_batches(work, counter))
    pipe.close()


def _take_batches(work: Work, counter: Any) -> Scanned:
    scanner = Scanner(work.patterns)
    scanned = Scanned()
    total = len(work.targets)
    while True:
        with counter.get_lock():
            at = counter.value
            counter.value = at + _BATCH
        if at >= total:
            return scanned
        scanned.add(scan_targets(work, work.targets[at : at + _BATCH], scanner))
