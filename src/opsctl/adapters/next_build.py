"""A Next.js build directory: versions 14 to 16, webpack and Turbopack, both routers.

Where first-load JavaScript stands differs by version; the rules were found by comparing with
the `<script>` tags that `next start` serves, and the tests compare again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from opsctl.adapters.bundle_build import (
    Build,
    Route,
    Trouble,
    bad_manifest,
    inside,
    is_asset,
    is_script,
    read_manifest,
    read_text,
    strings,
    table,
    unique,
    walk,
)
from opsctl.adapters.bundle_html import tags_of
from opsctl.adapters.bundle_next_app import AppRoutes, read_app_routes
from opsctl.core.errors import Exit, OpsError

MANIFEST = "build-manifest.json"
KNOWN = range(14, 17)
"""Major versions whose manifests were compared with what their server serves."""
_BUILT_IN = ("/_app", "/_document", "/_error", "/_global-error", "/_not-found", "/404", "/500")
_STATIC = "static"
_LATE = "react-loadable-manifest.json"
_NAMED = 3


def is_next_build(folder: Path) -> bool:
    """Whether a directory is what `next build` leaves: `.next`."""
    return (folder / MANIFEST).is_file() and (folder / _STATIC).is_dir()


def read_next_build(folder: Path) -> Build:
    """Return the build in a directory such as `.next`.

    Raises OpsError `bad-manifest` or `unknown-next` (exit 3).
    """
    manifest = read_manifest(folder / MANIFEST)
    if manifest is None:
        raise bad_manifest(folder / MANIFEST, "it is not there")
    if not isinstance(manifest.get("pages"), dict):
        raise bad_manifest(folder / MANIFEST, "it has no `pages`")
    version = next_version(folder)
    _refuse_unknown(folder, version)
    root_files = strings(manifest.get("rootMainFiles"))
    app = read_app_routes(folder, root_files)
    pages = tuple(_pages_routes(manifest))
    served = tuple(f"{_STATIC}/{name}" for name in walk(folder / _STATIC) if _is_served(name))
    rendered = {each: _prerendered(folder, each) for each in (*app.routes, *pages)}
    routes, missing = _check(folder, [_with(each, html) for each, html in rendered.items()])
    old = version is None or version.startswith("14.")
    silent = {
        each.name for each, html in rendered.items() if not html or (old and each.router == "app")
    }
    return Build(
        tool=_tool(folder, version, root_files, pages),
        root=folder,
        routes=routes,
        served=served,
        shared=frozenset(root_files) | _shared_of_pages(manifest),
        labels=tuple(sorted(_labels(app, manifest).items())),
        legacy=strings(manifest.get("polyfillFiles")),
        troubles=(*app.troubles, *missing),
        notes=tuple(_unsaid(folder, [each for each in routes if each.name in silent])),
    )


def next_version(folder: Path) -> str | None:
    """Return `16.4.6`: what the build says, else the package beside it; None if neither does."""
    for path in (
        folder / "diagnostics" / "framework.json",
        folder.parent / "node_modules" / "next" / "package.json",
    ):
        try:
            found = (read_manifest(path) or {}).get("version")
        except OpsError:
            continue  # the other one may say it
        if isinstance(found, str) and re.match(r"\d+\.\d+", found):
            return found
    return None


def _refuse_unknown(folder: Path, version: str | None) -> None:
    if version is None or int(version.partition(".")[0]) in KNOWN:
        return
    raise OpsError(
        f"The build in {folder} is of Next.js {version}, which is not known",
        why=f"what its manifests mean is known for the versions {KNOWN[0]} to {KNOWN[-1]}",
        hint="name the files in the settings meanwhile: bundle.files",
        code="unknown-next",
        exit=Exit.UNKNOWN,
    )


def _tool(
    folder: Path, version: str | None, root_files: tuple[str, ...], pages: tuple[Route, ...]
) -> str:
    named = (*root_files, *(name for route in pages for name in route.files))
    turbopack = (folder / "turbopack").exists() or any("turbopack-" in name for name in named)
    return f"Next.js {version or '?'} ({'Turbopack' if turbopack else 'webpack'})"


def _pages_routes(manifest: dict[str, Any]) -> Iterator[Route]:
    """Give the routes of the pages router: the frame `/_app`, the page, and the two lists."""
    pages = table(manifest.get("pages"))
    late = strings(manifest.get("lowPriorityFiles"))
    frame = strings(pages.get("/_app"))
    for name, files in pages.items():
        if name in _BUILT_IN:
            continue
        named = unique([*frame, *strings(files), *late])
        yield Route(name, "pages", tuple(each for each in named if is_asset(each)))


def _prerendered(folder: Path, route: Route) -> str:
    """Return a route's page where it was rendered while building; else nothing."""
    place = inside(route.name) if route.name.strip("/") else "index"
    if place is None:
        return ""
    try:
        return read_text(folder / "server" / route.router / f"{place}.html") or ""
    except OpsError:
        return ""  # the manifests are enough


