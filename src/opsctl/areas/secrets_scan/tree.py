"""Which files there are: what git knows and does not ignore, or every file of a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from opsctl.core.errors import Exit, OpsError


class Target(NamedTuple):
    """A file to scan."""

    path: str
    """As the system knows it, absolute or relative to where opsctl was called."""
    shown: str
    """Relative to what is scanned, with slashes."""
    tracked: bool = False
    follow: bool = False
    """Whether it was named itself: then a link is followed."""


@dataclass
class Listing:
    """The files found, and what could not be listed."""

    targets: list[Target] = field(default_factory=list)
    not_scanned: list[tuple[str, str]] = field(default_factory=list)
    """(path, why)."""
    passed_over: list[str] = field(default_factory=list)
    """FIFOs, sockets and devices: they hold nothing."""
    notes: list[str] = field(default_factory=list)


def list_targets(paths: Sequence[Path], *, ignored: bool) -> Listing:
    """Return the files under `paths`, in order; raises OpsError `no-such-path` (exit 2)."""
    listing = Listing()
    for path in paths:
        text = os.fspath(path)
        if os.path.isdir(text):  # noqa: PTH112 - many files, little time
            prefix = "" if text in (".", "./") or path.is_absolute() else _slashes(text)
            _add_directory(listing, text, prefix, ignored=ignored)
        elif os.path.lexists(text):
            shown = path.name if path.is_absolute() else _slashes(text)
            listing.targets.append(Target(text, shown, follow=True))
        else:
            raise OpsError(
                f"There is no {text}",
                why="it is neither a file nor a directory",
                hint="opsctl secrets-scan scan PATH; without a path it is the current directory",
                code="no-such-path",
            )
    return listing


def list_directory(path: str, shown: str, *, ignored: bool) -> Listing:
    """Return the files of a directory within what is scanned, such as a submodule."""
    listing = Listing()
    _add_directory(listing, path, shown, ignored=ignored)
    return listing


def work_tree_above(path: str) -> str | None:
    """Return the nearest directory above that has a `.git`, or None."""
    folder = os.path.abspath(path)  # noqa: PTH100
    while True:
        if os.path.lexists(os.path.join(folder, ".git")):  # noqa: PTH118
            return folder
        parent = os.path.dirname(folder)  # noqa: PTH120
        if parent == folder:
            return None
        folder = parent


def _add_directory(listing: Listing, root: str, prefix: str, *, ignored: bool) -> None:
    start = f"{prefix.rstrip('/')}/" if prefix else ""
    join = root.rstrip("/") + "/" if root != "." else ""
    if not ignored and work_tree_above(root) is not None:
        # Where git is not asked, what starts programs need not be imported.
        from opsctl.adapters.git_objects import GitFailed, list_files

        try:
            for name, tracked in list_files(root):
                if name.endswith("/"):
                    # Another repository within this one: git lists its name alone.
                    _add_directory(listing, join + name[:-1], start + name[:-1], ignored=False)
                else:
                    listing.targets.append(Target(join + name, start + name, tracked))
            return
        except (GitFailed, OpsError) as error:
            why = error.why if isinstance(error, OpsError) else str(error)
            listing.notes.append(f"git could not list {root}, so every file is scanned: {why}")
    for path, name in _walk(listing, join, ""):
        listing.targets.append(Target(path, start + name))


def _walk(listing: Listing, root: str, inner: str) -> Iterator[tuple[str, str]]:
    """Yield (path, path within) of every plain file; links are not followed, so none is a trap."""
    stack = [inner]
    while stack:
        inner = stack.pop()
        try:
            with os.scandir(root + inner or ".") as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            listing.not_scanned.append(
                (inner or root, f"the directory could not be read: {error.strerror}")
            )
            continue
        folders = []
        for entry in ordered:
            name = inner + entry.name
            if entry.is_file(follow_symlinks=False):
                yield root + name, name
            elif entry.is_dir(follow_symlinks=False):
                if entry.name != ".git":
                    folders.append(name + "/")
            elif not entry.is_symlink():
                listing.passed_over.append(name)
        stack += reversed(folders)


def _slashes(path: str) -> str:
    return os.path.normpath(path).replace(os.sep, "/")


def no_repository(folder: str) -> OpsError:
    """Return the error for a question that only a repository can answer."""
    return OpsError(
        f"The directory {folder} is in no git repository",
        why="neither it nor a directory above has a .git",
        hint="opsctl secrets-scan scan PATH scans files without git",
        code="not-a-checkout",
        exit=Exit.UNKNOWN,
    )
