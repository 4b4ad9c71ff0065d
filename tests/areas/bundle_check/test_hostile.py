"""Whatever lies in a build, the check ends, in bounded memory, and says what it could not see."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from opsctl.adapters.bundle_html import read_html_build, tags_of
from opsctl.adapters.bundle_sizes import LARGEST, SizeCache
from opsctl.core.process import run_program

from .conftest import Project
from .test_check import findings

CACHE = Path(".opsctl") / "cache" / "bundle-sizes.json"


def test_links_in_a_circle_have_an_end(project: Project) -> None:
    (project.folder / "dist/assets/again").symlink_to(project.folder / "dist")
    (project.folder / "dist/assets/self.js").symlink_to("self.js")
    (project.folder / "dist/assets/nowhere.js").symlink_to("/nowhere")

    document = project.document()

    assert document["exit_code"] == 0
    assert document["data"]["total"]["js"]["raw"] == 29_000


def test_a_pipe_and_a_directory_are_no_scripts(project: Project) -> None:
    os.mkfifo(project.folder / "dist/assets/pipe.js")
    (project.folder / "dist/assets/folder.js").mkdir()
    project.page("index.html", "assets/pipe.js", "assets/folder.js")

    document = project.document()

    assert document["exit_code"] == 3
    assert len(findings(document, "bundle-unread")) == 2


def test_a_file_too_large_for_a_script_is_unknown(project: Project) -> None:
    with project.write("dist/assets/home.js", "").open("r+b") as file:
        file.truncate(LARGEST + 1)

    document = project.document()

    assert document["exit_code"] == 3
    assert findings(document, "bundle-unread") == [
        ("bundle-unread", "unknown", "assets/home.js could not be measured")
    ]


def test_names_that_are_not_utf8_are_shown(project: Project) -> None:
    name = os.fsdecode(b"assets/\xff\xfe<b>.js")
    project.write(f"dist/{name}", "let a = 1")
    project.page("\x1b[31mred.html", "assets/shared.js")
    html = project.folder / "page.html"

    for form in ("text", "json", "markdown", "junit", "github"):
        code, text, _ = project.check("--format", form, "--html", str(html))
        assert code == 0
        assert "\x1b" not in text
        text.encode()
    assert b"<b>.js" not in html.read_bytes()


def test_a_manifest_that_leads_outside_reads_nothing_there(project: Project) -> None:
    project.write("secret.js", "let outside = 1")
    project.page("index.html", "../secret.js", "..%2fsecret.js", "assets/home.js")

    document = project.document()

    (route,) = [each for each in document["data"]["routes"] if each["route"] == "/"]
    assert route["files"] == ["assets/home.js"]
    assert document["exit_code"] == 3


@pytest.mark.parametrize(
    "text",
    [
        "<script " * 200_000,
        "<!--" * 400_000,
        "<link href=" + "'" * 500_000,
        "<script src='" + "a" * 1_000_000,
        "<script" + " a=" * 300_000 + ">",
    ],
    ids=["script", "comment", "quote", "address", "attributes"],
)
def test_html_of_any_kind_is_read_in_one_pass(text: str) -> None:
    began = time.process_time()

    found = list(tags_of(text))

    assert found == []
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "text",
    ["import" + " " * 60_000, "import{" + "a," * 30_000, ";" * 65_000, "import'./a.js';" * 5_000],
    ids=["blanks", "names", "semicolons", "imports"],
)
def test_imports_of_any_kind_are_read_in_one_pass(project: Project, text: str) -> None:
    project.write("dist/assets/home.js", text)
    project.write("dist/assets/a.js", "import './home.js'")
    began = time.process_time()

    (home,) = [r for r in read_html_build(project.folder / "dist").routes if r.name == "/"]

    assert ("assets/a.js" in home.files) == ("./a.js" in text)
    assert time.process_time() - began < 5


def test_thousands_of_files_take_little_memory(project: Project) -> None:
    names = [f"assets/{number:05}.js" for number in range(5_000)]
    for number, name in enumerate(names):
        project.write(f"dist/{name}", f"let a = {number};" * 20)
    for number in range(200):
        project.page(f"{number}.html", *names[number * 20 : number * 20 + 40])
    code = (
        "import sys; from opsctl.cli.root import run; code = run(sys.argv[1:]);"
        # Not ru_maxrss: it keeps the size of the process that forked this one.
        "peak = open('/proc/self/status').read().partition('VmHWM:')[2].split()[0];"
        "sys.stderr.write(f'peak={peak}'); sys.exit(code)"
    )
    argv = [sys.executable, "-c", code, "bundle-check", str(project.folder), "-q",
            "--config", str(project.folder / "opsctl.yaml")]  # fmt: skip

    done = run_program(argv, timeout_s=120)

    assert done.exit_code == 0
    assert "202 routes" in done.stdout
    assert int(done.stderr.rpartition("peak=")[2]) < 150_000


def test_the_cache_is_private_and_makes_no_difference(project: Project) -> None:
    first = project.document()
    second = project.document()
    measured_anew = project.document("--no-cache")

    assert first == second == measured_anew
    path = project.folder / CACHE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_changed_is_measured_again(project: Project) -> None:
    """Also one of the same size, written at what looks like the same moment."""
    before = project.document()["data"]["total"]["js"]
    path = project.folder / "dist/assets/home.js"
    at = path.stat()
    path.write_bytes(b"a" * at.st_size)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))

    after = project.document()["data"]["total"]["js"]

    assert after["raw"] == before["raw"]
    assert after["gzip"] < before["gzip"]


def test_sizes_are_remembered_once_a_file_has_settled(project: Project) -> None:
    long_ago = time.time_ns() - 10**12
    for path in (project.folder / "dist/assets").iterdir():
        os.utime(path, ns=(long_ago, long_ago))
    project.document()
    cache = SizeCache.load(project.folder / CACHE)
    assert len(cache.packed) == 5
    # The moment of their change cannot be set, so nothing is trusted within two seconds of it.
    assert cache.seen == {}
    time.sleep(2.1)
    project.write("dist/assets/other.js", "1")
    project.document()

    assert len(SizeCache.load(project.folder / CACHE).seen) == 5


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version":1}', '{"version":2}',
     '{"version":1,"packed":[],"seen":{},"modules":{}}',
     '{"version":1,"packed":{"a":{"b":"c"}},"seen":{},"modules":{}}',
     '{"version":1,"packed":{},"seen":{"a":[1]},"modules":{}}', "[" * 100_000],
    ids=lambda text: text[:40] or "empty",
)  # fmt: skip
def test_a_damaged_cache_is_as_good_as_none(project: Project, text: str) -> None:
    expected = project.document("--no-cache")
    project.write(str(CACHE), text)

    assert project.document() == expected


def test_where_nothing_can_be_remembered_it_says_so(project: Project) -> None:
    project.write(".opsctl", "a file where a directory should be")

    code, text, _ = project.check()

    assert code == 0
    assert "could not be remembered" in " ".join(text.split())


def test_a_treemap_that_cannot_be_written_is_exit_2(project: Project) -> None:
    code, text, _ = project.check(
        "--format", "json", "--html", str(project.folder / "no/page.html")
    )

    assert (code, json.loads(text)["error"]["code"]) == (2, "output-failed")
