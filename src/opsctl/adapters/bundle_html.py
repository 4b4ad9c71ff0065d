"""Any bundler's output that has pages: each HTML file is a route, and its tags say what it loads.

Vite, Rollup, webpack, Parcel, Astro, a static export of Next.js: they all end in HTML. Or, where
there is none, files by the globs of the settings.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from opsctl.adapters.bundle_build import (
    Build,
    Route,
    Trouble,
    inside,
    is_asset,
    read_manifest,
    read_text,
    table,
    unique,
    walk,
)
from opsctl.adapters.globs import without_repetition
from opsctl.core.errors import OpsError

_SKIPPED = frozenset(("node_modules", ".git", ".opsctl", ".cache"))
# None of these may go back over what it has passed: the text is anybody's.
_TAG = re.compile(r"<(script|link)\b([^<>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([a-zA-Z-]+)\s*(?:=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""")
_IMPORT = re.compile(r"""[\s;]*import(?:[\w$*{}\s,]+?from)?\s*["']([^"'\n]+)["']""")
_HEAD = 65_536
"""Bytes at the start of a module that may hold its static imports."""


def has_pages(folder: Path) -> bool:
    """Whether a directory holds an HTML file at its top: `dist`, `out`, `build`."""
    return (folder / "index.html").is_file()


def read_html_build(folder: Path) -> Build:
    """Return the build whose HTML files lie in a directory."""
    names = tuple(walk(folder, skip=_SKIPPED))
    served = frozenset(name for name in names if is_asset(name) or name.endswith(".map"))
    routes: list[Route] = []
    troubles: list[Trouble] = []
    legacy: list[str] = []
    for name in names:
        if not name.endswith((".html", ".htm")):
            continue
        route = _route_of(name)
        try:
            text = read_text(folder / name) or ""
        except OpsError as error:
            troubles.append(Trouble(route, f"The page {name} could not be read", error.why))
            continue
        files: list[str] = []
        for address, old in tags_of(text):
            try:
                place = _place(address, name, served)
                elsewhere = bool(urlsplit(address).netloc)
            except ValueError:
                place, elsewhere = None, False
            if place is not None:
                (legacy if old else files).append(place)
            elif not elsewhere:
                troubles.append(Trouble(route, f"{address} is not there", f"{name} names it"))
        routes.append(Route(route, "html", _with_imports(folder, unique(files), served)))
    return Build(
        tool="Vite" if (folder / ".vite").is_dir() else "HTML pages",
        root=folder,
        routes=tuple(routes),
        served=tuple(sorted(served)),
        labels=tuple(_labels(folder)),
        legacy=unique(legacy),
        troubles=tuple(troubles),
    )


def read_globs(folder: Path, files: Mapping[str, tuple[str, ...]]) -> Build:
    """Return the build that globs describe: route -> globs, relative to `folder`.

    A glob that matches nothing is a trouble: it would pass every budget.
    """
    names = tuple(name for name in walk(folder, skip=_SKIPPED))
    routes = []
    troubles = []
    for route, globs in files.items():
        found: list[str] = []
        for glob in globs:
            pattern = re.compile(_translate(glob))
            matched = [name for name in names if pattern.fullmatch(name) and is_asset(name)]
            if not matched:
                troubles.append(
                    Trouble(route, f"{glob} matches no script and no style", f"below {folder}")
                )
            found += matched
        routes.append(Route(route, "files", unique(found)))
    wanted = {name for route in routes for name in route.files}
    maps = {f"{name}.map" for name in wanted} & set(names)
    return Build("files", folder, tuple(routes), tuple(sorted(wanted | maps)),
                 troubles=tuple(troubles))  # fmt: skip


def tags_of(html: str) -> Iterator[tuple[str, bool]]:
    """Give (address, for browsers without modules alone) of what a page loads by itself."""
    for kind, given in tags_in(_without_comments(html)):
        if kind == "script":
            if given.get("src"):
                yield given["src"], "nomodule" in given
            continue
        relation = given.get("rel", "").lower().split()
        style = "stylesheet" in relation and "alternate" not in relation
        early = "modulepreload" in relation or (
            "preload" in relation and given.get("as", "").lower() == "script"
        )
        if (style or early) and given.get("href"):
            yield given["href"], False


def tags_in(html: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Give (script or link, attributes by name in lower case) of a page's tags, in order."""
    for kind, rest in _TAG.findall(html):
        yield (
            kind.lower(),
            {
                match[0].lower(): _unescaped(match[1] or match[2] or match[3])
                for match in _ATTRIBUTE.findall(rest)
            },
        )


def _unescaped(value: str) -> str:
    if "&" not in value:
        return value
    from html import unescape  # its table of names takes longer to import than a page to read

    return unescape(value)


def _without_comments(html: str) -> str:
    parts = []
    at = 0
    while (start := html.find("<!--", at)) >= 0:
        parts.append(html[at:start])
        end = html.find("-->", start)
        at = len(html) if end < 0 else end + 3
    return "".join((*parts, html[at:]))


def _route_of(name: str) -> str:
    path = "/" + name
    if path.endswith("/index.html"):
        return path.removesuffix("index.html")
    return path.rpartition(".")[0]


def _place(address: str, page: str, served: frozenset[str]) -> str | None:
    """Return the served file that an address in a page means; None for one from elsewhere.

    An address from the top may begin with a base path that is no directory of the build.
    """
    parts = urlsplit(address)
    if parts.netloc or parts.scheme not in ("", "http", "https"):
        return None
    path = unquote(parts.path)
    if path.startswith("/"):
        name = inside(path) or ""
        while name and name not in served:
            name = name.partition("/")[2]
        return name or None
    name = inside(posixpath.join(posixpath.dirname(page), path)) or ""
    return name if name in served else None


def _with_imports(folder: Path, files: tuple[str, ...], served: frozenset[str]) -> tuple[str, ...]:
    """Return files and the modules that their first lines import, and those that these import."""
    found = dict.fromkeys(files)
    todo = [name for name in files if name.endswith((".js", ".mjs"))]
    while todo:
        name = todo.pop()
        try:
            with (folder / name).open("rb") as file:
                head = file.read(_HEAD).decode("utf-8", errors="replace")
        except OSError:
            continue  # measuring it will say so
        at = 0
        while (match := _IMPORT.match(head, at)) is not None:
            at = match.end()
            target = match.group(1)
            try:
                place = _place(target, name, served) if target.startswith((".", "/")) else None
            except ValueError:
                place = None  # it begins with // and names no host that there could be
            if place is not None and place not in found:
                found[place] = None
                todo.append(place)
    return tuple(found)


def _labels(folder: Path) -> Iterator[tuple[str, str]]:
    """Give names that outlive a build, from Vite's manifest."""
    try:
        manifest = read_manifest(folder / ".vite" / "manifest.json") or {}
    except OpsError:
        return  # labels are a kindness
    for source, entry in manifest.items():
        file = table(entry).get("file")
        if isinstance(file, str):
            yield file, _without_hash(file) if source.startswith("_") else source


def _without_hash(name: str) -> str:
    return re.sub(r"[-.][A-Za-z0-9_-]{8}(?=\.[a-z]+$)", "", name.rpartition("/")[2])


def _translate(glob: str) -> str:
    """Return a glob as a regular expression: `**` crosses directories, `*` and `?` do not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", without_repetition(glob.removeprefix("./")))
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(special.get(part, re.escape(part)) for part in parts)
