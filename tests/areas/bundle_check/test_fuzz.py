"""Whatever stands in a manifest, a source map or a base, it is a build, a trouble or an error."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.bundle_build import Build
from opsctl.adapters.bundle_html import read_html_build
from opsctl.adapters.bundle_modules import read_stats
from opsctl.adapters.bundle_sourcemap import modules_of
from opsctl.adapters.next_build import read_next_build
from opsctl.areas.bundle_check.snapshot import Snapshot, read_snapshot
from opsctl.core.errors import Exit, OpsError

from .conftest import Project
from .test_recorded import RECORDED, lay

NASTY: tuple[Any, ...] = (
    None, True, -1, 1e308, 10**30, "", "\0", "\ud800", "..", "../../../etc/passwd", "/", "a" * 5000,
    "//x", [], {}, [[]], {"": ""}, "static/chunks/\0.js", "static/../../x.js", "\x1b[31m", "/(",
    "/[", "page", "/page", "/\0/page", "/\ud800/page", "/../page", "/" + "x" * 5000 + "/page", "\n",
)  # fmt: skip


def mutate(value: Any, dice: random.Random) -> Any:
    """Return a value with one part of it, chosen anywhere, replaced, removed or renamed."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(sorted(value))
        changed = dict(value)
        match dice.randrange(6):
            case 0:
                del changed[key]
            case 1:
                changed[str(dice.choice(NASTY))] = changed.pop(key)
            case _:
                changed[key] = mutate(value[key], dice)
        return changed
    if isinstance(value, list) and value and dice.random() < 0.85:
        at = dice.randrange(len(value))
        return [*value[:at], mutate(value[at], dice), *value[at + 1 :]]
    return dice.choice(NASTY)


def mutate_text(text: str, dice: random.Random) -> str:
    """Return a manifest changed in its data where it has some, else in its text."""
    start = text.find("{")
    if start >= 0 and dice.random() < 0.9:
        head, tail = text[:start], ";" if text.rstrip().endswith(";") else ""
        try:
            return (
                head
                + json.dumps(mutate(json.loads(text[start:].rstrip().rstrip(";")), dice))
                + tail
            )
        except ValueError:
            pass
    at = dice.randrange(len(text) + 1)
    return (
        text[:at]
        + dice.choice(["", "\0", "\\", '"', "{", "]", "\xff"])
        + text[at + dice.randrange(50) :]
    )


def test_no_manifest_of_next_js_breaks_it(tmp_path: Path, soak: bool) -> None:
    dice = random.Random(7)
    ends = {"build": 0, "error": 0}
    for number, path in enumerate(RECORDED):
        folder = tmp_path / str(number) / ".next"
        lay(path, folder)
        files = sorted(json.loads(path.read_text())["files"])
        for _ in range(2_000 if soak else 20):
            name = dice.choice([*files, "build-manifest.json", "app-path-routes-manifest.json"])
            before = (folder / name).read_text()
            (folder / name).write_text(mutate_text(before, dice), errors="surrogatepass")
            try:
                assert isinstance(read_next_build(folder), Build)
                ends["build"] += 1
            except OpsError as error:
                ends["error"] += error.exit is Exit.UNKNOWN
            (folder / name).write_text(before)

    assert sum(ends.values()) == (2_000 if soak else 20) * len(RECORDED)
    assert min(ends.values()) > 0


def test_no_base_breaks_it(project: Project, soak: bool) -> None:
    dice = random.Random(8)
    base = project.document()["data"]
    ends = {True: 0, False: 0}
    for _ in range(3_000 if soak else 200):
        try:
            ends[isinstance(read_snapshot(mutate(base, dice)), Snapshot)] += 1
        except ValueError:
            ends[False] += 1
    path = project.folder / "base.json"
    for _ in range(100 if soak else 8):
        path.write_text(json.dumps(mutate(base, dice)))
        code, text, _ = project.check("--base", str(path), "--format", "json")
        assert code in (0, 3)
        assert json.loads(text)["error"] is None or json.loads(text)["error"]["code"] == "bad-base"

    assert min(ends.values()) > 5


def test_no_stats_file_breaks_it(project: Project, soak: bool) -> None:
    dice = random.Random(10)
    build = read_html_build(project.folder / "dist")
    stats = {
        "chunks": [{"id": 1, "files": ["assets/home.js"]}],
        "modules": [
            {"name": "./a.js", "size": 3, "chunks": [1], "modules": [{"name": "./b.js", "size": 2}]}
        ],
    }
    metafile = {"outputs": {"assets/home.js": {"inputs": {"a.js": {"bytesInOutput": 3}}}}}
    read = 0
    for _ in range(5_000 if soak else 200):
        path = project.write("stats.json", json.dumps(mutate(dice.choice([stats, metafile]), dice)))
        try:
            read += bool(read_stats(path, build).source)
        except OpsError as error:
            assert error.code == "bad-stats"  # noqa: PT017 - most of them are read

    assert read > 5


def test_no_source_map_breaks_it(soak: bool) -> None:
    dice = random.Random(9)
    part = {"version": 3, "sources": ["a.js", "b.js"], "mappings": "AAAA,UCAA;AACA,IDDA"}
    sections = {"version": 3, "sections": [{"offset": {"line": 0, "column": 0}, "map": part}]}
    read = 0
    for _ in range(20_000 if soak else 1_000):
        text = json.dumps(mutate(dice.choice([part, sections]), dice))
        try:
            sizes = modules_of(b"x" * 40 + b"\n" + b"y" * 9, text.encode(), place="a.js.map")
        except ValueError:
            continue
        read += 1
        assert sum(sizes.values()) == 50

    assert read > 5


@pytest.mark.parametrize("name", ["\0", "\ud800", "x" * 5000, "..", "a/../../b"])
def test_a_page_of_an_impossible_name_is_its_own_trouble(tmp_path: Path, name: str) -> None:
    folder = tmp_path / ".next"
    served = lay(RECORDED[-1], folder)
    entries = json.loads((folder / "app-path-routes-manifest.json").read_text())
    (folder / "app-path-routes-manifest.json").write_text(
        json.dumps({**entries, f"/{name}/page": "/odd"})
    )

    build = read_next_build(folder)

    assert [trouble.route for trouble in build.troubles] == ["/odd"]
    assert {route.name for route in build.routes} == set(served)
