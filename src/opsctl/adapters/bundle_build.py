"""What a bundler left: which files each route loads first, and which are served at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from opsctl.core.errors import Exit, OpsError

SCRIPTS = (".js", ".mjs", ".cjs")
STYLES = (".css",)
_MANIFEST_BYTES = 64 << 20
"""A manifest of a thousand routes is about 2 MB."""
_MOST_FILES = 100_000


@dataclass(frozen=True)
class Route:
    """What one address of the application loads before anybody has done anything there."""

    name: str
    """As the router writes it: `/products/[id]`."""
    router: str
    """app, pages, html or files."""
    files: tuple[str, ...]
    """Scripts and styles, as paths below the build's `root`, in the order they were named."""


@dataclass(frozen=True)
class Trouble:
    """Something about a build that could not be looked at."""

    route: str
    """Empty where it concerns all of them."""
    what: str
    why: str


@dataclass(frozen=True)
class Build:
    """One build. Paths of files are relative to `root`, with forward slashes."""

    tool: str
    """For a person: `Next.js 16.4.6 (Turbopack)`."""
    root: Path
    routes: tuple[Route, ...]
    served: tuple[str, ...]
    """Every script, style and source map that can be asked for."""
    shared: frozenset[str] = frozenset()
    """What the framework loads on every route of a router."""
    labels: tuple[tuple[str, str], ...] = ()
    """(file, what is in it), where the build says so: names that outlive a build."""
    legacy: tuple[str, ...] = ()
    """Loaded by browsers without modules alone, so part of no first load: polyfills."""
    troubles: tuple[Trouble, ...] = ()
    notes: tuple[str, ...] = ()
    """What the build does not say, in sentences for a person."""


def is_script(name: str) -> bool:
    """Whether a file is JavaScript by its name."""
    return name.endswith(SCRIPTS)


def is_style(name: str) -> bool:
    """Whether a file is CSS by its name."""
    return name.endswith(STYLES)


def is_asset(name: str) -> bool:
    """Whether a file is a script or a style by its name."""
    return name.endswith(SCRIPTS + STYLES)


def walk(root: Path, *, skip: frozenset[str] = frozenset()) -> Iterator[str]:
    """Give every regular file below a directory, sorted, as a path relative to it.

    Links to directories are not followed, so links in a circle have an end; `skip` names
    directories to stay out of. Raises OpsError `build-too-large` (exit 3) for more than a
    hundred thousand files, and `build-unread` for a directory that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise OpsError(
            f"The build in {root} was not read whole",
            why=f"{error.filename}: {error.strerror}",
            hint="let whoever runs this read the build",
            code="build-unread",
            exit=Exit.UNKNOWN,
        ) from None

    count = 0
    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if name not in skip)
        base = os.path.relpath(folder, root)
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - thousands of them
            try:
                regular = stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
            except OSError:
                continue  # a link to nothing, or gone meanwhile
            if not regular:
                continue
            count += 1
            if count > _MOST_FILES:
                raise OpsError(
                    f"The build in {root} was not read",
                    why=f"it holds more than {_MOST_FILES:,} files",
                    hint="does `bundle.build` in the settings name the directory of the build?",
                    code="build-too-large",
                    exit=Exit.UNKNOWN,
                )
            yield name if base == "." else f"{base.replace(os.sep, '/')}/{name}"


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return a JSON object of the build; None where there is no such file.

    Raises OpsError `bad-manifest` (exit 3).
    """
    text = read_text(path)
    if text is None:
        return None
    return parse_object(text, path)


def read_text(path: Path) -> str | None:
    """Return the text of a manifest; None where there is no such file.

    Raises OpsError `bad-manifest` (exit 3) where it cannot be read or is too large.
    """
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise bad_manifest(path, "it is no regular file")
            data = file.read(_MANIFEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise bad_manifest(path, error.strerror or type(error).__name__) from None
    except ValueError:
        raise bad_manifest(path, "no file can have this name") from None
    if len(data) > _MANIFEST_BYTES:
        raise bad_manifest(path, f"it is larger than {_MANIFEST_BYTES >> 20} MB")
    return data.decode("utf-8", errors="replace")


def parse_object(text: str, path: Path) -> dict[str, Any]:
    """Return a JSON object; raises OpsError `bad-manifest` (exit 3) for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise bad_manifest(path, f"it is no JSON: {why}") from None
    if not isinstance(value, dict):
        raise bad_manifest(path, "it holds no object")
    return value


def bad_manifest(path: Path, why: str) -> OpsError:
    """Return the error for a manifest that says nothing."""
    return OpsError(
        f"The build's {path.name} could not be read",
        why=f"{path}: {why}",
        hint="build again, and look at the build's own output",
        code="bad-manifest",
        exit=Exit.UNKNOWN,
    )


def strings(value: Any) -> tuple[str, ...]:
    """Return the strings of a list from outside; whatever else is in it is left out."""
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list from outside; whatever else is in it is left out."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def table(value: Any) -> dict[str, Any]:
    """Return an object from outside; an empty one where it is something else."""
    return value if isinstance(value, dict) else {}


def unique(names: Iterator[str] | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return names without repetitions, in their order."""
    return tuple(dict.fromkeys(names))


def inside(name: str) -> str | None:
    """Return a path from a manifest with `.` and `..` taken out; None where it leads outside."""
    parts: list[str] = []
    for part in PurePosixPath(name.replace("\\", "/").lstrip("/")).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts) if parts and "\0" not in name else None
