"""What may stay: allow-lists of the settings, a baseline of what is known, .gitleaksignore."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from opsctl.adapters.globs import without_repetition
from opsctl.core.errors import OpsError

BASELINE = ".opsctl-secrets-baseline"
_HEAD = "# Known findings of opsctl secrets-scan: hash of rule, path and secret; rule; path.\n"
_LINE = re.compile(r"([0-9a-f]{32}) ([\w.-]{1,80}) (.+)")
_MOST = 64 * 1024 * 1024


class Known(Protocol):
    """What is compared: a finding."""

    @property
    def rule(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def secret(self) -> str: ...
    @property
    def line(self) -> int: ...


def key_of(found: Known) -> str:
    """Return a hash of rule, path and secret: the same wherever in the file it stands."""
    text = "\0".join((found.rule, found.path, found.secret))
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclass(frozen=True)
class Allowed:
    """Tells whether a finding is expected."""

    paths: tuple[re.Pattern[str], ...] = ()
    values: tuple[re.Pattern[str], ...] = ()
    hashes: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    """Keys of the baseline."""
    ignored: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    """(path, line) of .gitleaksignore, whatever the rule is called there."""

    def why(self, found: Known, *, commit: str = "") -> str:
        """Return why a finding may stay, or nothing."""
        if any(pattern.match(found.path) for pattern in self.paths):
            return "path"
        if any(pattern.match(found.secret) for pattern in self.values):
            return "value"
        digest = sha256(found.secret.encode("latin-1", "replace")).hexdigest()
        if digest in self.hashes:
            return "value"
        if self.known and key_of(found) in self.known:
            return "baseline"
        places = {(found.path, str(found.line)), (f"{commit}:{found.path}", str(found.line))}
        return "gitleaksignore" if places & self.ignored else ""


def allowed_by(
    *,
    paths: Sequence[str],
    values: Sequence[str],
    baseline: Path | None,
    ignore_file: Path,
) -> Allowed:
    """Read what is allowed; raises OpsError `baseline-unreadable` or `bad-baseline` (exit 2)."""
    hashes = frozenset(
        value.removeprefix("sha256:") for value in values if value.startswith("sha256:")
    )
    return Allowed(
        paths=tuple(re.compile(_path_pattern(each)) for each in paths),
        values=tuple(re.compile(translate(v)) for v in values if not v.startswith("sha256:")),
        hashes=hashes,
        known=frozenset(read_baseline(baseline)) if baseline is not None else frozenset(),
        ignored=_gitleaksignore(ignore_file),
    )


def read_baseline(path: Path) -> dict[str, str]:
    """Return key -> its line, of a baseline file."""
    try:
        if path.stat().st_size > _MOST:
            raise _bad(path, "it is too large for a baseline")
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise OpsError(
            f"The baseline {path} could not be read",
            why=error.strerror or type(error).__name__,
            hint="opsctl secrets-scan baseline create",
            code="baseline-unreadable",
        ) from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise _bad(path, f"line {number} is not: hash, rule, path")
        found[match[1]] = line
    return found


def write_baseline(path: Path, lines: Iterable[str]) -> None:
    """Write a baseline: sorted, one finding a line, so that merges do not conflict."""
    text = _HEAD + "".join(f"{line}\n" for line in sorted(set(lines)))
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(text, encoding="utf-8", errors="surrogateescape")
        new.replace(path)
    except OSError as error:
        raise OpsError(
            f"The baseline {path} was not written",
            why=error.strerror or type(error).__name__,
            hint="give another --file",
            code="baseline-not-written",
        ) from None


def baseline_line(found: Known) -> str:
    """Return a finding's line in a baseline."""
    path = found.path.replace("\n", "?")
    return f"{key_of(found)} {found.rule} {path}"


def _gitleaksignore(path: Path) -> frozenset[tuple[str, str]]:
    try:
        if not path.is_file():
            return frozenset()
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return frozenset()
    found = set()
    for line in text.splitlines():
        parts = line.strip().split(":")
        # [commit:]path:rule:line; a path may hold a colon, the rule and the line may not.
        if not line.startswith("#") and len(parts) >= 3 and parts[-1].isdigit():
            found.add((":".join(parts[:-2]), parts[-1]))
    return frozenset(found)


def _path_pattern(glob: str) -> str:
    """Return a regular expression for a glob as git's: `**` crosses directories, `*` does not."""
    text = without_repetition(glob.replace(os.sep, "/").removeprefix("./"))
    if text.endswith("/"):
        text += "**"
    found = "" if "/" in text.rstrip("/") else "(?:.*/)?"
    at = 0
    while at < len(text):
        if text.startswith("**/", at):
            found += "(?:.*/)?"
            at += 3
        elif text.startswith("**", at):
            found += ".*"
            at += 2
        else:
            sign = text[at]
            found += {"*": "[^/]*", "?": "[^/]"}.get(sign, re.escape(sign))
            at += 1
    return found + r"\Z"


def _bad(path: Path, why: str) -> OpsError:
    return OpsError(
        f"The baseline {path} was not understood",
        why=why,
        hint="opsctl secrets-scan baseline create writes it anew",
        code="bad-baseline",
    )
