"""Where a project's build lies, whichever bundler made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opsctl.adapters.bundle_build import Build
from opsctl.adapters.bundle_html import has_pages, read_globs, read_html_build
from opsctl.adapters.next_build import is_next_build, read_next_build
from opsctl.core.errors import Exit, OpsError

_USUAL = (".next", "out", "dist", "build", "public", "_site")
_MOST_ENTRIES = 500


def find_build(
    folder: Path, *, named: str | None = None, files: Mapping[str, tuple[str, ...]] | None = None
) -> Build:
    """Return the build in a directory, which is a project or the build itself.

    `named` is the build's directory within the project, `files` are globs of a bundler that
    leaves neither Next.js' manifests nor pages. Raises OpsError `no-build`, `which-build`,
    `bad-manifest` or `unknown-next` (exit 3).
    """
    place = folder / named if named and not is_next_build(folder) else folder
    if not place.is_dir():
        raise _no_build(place, "there is no such directory")
    if files:
        return _not_empty(read_globs(place, files))
    if is_next_build(place):
        return _not_empty(read_next_build(place))
    if has_pages(place) and (named or not (place / "package.json").is_file()):
        return _not_empty(read_html_build(place))
    for name in _USUAL:
        if is_next_build(place / name):
            return _not_empty(read_next_build(place / name))
        if has_pages(place / name):
            return _not_empty(read_html_build(place / name))
    others = sorted(each for each in _folders(place) if is_next_build(each))
    if len(others) > 1:
        raise OpsError(
            f"There is more than one build in {place}",
            why=", ".join(each.name for each in others),
            hint=f"opsctl bundle-check {others[0]}",
            code="which-build",
            exit=Exit.UNKNOWN,
        )
    if others:
        return _not_empty(read_next_build(others[0]))
    raise _no_build(place, f"looked for {', '.join(_USUAL)} and for Next.js' build-manifest.json")


def _folders(place: Path) -> list[Path]:
    found = []
    for number, each in enumerate(place.iterdir()):
        if number >= _MOST_ENTRIES:
            break
        if each.is_dir() and each.name != "node_modules":
            found.append(each)
    return found


def _not_empty(build: Build) -> Build:
    if not build.routes:
        raise _no_build(build.root, "it has no routes")
    return build


def _no_build(place: Path, why: str) -> OpsError:
    return OpsError(
        f"There is no build in {place}",
        why=why,
        hint="build first, or let it be built: opsctl bundle-check --run",
        code="no-build",
        exit=Exit.UNKNOWN,
    )
