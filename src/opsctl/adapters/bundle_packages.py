"""Which package a module is of, in which version, and which packages are there twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from opsctl.adapters.bundle_build import read_manifest, table
from opsctl.core.errors import OpsError

_PNPM = re.compile(r"node_modules/\.pnpm/(@[^/+]+\+)?([^/@]+)@([^/_(]+)")
_PARENTS = 4
"""Directories above the project that may hold its packages: a workspace."""


@dataclass(frozen=True)
class Duplicate:
    """A package that is bundled from more than one place."""

    name: str
    copies: tuple[tuple[str, str, int], ...]
    """(version, or ? where it is not known; directory; bytes), the largest first."""

    @property
    def versions(self) -> tuple[str, ...]:
        """The different versions, sorted."""
        return tuple(sorted({version for version, _, _ in self.copies}))


def package_of(module: str) -> tuple[str, str] | None:
    """Return (name, directory) of the package that a module's path lies in; None for the own."""
    before, found, after = module.rpartition("node_modules/")
    if not found:
        return None
    parts = after.split("/")
    count = 2 if parts[0].startswith("@") else 1
    name = "/".join(parts[:count])
    return (name, f"{before}node_modules/{name}") if name and len(parts) > count else None


def find_duplicates(modules: Mapping[str, int], project: Path) -> tuple[Duplicate, ...]:
    """Return the packages that lie in more than one version, the largest waste first.

    `modules` is path -> bytes. Copies of one version in two places count, too.
    """
    places: dict[str, dict[str, int]] = {}
    for module, size in modules.items():
        package = package_of(module)
        if package is not None:
            name, folder = package
            copies = places.setdefault(name, {})
            copies[folder] = copies.get(folder, 0) + size
    lock = _LockFile(project)
    found = []
    for name, folders in places.items():
        if len(folders) < 2:
            continue
        known = [(version_of(folder, project, lock), folder, size)
                  for folder, size in folders.items()]  # fmt: skip
        known.sort(key=lambda copy: (-copy[2], copy[1]))
        found.append(Duplicate(name, tuple(known)))
    found.sort(key=lambda each: (-sum(size for _, _, size in each.copies[1:]), each.name))
    return tuple(found)


class _LockFile:
    """The versions of npm's lock file by directory, read when first asked for."""

    def __init__(self, project: Path) -> None:
        self._path = project / "package-lock.json"
        self._packages: dict[str, object] | None = None

    def version(self, folder: str) -> str | None:
        if self._packages is None:
            try:
                self._packages = table((read_manifest(self._path) or {}).get("packages"))
            except OpsError:
                self._packages = {}
        found = table(self._packages.get(folder)).get("version")
        return found if isinstance(found, str) else None


def version_of(folder: str, project: Path, lock: _LockFile) -> str:
    """Return a package's version: its directory's name, its package.json, or the lock file."""
    pnpm = _PNPM.search(folder)
    if pnpm is not None and folder.count("node_modules/") == 2:
        return pnpm.group(3)
    # A source map may begin above the project, or below the directory it was made in.
    for spelling in dict.fromkeys((folder, folder[folder.index("node_modules/") :])):
        if ".." in spelling.split("/"):
            continue
        for base in (project, *list(project.parents)[:_PARENTS]):
            version = _installed(base / spelling / "package.json")
            if version is not None:
                return version
        version = lock.version(spelling)
        if version is not None:
            return version
    return "?"


def _installed(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            found = table(json.loads(file.read(1 << 20))).get("version")
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def join_sizes(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of sizes by name."""
    total: dict[str, int] = {}
    for part in parts:
        for name, size in part.items():
            total[name] = total.get(name, 0) + size
    return total
