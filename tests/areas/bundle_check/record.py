"""Record what the real builds left and what their server served, trimmed, beside the tests.

python -m tests.areas.bundle_check.record    needs Node and the registry; takes ten minutes
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from .recipes import PAGES, RECIPES, Recipe, built, serving, tags

RECORDED = Path(__file__).parent / "recorded"
ROUTES = (
    "/",
    "/barrel",
    "/dashboard",
    "/docs/[[...path]]",
    "/feed",
    "/legacy/[id]",
    "/legacy/eager",
)
_KEPT = ("clientModules", "entryJSFiles", "entryCSSFiles")


def main() -> None:
    """Record every build of Next.js."""
    RECORDED.mkdir(exist_ok=True)
    for recipe in RECIPES:
        if recipe.sources == "next" and not recipe.maps:
            text = json.dumps(record(recipe), indent=0, sort_keys=True)
            (RECORDED / f"{recipe.name}.json").write_text(text + "\n")


def record(recipe: Recipe) -> dict[str, object]:
    """Return a build's manifests, the names of its files, and what was served of each route."""
    folder = built(recipe)
    project = str(folder.parent)
    entries = json.loads((folder / "app-path-routes-manifest.json").read_text())
    entries = {entry: route for entry, route in entries.items() if route in ROUTES}
    pages = json.loads((folder / "build-manifest.json").read_text())
    pages["pages"] = {
        name: files
        for name, files in pages["pages"].items()
        if name in (*ROUTES, "/_app", "/_error")
    }
    pages.pop("pagesChunkGroupBootstrapParams", None)
    files = {
        "app-path-routes-manifest.json": json.dumps(entries),
        "build-manifest.json": json.dumps(pages),
    }
    about = folder / "diagnostics" / "framework.json"
    if about.is_file():
        files["diagnostics/framework.json"] = about.read_text()
    chunks: set[str] = set()
    for entry in entries:
        manifest = folder / "server" / f"app{entry}_client-reference-manifest.js"
        files[f"server/app{entry}_client-reference-manifest.js"] = _trimmed(manifest.read_text())
        bundle = folder / "server" / f"app{entry}.js"
        if recipe.name.endswith("webpack"):
            text = bundle.read_text()
            names = sorted(set(re.findall(r"[\"'`](" + re.escape(project) + r"[^\"'`\\]*)", text)))
            needed = re.search(r"\.X\(\s*(?:0|void 0)\s*,\s*\[[0-9,\s]*\]", text)
            chunks |= set(re.findall(r"\d+", needed.group(0).partition("[")[2]) if needed else ())
            lines = [f"r({json.dumps(name)});" for name in names]
            files[f"server/app{entry}.js"] = "\n".join(
                [*lines, f"c{needed.group(0)});" if needed else ""]
            )
    for chunk in sorted(chunks):
        path = folder / "server" / "chunks" / f"{chunk}.js"
        names = sorted(set(re.findall(re.escape(project) + r"[^\"'`\\]*", path.read_text())))
        files[f"server/chunks/{chunk}.js"] = "\n".join(f"r({json.dumps(name)});" for name in names)
    for route in ROUTES:
        for router in ("app", "pages"):
            page = folder / "server" / router / f"{route.strip('/') or 'index'}.html"
            if page.is_file():
                found = re.findall(r"<(?:script|link)\b[^>]*>", page.read_text())
                files[
                    f"server/{router}/{page.name if '/' not in route[1:] else route[1:] + '.html'}"
                ] = "\n".join(found)
    found_files = (path for path in (folder / "static").rglob("*") if path.is_file())
    static = sorted(str(path.relative_to(folder)) for path in found_files)
    served = {}
    with serving(recipe) as port:
        for route in ROUTES:
            scripts, styles = tags(port, PAGES[route])
            served[route] = {"scripts": sorted(scripts), "styles": sorted(styles)}
    return {
        "files": {name: text.replace(project, "/srv/site") for name, text in files.items()},
        "static": static,
        "served": served,
    }


def _trimmed(text: str) -> str:
    """Return a manifest in JavaScript with only what is read of it."""
    start = re.search(r"\]\s*=\s*(?=\{\")", text)
    assert start is not None
    value = json.loads(text[start.end() :].strip().rstrip(";"))
    kept = {key: value[key] for key in _KEPT if key in value}
    return text[: start.end()] + json.dumps(kept, separators=(",", ":")) + ";"


if __name__ == "__main__":
    main()
