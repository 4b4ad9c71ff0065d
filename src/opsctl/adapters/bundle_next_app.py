"""Which files the routes of Next.js' app router load first.

Turbopack names them by segment (`entryJSFiles`). Webpack names only what each client module
needs, for every module that some page above or beside uses as well; which of them belong to a
route stands in the server's own bundle of that route, which names the modules it refers to.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from opsctl.adapters.bundle_build import (
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
)
from opsctl.core.errors import OpsError

_BUILT_IN = ("/_not-found", "/_global-error")
_INTERCEPTED = re.compile(r"/\(\.{1,3}\)")
"""`/(.)photo`: shown only on the way from another page, so never loaded first."""
_CHUNK_LIST = re.compile(r"\.X\(\s*(?:0|void 0)\s*,\s*\[([0-9,\s]*)\]")
_SEGMENT_FILE = re.compile(r"static/chunks/app/(?:(.+)/)?[a-z-]+-[0-9a-f]{8,}\.js")


@dataclass(frozen=True)
class AppRoutes:
    """The app router's part of a build."""

    routes: tuple[Route, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """(file, client modules that are in it)."""
    troubles: tuple[Trouble, ...] = ()


def read_app_routes(folder: Path, root_files: tuple[str, ...]) -> AppRoutes:
    """Return the routes of the app router, none where the build has none.

    What cannot be read of one route is a trouble of that route. Raises OpsError `bad-manifest`
    (exit 3) where it cannot be told which routes there are.
    """
    server = _Server(folder / "server")
    files: dict[str, list[str]] = {}
    labels: dict[str, set[str]] = {}
    troubles: list[Trouble] = []
    for entry, route in _entries(folder):
        path = folder / "server" / f"app{entry}_client-reference-manifest.js"
        try:
            if inside(entry) != entry.removeprefix("/"):
                raise bad_manifest(path, "it would lie outside the build")
            manifest = _assigned(path)
            found = list(_files_of(manifest, entry, server))
        except OpsError as error:
            troubles.append(Trouble(route, f"The route {route} could not be read", error.why))
            continue
        files.setdefault(route, list(root_files)).extend(found)
        for name, module in _modules_of(manifest):
            labels.setdefault(name, set()).add(module)
    return AppRoutes(
        routes=tuple(
            Route(route, "app", tuple(name for name in unique(names) if is_asset(name)))
            for route, names in files.items()
        ),
        labels=tuple((name, _label(modules)) for name, modules in labels.items()),
        troubles=tuple(troubles),
    )


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Give (`/(shop)/products/page`, `/products`) of every page that can be asked for."""
    named = read_manifest(folder / "app-path-routes-manifest.json")
    if named is None:
        paths = read_manifest(folder / "server" / "app-paths-manifest.json") or {}
        named = {entry: _route_of(entry) for entry in paths}
    for entry, route in sorted(named.items()):
        if not entry.endswith("/page") or not isinstance(route, str):
            continue  # a route handler
        if route not in _BUILT_IN and not _INTERCEPTED.search(f"/{route.strip('/')}"):
            yield entry, route


def _route_of(entry: str) -> str:
    parts = entry.strip("/").split("/")[:-1]
    hidden = re.compile(r"\([^.].*\)|@.+")
    return "/" + "/".join(part for part in parts if not hidden.fullmatch(part))


def _assigned(path: Path) -> dict[str, Any]:
    """Return the object that a manifest in JavaScript assigns."""
    text = read_text(path)
    if text is None:
        raise bad_manifest(path, "it is not there")
    start = re.search(r"""\[\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*\]\s*=\s*""", text)
    value: Any = None
    if start is not None:
        try:
            value = json.JSONDecoder().raw_decode(text, start.end())[0]
            value = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict) or not isinstance(value.get("clientModules"), dict):
        raise bad_manifest(path, "it assigns no `clientModules`")
    return value


def _files_of(manifest: dict[str, Any], entry: str, server: _Server) -> Iterator[str]:
    """Give the scripts and styles of one page beside those of every page."""
    styles = table(manifest.get("entryCSSFiles"))
    scripts = manifest.get("entryJSFiles")
    if isinstance(scripts, dict):
        for files in scripts.values():
            yield from strings(files)
        for files in styles.values():
            yield from _styles(files)
        return
    modules = table(manifest.get("clientModules"))
    belongs = _belonging(manifest, entry, server)
    for path, module in modules.items():
        chunks = tuple(_chunks(module))
        if chunks and belongs(path, chunks):
            yield from chunks
    for path, files in styles.items():
        if belongs(path, ()):
            yield from _styles(files)


def _belonging(
    manifest: dict[str, Any], entry: str, server: _Server
) -> Callable[[str, tuple[str, ...]], bool]:
    """Return what tells whether a module or a segment, by its path, belongs to a page."""
    modules = table(manifest.get("clientModules"))
    segments = table(manifest.get("entryCSSFiles"))
    prefix = _common_folder([*modules, *segments])
    referred = server.paths_of(entry, prefix)
    whole = {os.path.splitext(path)[0] for path in referred}  # noqa: PTH122 - not of this machine
    if any(path.endswith(f"app{entry}") for path in whole):

        def by_server(path: str, chunks: tuple[str, ...]) -> bool:
            return path in referred if chunks else path in whole

        return by_server
    # The server's bundle is not there or says nothing: by the segment that a chunk is named for.
    above = _segments_above(entry)

    def by_segment(path: str, chunks: tuple[str, ...]) -> bool:
        if not chunks:
            tail = re.search(r"(?:^|/)app(/.*)?/[^/]+$", path)
            return tail is not None and (tail.group(1) or "") in above
        own = [match for name in chunks if (match := _SEGMENT_FILE.fullmatch(unquote(name)))]
        if not own:
            return True
        for match in own:
            segment = f"/{match.group(1)}" if match.group(1) else ""
            if segment not in above:
                return False
            # The page of a segment above is not shown on this one.
            if segment != above[-1] and "/page-" in f"/{match.group(0)}":
                return False
        return True

    return by_segment


def _common_folder(paths: Sequence[str]) -> str:
    """Return what all paths begin with, up to and with a slash."""
    first, last = (min(paths), max(paths)) if paths else ("", "")
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(sign for sign, _ in same).rpartition("/")[0] + "/"


def _segments_above(entry: str) -> tuple[str, ...]:
    parts = entry.strip("/").split("/")[:-1]
    return tuple("".join(f"/{part}" for part in parts[:count]) for count in range(len(parts) + 1))


class _Server:
    """The server's bundles: which paths of the project each of them names. Read once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[tuple[Path, str], tuple[frozenset[str], tuple[str, ...]]] = {}

    def paths_of(self, entry: str, prefix: str) -> frozenset[str]:
        """Return the project's paths that a page's bundle and the chunks it needs name."""
        if not prefix.strip("/"):
            return frozenset()
        paths, chunks = self._read(self._folder / f"app{entry}.js", prefix)
        for chunk in chunks:
            paths |= self._read(self._folder / "chunks" / f"{chunk}.js", prefix)[0]
        return paths

    def _read(self, path: Path, prefix: str) -> tuple[frozenset[str], tuple[str, ...]]:
        key = (path, prefix)
        if key not in self._found:
            text = read_text(path) or ""
            if "\\" in prefix:
                text = text.replace("\\\\", "\\")
            quoted = re.compile(re.escape(prefix) + r"""[^"'`#\\\n]*""")
            chunks = _CHUNK_LIST.search(text)
            numbers = re.findall(r"\d+", chunks.group(1)) if chunks else []
            self._found[key] = (frozenset(quoted.findall(text)), tuple(numbers))
        return self._found[key]


def _chunks(module: Any) -> Iterator[str]:
    """Give the files of a client module; webpack lists them in turn with their numbers."""
    for name in strings(table(module).get("chunks")):
        if is_script(name):
            # A prefix for assets may stand before.
            yield name.partition("/_next/")[2] or name


def _styles(files: Any) -> Iterator[str]:
    """Give the style sheets of a segment that are not within the page itself."""
    for each in files if isinstance(files, list) else ():
        if isinstance(each, str):
            yield each
            continue
        path = table(each).get("path")
        if isinstance(path, str) and not table(each).get("inlined"):
            yield path


def _modules_of(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give (file, module) for the last file of each client module: the one made for it."""
    modules = table(manifest.get("clientModules"))
    prefix = _common_folder([each for each in modules if "node_modules" not in each])
    for path, module in modules.items():
        chunks = tuple(_chunks(module))
        if chunks:
            short = path.removeprefix("[project]/").removeprefix(prefix)
            yield chunks[-1], short.rpartition("node_modules/")[2].partition("#")[0]


def _label(modules: set[str]) -> str:
    own = {name for name in modules if not name.startswith("next/dist/")}
    if not own:
        return "Next.js' own components"
    names = sorted(own)
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