def _with(route: Route, html: str) -> Route:
    """Return a route with what its page asks for.

    That is more than the manifests say where a dynamic import is rendered at once.
    """
    files = [
        f"{_STATIC}/{address.rpartition(f'/_next/{_STATIC}/')[2].partition('?')[0]}"
        for address, old in tags_of(html)
        if f"/_next/{_STATIC}/" in address and not old
    ]
    return Route(route.name, route.router, unique([*route.files, *filter(is_asset, files)]))


def _unsaid(folder: Path, routes: Sequence[Route]) -> Iterator[str]:
    """Give what cannot be known of routes whose page does not name what it rendered.

    Version 14 preloads no chunk of a dynamic import that a page of the app router rendered at
    once; the browser asks for it when the page's own script does, and no manifest tells that from
    one which a person opens later.
    """
    more: dict[str, int] = {}
    for route in routes:
        late = _late_files(folder, route) - set(route.files)
        size = sum(os.path.getsize(folder / name) for name in late)  # noqa: PTH202 - as below
        if size:
            more[route.name] = size
    if not more:
        return
    names = sorted(more)
    others = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    yield (
        f"Not counted: dynamic imports that a page renders at once, on {', '.join(names[:_NAMED])}"
        f"{others}: up to {max(more.values()) / 1000:,.1f} kB raw each. Next.js names them only in "
        "pages rendered while building, version 14 not even there for the app router."
    )


def _late_files(folder: Path, route: Route) -> set[str]:
    """Return the scripts of dynamic imports: webpack's of all routes, Turbopack's of one."""
    own = f"server/{route.router}/{inside(route.name) or ''}"
    places = (
        folder / _LATE,
        folder / own / "page" / _LATE,
        folder / own / _LATE,
    )
    found: set[str] = set()
    for place in places:
        try:
            manifest = read_manifest(place) or {}
        except OpsError:
            continue  # it names no first load
        for each in manifest.values():
            named = (_place(folder, name) for name in strings(table(each).get("files")))
            found |= {name for name in named if name is not None and is_script(name)}
    return found


def _shared_of_pages(manifest: dict[str, Any]) -> frozenset[str]:
    frame = strings(table(manifest.get("pages")).get("/_app"))
    return frozenset((*frame, *strings(manifest.get("lowPriorityFiles"))))


def _labels(app: AppRoutes, manifest: dict[str, Any]) -> dict[str, str]:
    """Return a name that outlives a build for files whose own name is a hash."""
    labels = dict(app.labels)
    roots = strings(manifest.get("rootMainFiles"))
    labels |= {name: f"app router, part {number}" for number, name in enumerate(roots, 1)}
    pages = table(manifest.get("pages"))
    frame = strings(pages.get("/_app"))
    for page, files in pages.items():
        own = [name for name in strings(files) if page == "/_app" or name not in frame]
        for name in own:
            labels.setdefault(name, f"pages{page}")
    for name in strings(manifest.get("lowPriorityFiles")):
        labels[name] = name.rpartition("/")[2]
    for name in strings(manifest.get("polyfillFiles")):
        labels[name] = "polyfills"
    return labels


def _is_served(name: str) -> bool:
    return is_asset(name) or name.endswith(".map")


def _check(folder: Path, routes: Iterable[Route]) -> tuple[tuple[Route, ...], tuple[Trouble, ...]]:
    """Return the routes with names as they lie on the disk, and what is named but not there."""
    found: list[Route] = []
    missing: list[Trouble] = []
    places: dict[str, str | None] = {}
    for route in routes:
        files = []
        for name in route.files:
            if name not in places:
                places[name] = _place(folder, name)
            place = places[name]
            if place is None:
                missing.append(Trouble(route.name, f"{name} is not there", "a manifest names it"))
            else:
                files.append(place)
        found.append(Route(route.name, route.router, unique(files)))
    return tuple(found), tuple(missing)


def _place(folder: Path, name: str) -> str | None:
    """Return where a file that a manifest names lies; names may be percent-encoded."""
    for spelling in unique([name, unquote(name)]):
        place = inside(spelling)
        # os.path, unlike pathlib, takes a name that no file can have for one that none has.
        if place is not None and place.startswith(f"{_STATIC}/") and os.path.isfile(folder / place):  # noqa: PTH113
            return place
    return None
