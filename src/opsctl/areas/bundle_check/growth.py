"""What grew since an earlier build, and which file or module made it grow; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opsctl.adapters.bundle_build import is_script
from opsctl.areas.bundle_check.snapshot import File, Snapshot

_LEAST = 64
"""Bytes: less than that is the noise of another hash."""


@dataclass(frozen=True)
class Part:
    """A file or a module whose size is another one now."""

    name: str
    before: int
    """0: it is new."""
    after: int
    """0: it is gone."""

    @property
    def delta(self) -> int:
        """Bytes more than before."""
        return self.after - self.before


@dataclass(frozen=True)
class RouteGrowth:
    """One route, before and after."""

    route: str
    js_before: int | None
    """None: the route is new."""
    js_after: int
    css_before: int | None
    css_after: int
    files: tuple[Part, ...]
    """The changed scripts, the largest change first, in the kind of size that is judged."""
    modules: tuple[Part, ...]
    """The changed modules within them, in raw bytes."""

    @property
    def delta(self) -> int | None:
        """Bytes of JavaScript more than before; None for a new route."""
        return None if self.js_before is None else self.js_after - self.js_before


@dataclass(frozen=True)
class Growth:
    """What is different from an earlier build."""

    kind: str
    """The kind of size compared: that of the budgets, or raw where the libraries differ."""
    routes: Mapping[str, RouteGrowth]
    gone: tuple[str, ...]
    base_name: str
    notes: tuple[str, ...] = ()


def compare(
    base: Snapshot,
    now: Snapshot,
    *,
    kind: str,
    base_name: str,
    modules_of: Mapping[str, Mapping[str, int]],
) -> Growth:
    """Return what is different; `modules_of` is script -> module -> bytes of the present build.

    Where the base was packed by another library or level, raw sizes are compared instead.
    """
    notes = []
    if kind != "raw" and base.methods.get(kind) != now.methods.get(kind):
        notes.append(
            f"{base_name} was measured with {base.methods.get(kind) or f'no {kind}'} and this "
            f"with {now.methods.get(kind)}: raw sizes are compared instead."
        )
        kind = "raw"
    routes = {}
    for name, sizes in now.routes.items():
        before = base.routes.get(name)
        files, modules = _parts(base, now, name, kind=kind, modules_of=modules_of)
        routes[name] = RouteGrowth(
            name,
            before.js.get(kind, 0) if before else None,
            sizes.js.get(kind, 0),
            before.css.get(kind, 0) if before else None,
            sizes.css.get(kind, 0),
            files,
            modules,
        )
    gone = tuple(name for name in base.routes if name not in now.routes)
    return Growth(kind, routes, gone, base_name, tuple(notes))


def _parts(
    base: Snapshot,
    now: Snapshot,
    route: str,
    *,
    kind: str,
    modules_of: Mapping[str, Mapping[str, int]],
) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    if route not in base.routes:
        return (), ()
    old = _files(base, base.routes[route].files)
    new = _files(now, now.routes[route].files)
    kept = {each.digest for each in old} & {each.digest for each in new}
    before = _by_identity(each for each in old if each.digest not in kept)
    after = _by_identity(each for each in new if each.digest not in kept)
    files = [
        Part(
            (after.get(key) or before[key]).name if key.startswith("?") else key,
            before[key].sizes.get(kind, 0) if key in before else 0,
            after[key].sizes.get(kind, 0) if key in after else 0,
        )
        for key in before.keys() | after.keys()
    ]
    modules: dict[str, int] = {}
    for each in new:
        for name, size in modules_of.get(each.name, {}).items():
            modules[name] = modules.get(name, 0) + size
    changed = [
        Part(name, base.modules.get(name, 0), size)
        for name, size in modules.items()
        if base.modules and size != base.modules.get(name, 0)
    ]
    return _largest(files), _largest(changed)


def _files(snapshot: Snapshot, names: Iterable[str]) -> list[File]:
    return [snapshot.files[name] for name in names if name in snapshot.files and is_script(name)]


def _by_identity(files: Iterable[File]) -> dict[str, File]:
    """Return files by the name that outlives a build; one that has none stands for itself."""
    found: dict[str, File] = {}
    for each in files:
        key = each.identity or f"?{each.digest}"
        found[key if key not in found else f"?{each.digest}"] = each
    return found


def _largest(parts: Iterable[Part]) -> tuple[Part, ...]:
    changed = [part for part in parts if abs(part.delta) >= _LEAST]
    return tuple(sorted(changed, key=lambda part: (-part.delta, part.name)))
