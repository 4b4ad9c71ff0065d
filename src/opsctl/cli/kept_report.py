"""The last report of a bundle check, as it was written, while nothing that it came from changes.

It is answered from by looking at files and reading none of them. What was not plainly well to
keep is not kept: reports with secrets, with what could not be read, with packages in several
versions, and those of files that changed so shortly before that they may change again unseen.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import opsctl
from opsctl.cli.kept_settings import private_path, read_privately, write_privately

if TYPE_CHECKING:
    from types import SimpleNamespace

    from opsctl.core.report import Report

_SETTLED_NS = 2_000_000_000
_PARENTS = 3
"""Directories above the place asked for that may be the project's: as the check looks."""
_APART = frozenset(("node_modules", ".git", ".opsctl", ".cache", "__pycache__"))
"""Directories that no build's files are read from."""


def recall(place: str, key: list[Any], *, kept: SimpleNamespace) -> tuple[int, str] | None:
    """Return (exit code, text) of the same check as `key` says it, or None where it may differ.

    `place` is the directory asked for, absolute; `kept` are the settings.
    """
    path = private_path("bundle", os.fsencode(place))
    if path is None:
        return None
    try:
        document = read_privately(path)
        if document["key"] != _whole(key, kept):
            return None
        if document["stamps"] != stamps(place, document["build"], kept)[0]:
            return None
        return int(document["code"]), str(document["text"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def keep(
    place: str,
    key: list[Any],
    *,
    kept: SimpleNamespace,
    report: Report,
    began_ns: int,
    answer: tuple[int, str],
) -> None:
    """Keep the answer of a check that began at a time; where that cannot be done, it is not."""
    path = private_path("bundle", os.fsencode(place))
    data = report.data
    plain = not data["exposures"] and not data["secrets"] and not data["duplicates"]
    if path is None or not plain or any(each.status == "unknown" for each in report.findings):
        return
    build = os.path.join(kept.root, data["build"])  # noqa: PTH118
    try:
        seen, newest = stamps(place, build, kept)
    except OSError:
        return
    if newest < began_ns - _SETTLED_NS:
        document = {"key": _whole(key, kept), "build": build, "stamps": seen}
        write_privately(path, {**document, "code": answer[0], "text": answer[1]})


def stamps(place: str, build: str, kept: SimpleNamespace) -> tuple[str, int]:
    """Return what would be another if the report could be, and when the last of it changed.

    That is the build, what tells where it lies, the project's packages and `.env` files, what
    the settings name, the libraries, and opsctl itself.
    """
    seen = _Seen()
    manifest = os.path.join(build, "build-manifest.json")  # noqa: PTH118
    seen.below(build, but=frozenset() if os.path.exists(manifest) else _APART)  # noqa: PTH110
    seen.below(opsctl.__path__[0], but=_APART)
    for folder in dict.fromkeys((place, os.path.join(place, kept.bundle.build or "."))):  # noqa: PTH118
        seen.within(folder)
    above = place
    for _ in range(1 + _PARENTS):
        seen.file(above, "package.json")
        if kept.bundle.stats:
            seen.file(above, kept.bundle.stats)
        for name in sorted(name for name in os.listdir(above) if name.startswith(".env")):  # noqa: PTH208
            seen.file(above, name)
        above = os.path.dirname(above)  # noqa: PTH120
    seen.file(build, "../node_modules/next/package.json")
    seen.file(kept.root, ".gitleaksignore")
    if kept.secrets_scan.baseline:
        seen.file(kept.root, kept.secrets_scan.baseline)
    for each in sys.path:
        seen.file(each)
    return "\n".join(seen.lines), seen.newest


def _whole(key: list[Any], kept: SimpleNamespace) -> list[Any]:
    return [opsctl.__version__, sys.version, repr(kept), *key]


class _Seen:
    """What files look like, a line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.newest = 0

    def file(self, *parts: str) -> None:
        """Note a file or a directory, or that it is not there."""
        path = os.path.join(*parts)  # noqa: PTH118
        try:
            stat = os.stat(path)  # noqa: PTH116
        except OSError:
            self.lines.append(path)
            return
        self.newest = max(self.newest, stat.st_mtime_ns, stat.st_ctime_ns)
        look = (stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        self.lines.append(f"{path} {look}")

    def within(self, folder: str) -> None:
        """Note a directory and those right within it: they change with what comes and goes."""
        self.file(folder)
        with os.scandir(folder) as entries:
            names = sorted(each.name for each in entries if each.is_dir())
        for name in names:
            if name not in _APART:
                self.file(folder, name)

    def below(self, folder: str, *, but: frozenset[str]) -> None:
        """Note a directory and everything within, `but` directories of some names."""
        self.file(folder)
        with os.scandir(folder) as entries:
            found = sorted((each.name, each.is_dir(follow_symlinks=False)) for each in entries)
        for name, folder_too in found:
            if not folder_too:
                self.file(folder, name)
            elif name not in but:
                self.below(os.path.join(folder, name), but=but)  # noqa: PTH118
