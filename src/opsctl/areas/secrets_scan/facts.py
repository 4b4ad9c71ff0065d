"""What a scan is asked, and what it saw; nothing here judges."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsctl.adapters.secret_scanner.patterns import Patterns
from opsctl.adapters.secret_scanner.reading import chunks, decoded
from opsctl.adapters.secret_scanner.scanner import Found, Scanner
from opsctl.adapters.secret_scanner.sighting import Place
from opsctl.areas.secrets_scan.crew import Scanned, Work, cores, scan_files
from opsctl.areas.secrets_scan.tree import list_targets


@dataclass(frozen=True)
class Asked:
    """What is to be scanned."""

    paths: tuple[Path, ...] = ()
    staged: bool = False
    since: str = ""
    history: bool = False
    bundle: Path | None = None
    stdin: bool = False
    ignored: bool = False
    jobs: int = 0

    @property
    def workers(self) -> int:
        """How many processes scan."""
        return self.jobs or min(cores(), 16)


@dataclass(frozen=True)
class Origin:
    """Where in the history a finding came in."""

    commit: str
    """Empty for what no commit holds."""
    author: str = ""
    date: str = ""
    kind: str = "blob"
    """`blob`, `commit` for a commit's message, `tag` for a tag's."""
    object: str = ""
    still_there: bool = False
    """Whether the working tree has it, too."""


@dataclass(frozen=True)
class Facts:
    """What was seen."""

    what: str
    """For a headline: `the working tree`."""
    found: tuple[Found, ...]
    not_scanned: tuple[tuple[str, str], ...] = ()
    files: int = 0
    bytes: int = 0
    engine: str = ""
    warm: bool = False
    notes: tuple[str, ...] = ()
    origins: Mapping[int, Origin] = field(default_factory=dict)
    """By the index of the finding, in a scan of the history."""
    rules: int = 0
    env_files: tuple[str, ...] = ()
    """Files of variables with values that git tracks."""
    refs: Mapping[str, str] = field(default_factory=dict)
    """Supabase project -> environment, of the settings."""
    ours: Mapping[str, str] = field(default_factory=dict)
    """Hash of a key of the settings -> whose and which it is."""


def scan_tree(patterns: Patterns, asked: Asked) -> Facts:
    """Scan files and directories; raises OpsError `no-such-path` (exit 2)."""
    listing = list_targets(asked.paths or (Path(),), ignored=asked.ignored)
    work = Work(patterns, listing.targets, ignored=asked.ignored)
    scanned = scan_files(work, jobs=asked.workers)
    notes = list(listing.notes)
    if listing.passed_over:
        shown = ", ".join(listing.passed_over[:5])
        more = "" if len(listing.passed_over) <= 5 else f" and {len(listing.passed_over) - 5} more"
        notes.append(f"passed over, since they are no plain files: {shown}{more}")
    what = "the working tree" if not asked.paths else ", ".join(map(str, asked.paths))
    return Facts(
        what,
        tuple(scanned.found),
        not_scanned=(*listing.not_scanned, *scanned.not_scanned),
        notes=tuple(notes),
        env_files=tuple(
            target.shown
            for target in listing.targets
            if target.tracked and is_env_file(target.shown) and _holds_values(target.path)
        ),
        **_counts(patterns, scanned),
    )


def scan_stdin(patterns: Patterns) -> Facts:
    """Scan what comes in, as it comes."""
    scanner = Scanner(patterns)
    stream = iter(lambda: sys.stdin.buffer.read(1 << 20), b"")
    first = next(stream, b"")
    whole = decoded(first)

    start = whole if whole is not None else first
    found = scanner.scan(chunks(itertools.chain((start,), stream)), Place("stdin"))
    scanned = Scanned(found, [], 1, scanner.bytes)
    return Facts("standard input", tuple(found), **_counts(patterns, scanned))


def is_env_file(path: str) -> bool:
    """Whether a file is one of variables, and no example of one."""
    name = os.path.basename(path).lower()  # noqa: PTH119 - no file
    if not (name == ".env" or name.startswith(".env.") or name.endswith(".env")):
        return False
    return not any(
        word in name
        for word in (
            "example",
            "sample",
            "template",
            "dist",
            "schema",
            "test",
            "vault",
            "keys",
            ".d.ts",
        )
    )


def _holds_values(path: str) -> bool:
    """Whether some variable in it that is not public has a value worth hiding."""
    from opsctl.adapters.secret_scanner.variables import private_values

    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")[:1_000_000]
    except OSError:
        return False
    return bool(private_values(text))


def _counts(patterns: Patterns, scanned: Scanned) -> dict[str, Any]:
    return {
        "files": scanned.files,
        "bytes": scanned.bytes,
        "engine": patterns.engine,
        "warm": patterns.warm,
        "rules": len(patterns.rules),
    }
