"""Real builds: what is measured is what the built server serves and a browser downloads."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from browser import Browser
from opsctl.adapters.bundle_build import Build, is_script, is_style
from opsctl.adapters.bundle_find import find_build

from .recipes import PAGES, RECIPES, SAMPLE, Recipe, built, serving, tags

pytestmark = pytest.mark.node

WHOLE = os.environ.get("OPSCTL_SOAK") == "1"
CHOSEN = [recipe for recipe in RECIPES if WHOLE or recipe.name in SAMPLE]


@pytest.fixture(scope="module", params=CHOSEN, ids=lambda recipe: recipe.name)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """Each build in turn. Where Node is not they are left out, and never so in CI."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        why = f"{' and '.join(missing)} not found on the PATH"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"CI must make real builds: {why}")
        pytest.skip(why)
    found: Recipe = request.param
    built(found)
    return found


@pytest.fixture(scope="module")
def port(recipe: Recipe) -> Iterator[int]:
    """The server of the build."""
    with serving(recipe) as port:
        yield port


def addresses(recipe: Recipe, build: Build) -> dict[str, str]:
    """Return route -> an address of it."""
    if recipe.sources == "vite":
        return {route.name: route.name for route in build.routes}
    assert {route.name for route in build.routes} == set(PAGES)
    return PAGES


def test_the_first_load_is_what_the_server_asks_browsers_to_load(recipe: Recipe, port: int) -> None:
    build = find_build(built(recipe))

    assert build.troubles == ()
    for route in build.routes:
        scripts, styles = tags(port, addresses(recipe, build)[route.name])
        if recipe.name == "vite":  # its chunks import each other
            assert scripts <= set(route.files)
        else:
            assert {name for name in route.files if is_script(name)} == scripts, route.name
        assert {name for name in route.files if is_style(name)} == styles, route.name


@pytest.mark.browser
def test_the_first_load_is_what_a_browser_downloads(
    recipe: Recipe, port: int, browser: Browser
) -> None:
    build = find_build(built(recipe))

    with recording(port) as (proxy, bodies):
        for route in build.routes:
            bodies.clear()
            page = browser.open(f"http://127.0.0.1:{proxy}{addresses(recipe, build)[route.name]}")

            assert page.errors == [], route.name
            loaded = {
                name: size for name, size in bodies.items() if is_script(name) or is_style(name)
            }
            expected = {name: (build.root / name).stat().st_size for name in route.files}
            if recipe.name.startswith("next14") and route.name == "/eager":
                # Version 14 names nowhere which dynamic import it rendered: it is said, not known.
                more = {name: loaded.pop(name) for name in loaded.keys() - expected.keys()}
                manifest = json.loads((build.root / "react-loadable-manifest.json").read_text())
                assert more
                assert more.keys() <= {name for each in manifest.values() for name in each["files"]}
                assert "dynamic imports that a page renders at once" in build.notes[0]
            assert expected == loaded, route.name


@contextmanager
def recording(port: int) -> Iterator[tuple[int, dict[str, int]]]:
    """Stand before a server; give a port and the size of each body that was handed on, by file."""
    bodies: dict[str, int] = {}

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request(
                "GET", self.path, headers={"Accept": self.headers["Accept"] or "*/*"}
            )
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            name = unquote(self.path.partition("?")[0]).removeprefix("/_next").lstrip("/")
            bodies[name] = len(body)
            icon = self.path == "/favicon.ico"
            self.send_response(200 if icon else answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(0 if icon else len(body)))
            self.end_headers()
            self.wfile.write(b"" if icon else body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], bodies
    finally:
        server.shutdown()
        server.server_close()
