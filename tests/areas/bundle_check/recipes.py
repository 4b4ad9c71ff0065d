"""Real builds, made from registry packages into a cache, and the servers that serve them."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

SOURCES = Path(__file__).parent / "builds"
CACHE = Path(__file__).parents[3] / ".cache" / "bundles"
_PACKAGES = ("package.json", "package-lock.json")
"""The lock names every package by content and none by address: any registry will do."""

PAGES = {
    "/": "/",
    "/products": "/products",
    "/products/[id]": "/products/1",
    "/blog/[...slug]": "/blog/a/b",
    "/dashboard": "/dashboard",
    "/dashboard/settings": "/dashboard/settings",
    "/docs/[[...path]]": "/docs",
    "/lazy": "/lazy",
    "/plain": "/plain",
    "/eager": "/eager",
    "/barrel": "/barrel",
    "/feed": "/feed",
    "/legacy": "/legacy",
    "/legacy/[id]": "/legacy/1",
    "/legacy/later": "/legacy/later",
    "/legacy/eager": "/legacy/eager",
}
"""Route -> an address of it, for every page of the Next.js site."""


@dataclass(frozen=True)
class Recipe:
    """One build: which package.json, which sources, which command."""

    name: str
    package: str
    sources: str
    command: tuple[str, ...]
    maps: bool = False

    @property
    def output(self) -> str:
        """The build's directory within the project."""
        return "dist" if self.sources == "vite" else f"dist-{self.name}"


RECIPES = (
    Recipe("next14-webpack", "next14", "next", ("next", "build")),
    Recipe("next15-webpack", "next15", "next", ("next", "build")),
    Recipe("next15-turbopack", "next15", "next", ("next", "build", "--turbopack")),
    Recipe("next16-webpack", "next16", "next", ("next", "build", "--webpack")),
    Recipe("next16-turbopack", "next16", "next", ("next", "build", "--turbopack")),
    Recipe("next16-maps", "next16", "next", ("next", "build", "--turbopack"), maps=True),
    Recipe("vite", "vite", "vite", ("vite", "build")),
)
SAMPLE = ("next16-turbopack", "vite")
"""What CI builds."""


def built(recipe: Recipe) -> Path:
    """Return the directory of a build, made unless it is there already."""
    CACHE.mkdir(parents=True, exist_ok=True)
    project = CACHE / recipe.package
    with (CACHE / f"{recipe.package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = _key(recipe)
        mark = project / f".{recipe.name}.built"
        if mark.is_file() and mark.read_text() == key and (project / recipe.output).is_dir():
            return project / recipe.output
        _install(recipe, project)
        shutil.copytree(SOURCES / recipe.sources, project, dirs_exist_ok=True)
        environment = {
            **os.environ,
            "NEXT_TELEMETRY_DISABLED": "1",
            "SITE_DIST": recipe.output,
            "SITE_MAPS": "1" if recipe.maps else "0",
        }
        argv = [str(project / "node_modules" / ".bin" / recipe.command[0]), *recipe.command[1:]]
        subprocess.run(
            argv, cwd=project, env=environment, check=True, timeout=900, stdout=subprocess.DEVNULL
        )
        mark.write_text(key)
        return project / recipe.output


def _key(recipe: Recipe) -> str:
    digest = hashlib.sha256(repr(recipe).encode())
    for folder in (SOURCES / recipe.package, SOURCES / recipe.sources):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _install(recipe: Recipe, project: Path) -> None:
    wanted = {name: (SOURCES / recipe.package / name).read_text() for name in _PACKAGES}
    mark = project / ".installed"
    if mark.is_file() and mark.read_text() == "".join(wanted.values()):
        return
    project.mkdir(exist_ok=True)
    for name, text in wanted.items():
        (project / name).write_text(text)
    argv = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(argv, cwd=project, check=True, timeout=600, stdout=subprocess.DEVNULL)
    mark.write_text("".join(wanted.values()))


@contextmanager
def serving(recipe: Recipe) -> Iterator[int]:
    """Serve a build as it would be in production; give the port."""
    folder = built(recipe)
    if recipe.sources == "vite":
        handler = partial(_Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            server.server_close()
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = ["node", "node_modules/next/dist/bin/next", "start", "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "NEXT_TELEMETRY_DISABLED": "1", "SITE_DIST": recipe.output}
    process = subprocess.Popen(
        argv, cwd=folder.parent, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while True:
            try:
                fetch(port, "/plain")
                break
            except OSError:
                assert process.poll() is None, "next start ended"
                assert time.monotonic() < until, "next start did not answer"
                time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def fetch(port: int, path: str) -> bytes:
    """Return the body of an answer that must be well."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, answer.status)
        return body
    finally:
        connection.close()


def tags(port: int, path: str) -> tuple[set[str], set[str]]:
    """Return the scripts and the style sheets that a page asks for while it loads.

    Those for browsers without modules alone are left out; a preloaded script is one that the
    server rendered an import of.
    """
    html = fetch(port, path).decode()
    scripts, styles = set(), set()
    for kind, rest in re.findall(r"<(script|link)\b([^>]*)>", html):
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', rest))
        address = given.get("src" if kind == "script" else "href")
        if address is None or re.search(r"\bnomodule\b", rest, re.IGNORECASE):
            continue
        name = unquote(unescape(address)).partition("?")[0].removeprefix("/_next").lstrip("/")
        if kind == "script" or given.get("rel") == "modulepreload" or given.get("as") == "script":
            scripts.add(name)
        elif given.get("rel") == "stylesheet":
            styles.add(name)
    return scripts, styles
