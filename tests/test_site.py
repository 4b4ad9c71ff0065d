"""The site of documents is whole, names what the program has, and loads nothing from elsewhere."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer

from browser import Browser
from opsctl.cli.manual import EXITS, commands_of
from opsctl.cli.rooms import ROOMS
from opsctl.cli.root import load_room

ROOT = Path(__file__).parent.parent
LOADING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "link": ("href",),
    "iframe": ("src",),
    "object": ("data",),
    "video": ("src", "poster"),
    "form": ("action",),
}
"""By element, the attributes whose addresses a browser asks for by itself."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` builds it."""
    place = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--quiet"]
    done = subprocess.run(
        [*argv, "--site-dir", str(place)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place


class Read(HTMLParser):
    """What a page loads, where it leads to, its headings and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self._silent = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.loads += [given[name] for name in LOADING.get(tag, ()) if name in given]
        self.loads += re.findall(r"url\(([^)]*)\)", given.get("style", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "id" in given:
            self.ids.add(given["id"])
        if tag in ("script", "style"):
            self._silent = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._silent:
            self._silent = ""

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)


def read(path: Path) -> Read:
    return Read(path.read_text(encoding="utf-8"))


def text_of(path: Path) -> str:
    return " ".join(" ".join(read(path).words).split())


def test_the_reference_names_every_command_option_exit_and_error_code(site: Path) -> None:
    overview = text_of(site / "reference" / "index.html")
    for room in ROOMS:
        text = text_of(site / "reference" / f"{room.name}.html")

        assert f"opsctl {room.name}" in overview
        for words, command in commands_of(typer.main.get_group(load_room(room))):
            alone = room.alone and words == (room.default,)
            typed = words[:-1] if alone or (words[-1] == "run" and len(words) > 1) else words
            assert " ".join(("opsctl", room.name, *typed)) in text
            for option in options_of(command):
                assert option in text or option in overview, f"{room.name} {words} {option}"
    output = text_of(site / "reference" / "output.html")
    for code, meaning in EXITS:
        assert f"{code} {meaning}" in output
    errors = text_of(site / "reference" / "error-codes.html")
    for row in ("not-confirmed 5 ", "usage 2 "):
        assert row in errors
    spelled = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r'OpsError\([^()]*code="([a-z-]+)"', path.read_text("utf-8"))
    }
    assert len(spelled) > 100
    assert spelled <= set(errors.split())


def options_of(command: Any) -> list[str]:
    shown = [each for each in command.params if not each.hidden]
    options = [each for each in shown if each.param_type_name == "option"]
    return [name for each in options for name in (*each.opts, *each.secondary_opts)]


def test_the_reference_names_every_key_of_the_settings(site: Path) -> None:
    import json

    import opsctl.core

    schema = json.loads(
        (Path(opsctl.core.__path__[0]) / "schemas" / "settings.schema.json").read_text()
    )
    words = set(read(site / "reference" / "settings.html").words)
    models = [schema, *schema["$defs"].values()]
    keys = {key for model in models for key in model.get("properties", {})}

    assert len(keys) > 100
    assert keys <= words


def test_every_runbook_is_in_the_menu(site: Path) -> None:
    links = set(read(site / "runbooks" / "index.html").links)
    runbooks = {f"{path.stem}.html" for path in (ROOT / "runbooks").glob("*.md")}

    assert runbooks
    assert runbooks <= links


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    pages = {path: read(path) for path in site.rglob("*.html") if path.name != "404.html"}

    assert len(pages) > 50
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            there = (path.parent / target).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            assert there.exists(), f"{path.name}: {link}"
            if anchor and anchor != "__skip" and there in pages:
                assert anchor in pages[there].ids, f"{path.name}: {link}"


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for path in site.rglob("*.html"):
        for address in read(path).loads:
            assert not re.match(r"([a-z]+:)?//|https?:", address), f"{path.name}: {address}"
    for path in site.rglob("*.css"):
        sheet = path.read_text(encoding="utf-8")
        for address in re.findall(r"(?:url\(|@import\s+)[\"']?([^\"')\s]+)", sheet):
            assert not re.match(r"([a-z]+:)?//", address), f"{path.name}: {address[:80]}"


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The site, served on loopback."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.browser
def test_a_browser_asks_no_other_host_and_sees_no_error(address: str, browser: Browser) -> None:
    """Scripts may load what no attribute names, so a browser has the last word."""
    pages = {"index": 400, "tutorial": 1440, "reference/settings": 400, "comparison": 1440}
    for name, width in pages.items():
        page = browser.open(f"{address}/{name}.html", width=width, dark=width == 400)

        assert page.errors == []
        assert {each for each in page.requests if not each.startswith(address)} == set()
        assert page.width <= width, name
