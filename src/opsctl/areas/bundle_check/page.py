"""A treemap of a build as one HTML file that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
from typing import TYPE_CHECKING, Any

from opsctl.adapters.bundle_build import is_script, is_style
from opsctl.areas.bundle_check.facts import BundleFacts
from opsctl.areas.bundle_check.words import kilobytes

if TYPE_CHECKING:
    from opsctl.areas.bundle_check.growth import Growth

_MOST_FILES = 600
_MOST_MODULES = 4_000
_LEAST_SHARE = 0.0002
"""Of the whole: a smaller module could not be seen."""


def write_page(facts: BundleFacts, *, kind: str, growth: Growth | None) -> str:
    """Return the page. Areas are sizes of the kind `kind`; modules share their file's."""
    folder = importlib.resources.files("opsctl.areas.bundle_check")
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = (folder / "page.js").read_text(encoding="utf-8")
    data = json.dumps(_data(facts, kind, growth), separators=(",", ":"), ensure_ascii=True)
    # Within a script element nothing may look like its end, or like the start of a comment.
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    title = html.escape(f"Bundles: {facts.build.tool}")
    policy = f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}"
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'{_without_script(facts, kind)}\n<div id="page"></div>\n'
        f'<script type="application/json" id="data">{data}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _without_script(facts: BundleFacts, kind: str) -> str:
    """Return the routes as a table, for whoever runs no scripts."""
    rows = "".join(
        f"<tr><td>{html.escape(route.name)}</td>"
        f"<td>{kilobytes(facts.total(facts.scripts(route), kind))}</td></tr>"
        for route in facts.build.routes[:_MOST_FILES]
    )
    return f"<noscript><table><tr><th>route</th><th>JS, {kind}</th></tr>{rows}</table></noscript>"


def _data(facts: BundleFacts, kind: str, growth: Growth | None) -> dict[str, Any]:
    users = facts.users
    labels = facts.labels
    names = sorted(facts.sizes, key=lambda name: (-facts.sizes[name].of(kind), name))
    numbers = {route.name: number for number, route in enumerate(facts.build.routes)}
    shown = names[:_MOST_FILES]
    places = {name: number for number, name in enumerate(shown)}
    total = sum(facts.sizes[name].raw for name in shown) or 1
    budget = _MOST_MODULES
    files = []
    for name in shown:
        size = facts.sizes[name]
        modules = sorted(facts.modules.by_file.get(name, {}).items(), key=lambda each: -each[1])
        seen = [[module, raw] for module, raw in modules if raw / total > _LEAST_SHARE][:budget]
        budget -= len(seen)
        files.append(
            {
                "name": name,
                "label": labels.get(name, ""),
                "kind": "js" if is_script(name) else "css" if is_style(name) else "other",
                "shared": name in facts.build.shared,
                "sizes": [size.of(each) for each in facts.kinds],
                "routes": [numbers[route] for route in users.get(name, ())],
                "modules": seen,
            }
        )
    return {
        "tool": facts.build.tool,
        "kinds": list(facts.kinds),
        "methods": [method.label for method in facts.methods],
        "kind": facts.kinds.index(kind),
        "left_out": len(names) - len(shown),
        "files": files,
        "routes": [
            {
                "name": route.name,
                "router": route.router,
                "files": [places[name] for name in route.files if name in places],
                "before": growth.routes[route.name].js_before
                if growth is not None and growth.kind == kind and route.name in growth.routes
                else None,
            }
            for route in facts.build.routes
        ],
    }
