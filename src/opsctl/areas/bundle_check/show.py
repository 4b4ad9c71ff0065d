"""Lay out a build's sizes: tables and notes for a person, plain data for machines; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from opsctl.adapters.bundle_build import Route
from opsctl.adapters.bundle_packages import join_sizes, package_of
from opsctl.areas.bundle_check.checks import budget_of, describe
from opsctl.areas.bundle_check.facts import BundleFacts
from opsctl.areas.bundle_check.words import kilobytes, say_parts, signed
from opsctl.core.report import Table

if TYPE_CHECKING:
    from opsctl.areas.bundle_check.growth import Growth, RouteGrowth
    from opsctl.core.settings import Bundle, BundleBudget

VERSION = 1
"""Of the plain data."""
_MOST_MODULES = 5_000
_FEW = 10
_MOST_ROWS = 200
_LARGEST = 15


def title(facts: BundleFacts) -> str:
    """Return what was looked at, in a line."""
    count = len(facts.build.routes)
    return f"{facts.build.tool}, {count} route{'' if count == 1 else 's'}"


def tables(facts: BundleFacts, settings: Bundle, growth: Growth | None) -> tuple[Table, ...]:
    """Return the tables: what changed or is heaviest first, the detail folded."""
    routes = sorted(
        facts.build.routes, key=lambda each: -facts.total(facts.scripts(each), settings.compression)
    )
    found = []
    if growth is not None:
        found.append(_changes(growth))
    found.append(_routes(facts, settings, routes, growth, folded=len(routes) > _FEW))
    found.append(_shared(facts, settings))
    modules = _modules(facts)
    if modules is not None:
        found.append(modules)
    return tuple(found)


def _changes(growth: Growth) -> Table:
    changed = [each for each in growth.routes.values() if each.delta or each.delta is None]
    changed.sort(key=lambda each: -(each.js_after if each.delta is None else each.delta))
    rows = [
        (
            each.route,
            "-" if each.js_before is None else kilobytes(each.js_before),
            kilobytes(each.js_after),
            signed(each.delta),
            say_parts(each.modules) or say_parts(each.files) or _lost(each),
        )
        for each in changed[:_FEW]
    ]
    rows += [(name, "", "gone", "", "") for name in growth.gone[:_FEW]]
    more = len(changed) - _FEW
    heading = f"JavaScript that changed since {growth.base_name} ({growth.kind})"
    if more > 0:
        heading += f", {more} more not shown"
    return Table(heading, ("route", "before", "now", "change", "by"), tuple(rows))


def _lost(grown: RouteGrowth) -> str:
    parts = sorted((*grown.modules, *grown.files), key=lambda part: part.delta)
    return f"{parts[0].name} {signed(parts[0].delta)}" if parts and parts[0].delta < 0 else ""


def _routes(
    facts: BundleFacts,
    settings: Bundle,
    routes: list[Route],
    growth: Growth | None,
    *,
    folded: bool,
) -> Table:
    rows = []
    for route in routes[:_MOST_ROWS]:
        scripts, styles = facts.scripts(route), facts.styles(route)
        budget = budget_of(route.name, settings)
        limit = budget.js_kb if budget is not None else None
        row = [route.name, *(kilobytes(facts.total(scripts, kind)) for kind in facts.kinds)]
        row.append(kilobytes(facts.total(styles, settings.compression)) if styles else "-")
        if settings.budgets:
            row.append("-" if limit is None else f"{limit:,g} kB")
        if growth is not None:
            grown = growth.routes.get(route.name)
            row.append(signed(grown.delta) if grown else "")
        rows.append(tuple(row))
    columns = ["route", *("JS" if kind == "raw" else kind for kind in facts.kinds)]
    columns.append(f"CSS {settings.compression}")
    if settings.budgets:
        columns.append(f"budget {settings.compression}")
    if growth is not None:
        columns.append("change")
    more = len(routes) - _MOST_ROWS
    heading = "First load of each route" + (f", {more} more not shown" if more > 0 else "")
    return Table(heading, tuple(columns), tuple(rows), folded=folded)


def _shared(facts: BundleFacts, settings: Bundle) -> Table:
    users = facts.users
    shared = [name for name, routes in users.items() if len(routes) > 1 and name in facts.sizes]
    shared.sort(key=lambda name: (-len(users[name]), -facts.sizes[name].of(settings.compression)))
    rows = tuple(
        (
            describe(facts, name),
            f"{len(users[name])} of {len(facts.build.routes)}",
            *(kilobytes(facts.sizes[name].of(kind)) for kind in facts.kinds),
        )
        for name in shared[:_LARGEST]
    )
    more = len(shared) - _LARGEST
    heading = "Files that several routes load" + (f", {more} more not shown" if more > 0 else "")
    return Table(heading, ("file", "routes", *facts.kinds), rows, folded=True)


def _modules(facts: BundleFacts) -> Table | None:
    sizes = join_sizes(facts.modules.by_file.values())
    if not sizes:
        return None
    packages: dict[str, int] = {}
    for name, size in sizes.items():
        package = package_of(name)
        if package is not None:
            packages[package[0]] = packages.get(package[0], 0) + size
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_LARGEST]
    rows = tuple(
        (name, (package_of(name) or ("its own",))[0], kilobytes(size)) for name, size in largest
    )
    served = "as served" if facts.modules.minified else "before minifying"
    heading = f"The largest modules, by {facts.modules.source}, {served}"
    return Table(heading, ("module", "package", "size"), rows, folded=True)


def notes(facts: BundleFacts, settings: Bundle, growth: Growth | None) -> tuple[str, ...]:
    """Return what a reader should know of how it was looked."""
    return tuple(_notes(facts, settings, growth))


def _notes(facts: BundleFacts, settings: Bundle, growth: Growth | None) -> Iterator[str]:
    labels = ", ".join(method.label for method in facts.methods)
    yield f"1 kB is 1000 bytes. Measured with {labels or 'nothing'}, each file by itself."
    missing = [kind for kind in settings.compressions if kind not in facts.kinds]
    if missing:
        yield f"Not measured: {', '.join(missing)}; pip install 'opsctl[bundle]'."
    if "Next.js ?" in facts.build.tool:
        yield "The version of Next.js is not known; the build was read as one of 14 to 16."
    if facts.build.legacy:
        yield "Polyfills that only browsers without modules load are not counted."
    if not facts.modules.by_file:
        yield "What the files are made of is not known: there are no source maps and no stats file."
    if growth is None and any(each.growth_kb is not None for each in settings.budgets):
        yield "Growth is limited in the settings and not judged here: there is no --base."
    yield from facts.build.notes
    yield from facts.notes
    if growth is not None:
        yield from growth.notes


def data_of(facts: BundleFacts) -> dict[str, Any]:
    """Return the sizes as plain data: printed as JSON, kept, and compared with."""
    users = facts.users
    labels = facts.labels
    modules = join_sizes(facts.modules.by_file.values())
    largest = sorted(modules.items(), key=lambda item: (-item[1], item[0]))[:_MOST_MODULES]
    return {
        "version": VERSION,
        "tool": facts.build.tool,
        "build": facts.where,
        "methods": {method.name: method.label for method in facts.methods},
        "total": {
            "js": {kind: facts.total(facts.all_scripts, kind) for kind in facts.kinds},
            "css": {kind: facts.total(facts.all_styles, kind) for kind in facts.kinds},
        },
        "routes": [
            {
                "route": route.name,
                "router": route.router,
                "js": {kind: facts.total(facts.scripts(route), kind) for kind in facts.kinds},
                "css": {kind: facts.total(facts.styles(route), kind) for kind in facts.kinds},
                "files": list(route.files),
            }
            for route in facts.build.routes
        ],
        "files": [
            {
                "file": name,
                "label": labels.get(name, ""),
                "routes": len(users.get(name, ())),
                "digest": size.digest,
                **{kind: size.of(kind) for kind in facts.kinds},
            }
            for name, size in sorted(facts.sizes.items())
        ],
        "modules_from": facts.modules.source,
        "modules": [
            {"module": name, "package": (package_of(name) or ("",))[0], "bytes": size}
            for name, size in largest
        ],
    }


def judged(facts: BundleFacts, settings: Bundle, growth: Growth | None) -> dict[str, Any]:
    """Return what was judged, as plain data; each size is in bytes."""
    return {
        "compression": settings.compression,
        "budgets": {
            route.name: _budget(budget)
            for route in facts.build.routes
            if (budget := budget_of(route.name, settings)) is not None
        },
        "source_maps": list(facts.maps),
        "exposures": [
            {"name": each.name, "env_file": each.env_file, "file": each.file, "line": each.line,
             "column": each.column}
            for each in facts.exposures
        ],
        "secrets": [
            {"rule": each.rule, "file": each.path, "line": each.line, "column": each.column,
             "sha256": each.digest}
            for each in facts.secrets
        ],
        "duplicates": [
            {
                "package": each.name,
                "copies": [
                    {"version": version, "directory": folder, "bytes": size}
                    for version, folder, size in each.copies
                ],
            }
            for each in facts.duplicates
        ],
        "growth": None
        if growth is None
        else {
            "base": growth.base_name,
            "kind": growth.kind,
            "gone": list(growth.gone),
            "routes": [
                {
                    "route": each.route,
                    "js_before": each.js_before,
                    "js_after": each.js_after,
                    "css_before": each.css_before,
                    "css_after": each.css_after,
                    "files": [
                        {"file": part.name, "before": part.before, "after": part.after}
                        for part in each.files
                    ],
                    "modules": [
                        {"module": part.name, "before": part.before, "after": part.after}
                        for part in each.modules
                    ],
                }
                for each in growth.routes.values()
                if each.delta != 0
            ],
        },
    }  # fmt: skip


def _budget(budget: BundleBudget) -> dict[str, Any]:
    found = {
        "routes": budget.routes,
        "js_kb": budget.js_kb,
        "css_kb": budget.css_kb,
        "growth_kb": budget.growth_kb,
    }
    return {name: value for name, value in found.items() if value is not None}
