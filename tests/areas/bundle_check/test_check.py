"""A build is held to its budgets and compared with an earlier one, through the front door."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from .conftest import Project


def findings(document: dict[str, Any], rule: str = "bundle-") -> list[tuple[str, str, str]]:
    """Return (rule, status, title) of the findings whose rule begins so."""
    return [
        (each["rule"], each["status"], each["title"])
        for each in document["findings"]
        if each["rule"].startswith(rule)
    ]


def test_sizes_are_those_of_the_files(project: Project) -> None:
    project.settings(gzip_engine="zlib")
    document = project.document()

    routes = {each["route"]: each for each in document["data"]["routes"]}
    assert set(routes) == {"/", "/about"}
    files = ["assets/shared.js", "assets/home.js"]
    contents = [(project.folder / "dist" / name).read_bytes() for name in files]
    assert routes["/"]["js"]["raw"] == sum(map(len, contents))
    assert routes["/"]["js"]["gzip"] == sum(len(zlib.compress(each, 6, 31)) for each in contents)
    assert set(routes["/"]["js"]) == {"raw", "gzip", "brotli", "zstd"}
    assert routes["/"]["css"]["raw"] == len("body { margin: 0 }\n")
    assert routes["/about"]["css"]["raw"] == 0
    # later.js is served, and part of no first load.
    assert document["data"]["total"]["js"]["raw"] == 29_000
    assert document["exit_code"] == 0


def test_without_a_budget_it_says_that_nothing_is_too_much(project: Project) -> None:
    assert ("bundle-budget", "failed", "No budget is set, so no size is too much") in findings(
        project.document()
    )


@pytest.mark.parametrize(("limit", "code"), [(25.0, 0), (24.9, 1)])
def test_a_budget_is_kept_to_the_byte(project: Project, limit: float, code: int) -> None:
    project.settings(compression="raw", budgets=[{"routes": "*", "js_kb": limit}])

    document = project.document()

    assert document["exit_code"] == code
    if code:
        ((_, _, title), (_, _, kept)) = findings(document, "bundle-budget")
        assert title == "/ loads 25.0 kB of JavaScript, 0.1 kB over its budget"
        assert kept == "1 of 2 routes are within their budgets"
        assert "assets/shared.js 20.0 kB" in document["findings"][0]["hint"]


def test_of_the_budgets_that_fit_the_first_counts(project: Project) -> None:
    project.settings(
        compression="raw",
        budgets=[
            {"routes": "/about", "js_kb": 22},
            {"routes": "/", "js_kb": 20},
            {"routes": "*", "js_kb": 1},
            {"routes": "/gone*", "js_kb": 1},
        ],
    )

    document = project.document()

    assert [title for _, _, title in findings(document)] == [
        "/ loads 25.0 kB of JavaScript, 5.0 kB over its budget",
        "1 of 2 routes are within their budgets",
        "The budget of * counts for no route",
        "The budget of /gone* counts for no route",
    ]


def test_brackets_of_a_route_mean_themselves(project: Project) -> None:
    project.page("products/[id].html", "assets/shared.js")
    project.settings(compression="raw", budgets=[{"routes": "/products/[id]", "js_kb": 19}])

    assert findings(project.document(), "bundle-budget") == [
        (
            "bundle-budget",
            "failed",
            "/products/[id] loads 20.0 kB of JavaScript, 1.0 kB over its budget",
        )
    ]


def test_css_and_totals_have_budgets_too(project: Project) -> None:
    project.settings(
        compression="raw",
        budgets=[{"routes": "*", "css_kb": 0.01}],
        total_js_kb=28,
        total_css_kb=1,
    )

    assert findings(project.document()) == [
        ("bundle-budget", "failed", "/ loads 0.0 kB of CSS, 0.0 kB over its budget"),
        ("bundle-budget", "ok", "1 of 2 routes are within their budgets"),
        ("bundle-total", "failed", "The build holds 29.0 kB of JavaScript, of 28 kB"),
        ("bundle-total", "ok", "The build holds 0.0 kB of CSS, of 1 kB"),
    ]


def grow(project: Project) -> str:
    """Keep a base, then make home.js larger under another hash; return the base's path."""
    project.script("assets/home-aaaaaaaaaaaa.js", 5_000)
    project.page("index.html", "assets/shared.js", "assets/home-aaaaaaaaaaaa.js")
    base = str(project.folder / "base.json")
    assert project.check("--format", "json", "--output", base)[0] == 0
    (project.folder / "dist/assets/home-aaaaaaaaaaaa.js").unlink()
    project.script("assets/home-bbbbbbbbbbbb.js", 9_000, seed=1)
    project.script("assets/new.js", 2_000)
    project.page("index.html", "assets/shared.js", "assets/home-bbbbbbbbbbbb.js", "assets/new.js")
    return base


def test_the_culprit_is_named(project: Project) -> None:
    base = grow(project)
    project.settings(compression="raw", budgets=[{"routes": "/", "js_kb": 26, "growth_kb": 5}])

    document = project.document("--base", base)

    over, grown = (each for each in document["findings"] if each["status"] == "failed")
    assert over["title"] == "/ loads 31.0 kB of JavaScript, 5.0 kB over its budget"
    said = f"+6.0 kB raw since {base}: assets/home +4.0 kB, assets/new +2.0 kB (new)"
    assert over["evidence"] == f"raw; the budget is 26 kB; {said}"
    assert (grown["rule"], grown["evidence"]) == ("bundle-growth", said)
    change = document["data"]["growth"]["routes"]
    assert [(each["route"], each["js_before"], each["js_after"]) for each in change] == [
        ("/", 25_000, 31_000)
    ]
    assert document["exit_code"] == 1


def test_another_engine_is_compared_by_raw_sizes(project: Project) -> None:
    project.settings(gzip_engine="zlib")
    base = grow(project)
    project.settings(gzip_engine="libdeflate")

    growth = project.document("--base", base)["data"]["growth"]

    assert growth["kind"] == "raw"
    project.settings(gzip_engine="libdeflate", budgets=[{"routes": "*", "growth_kb": 1000}])
    document = project.document("--base", base)
    assert ("bundle-growth", "unknown", "The growth could not be judged") in findings(document)
    assert document["exit_code"] == 3
    said = " ".join(project.check("--base", base)[1].split())
    assert "raw sizes are compared instead" in said


def test_a_limit_of_growth_without_a_base_is_said_not_to_be_judged(project: Project) -> None:
    project.settings(budgets=[{"routes": "*", "growth_kb": 1}])

    assert "not judged here" in project.check()[1]


def git(folder: Path, *words: str) -> str:
    """Run git in a repository."""
    argv = ["git", "-c", "user.name=n", "-c", "user.email=n@example.com", *words]
    done = subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_ref_means_the_sizes_recorded_at_its_commit(project: Project) -> None:
    project.write(".gitignore", ".opsctl/\nbase.json\ndist/\n")
    git(project.folder, "init", "-q", "-b", "main")
    git(project.folder, "add", "-A")
    git(project.folder, "commit", "-q", "-m", "one")
    assert project.check("--record")[0] == 0
    project.script("assets/home.js", 8_000, seed=1)

    document = project.document("--base", "main")

    assert document["data"]["growth"]["base"].startswith("main (")
    (change,) = document["data"]["growth"]["routes"]
    assert change["route"] == "/"
    assert change["js_after"] > change["js_before"]


def test_sizes_of_what_nobody_committed_are_not_recorded(project: Project) -> None:
    git(project.folder, "init", "-q", "-b", "main")

    assert project.document("--record")["exit_code"] == 3
    git(project.folder, "add", "package.json")
    git(project.folder, "commit", "-q", "-m", "one")
    document = project.document("--record")

    assert document["exit_code"] == 3
    (found,) = [each for each in document["findings"] if each["rule"] == "bundle-record"]
    assert "not committed" in found["evidence"]


def test_a_ref_means_the_baseline_that_it_committed(project: Project) -> None:
    (project.folder / "bundle-baseline.json").write_text(json.dumps(project.document()))
    git(project.folder, "init", "-q", "-b", "main")
    git(project.folder, "add", "-A")
    git(project.folder, "commit", "-q", "-m", "one")
    (project.folder / "bundle-baseline.json").unlink()
    project.script("assets/about.js", 3_000, seed=1)

    (change,) = project.document("--base", "HEAD", "--no-cache")["data"]["growth"]["routes"]

    assert change["route"] == "/about"


@pytest.mark.parametrize(
    ("base", "code"),
    [
        ("nowhere", "no-base"),
        ("--upload-pack=x", "no-base"),
        ("package.json", "bad-base"),
        ("dist/index.html", "bad-base"),
    ],
)
def test_a_base_that_is_none_is_exit_3(project: Project, base: str, code: str) -> None:
    path = project.folder / base
    words = ("--format", "json", f"--base={path if path.exists() else base}")

    exit_code, text, _ = project.check(*words)

    assert (exit_code, json.loads(text)["error"]["code"]) == (3, code)


def test_no_build_is_exit_3(project: Project) -> None:
    for path in (project.folder / "dist").rglob("*.html"):
        path.unlink()

    code, text, _ = project.check("--format", "json")

    assert (code, json.loads(text)["error"]["code"]) == (3, "no-build")


def test_what_a_page_names_and_is_not_there_is_unknown(project: Project) -> None:
    project.page("index.html", "assets/shared.js", "assets/gone.js")

    document = project.document()

    assert document["exit_code"] == 3
    assert findings(document, "bundle-unread") == [
        ("bundle-unread", "unknown", "/: /assets/gone.js is not there")
    ]


def test_globs_are_routes_for_bundlers_that_leave_no_pages(project: Project) -> None:
    project.settings(
        build="dist",
        compression="raw",
        files={"widget": ["assets/*.js"], "all": ["**/*"]},
        budgets=[{"routes": "widget", "js_kb": 29}],
    )

    document = project.document()

    sizes = {each["route"]: each["js"]["raw"] for each in document["data"]["routes"]}
    assert sizes == {"widget": 29_000, "all": 29_000}
    assert document["exit_code"] == 0


def test_a_glob_that_matches_nothing_is_unknown(project: Project) -> None:
    project.settings(build="dist", files={"widget": ["assets/*.mjs"]})

    assert project.document()["exit_code"] == 3


def test_the_projects_own_script_is_run_first(project: Project) -> None:
    build = "node -e \"require('fs').appendFileSync('dist/assets/home.js', 'x'.repeat(1000))\""
    project.write("package.json", json.dumps({"scripts": {"build": build}}))
    before = project.document()["data"]["total"]["js"]["raw"]

    document = project.document("--run")

    assert document["data"]["total"]["js"]["raw"] == before + 1000


@pytest.mark.parametrize(
    ("scripts", "code"),
    [({}, "no-script"), ({"bundle:check": "exit 7", "build": "true"}, "build-failed")],
)
def test_a_script_that_fails_is_exit_3(
    project: Project, scripts: dict[str, str], code: str
) -> None:
    project.write("package.json", json.dumps({"scripts": scripts}))

    exit_code, text, _ = project.check("--run", "--format", "json")

    assert (exit_code, json.loads(text)["error"]["code"]) == (3, code)


def test_every_format_names_the_culprit(project: Project) -> None:
    base = grow(project)
    project.settings(compression="raw", budgets=[{"routes": "/", "js_kb": 26}])

    for name in ("text", "markdown", "junit", "github", "json"):
        code, text, _ = project.check("--base", base, "--format", name)
        assert code == 1
        assert "assets/home" in text, name
    assert "\n::error" in "\n" + project.check("--base", base, "--format", "github")[1]


def test_the_comment_on_a_pull_request_is_short_and_folds_the_rest(project: Project) -> None:
    for number in range(60):
        project.page(f"page{number}.html", "assets/shared.js")
    base = grow(project)
    project.settings(compression="raw", budgets=[{"routes": "/", "js_kb": 26}])

    text = project.check("--base", base, "--format", "markdown")[1]

    assert text.count("<details>") == text.count("</details>") == 2
    shown = "".join(
        part.partition("</details>")[2] for part in f"</details>{text}".split("<details>")
    )
    assert len(shown) < 2_000
    assert "/page59" not in shown
    assert "/page59" in text


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python without the libraries of the extra."""
    for name in ("deflate", "brotli", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("bare")
def test_without_the_extra_gzip_is_zlibs_and_the_rest_is_said_to_be_missing(
    project: Project,
) -> None:
    document = project.document()

    assert document["data"]["methods"] == {"gzip": "gzip (zlib 6)"}
    assert "Not measured: brotli, zstd" in project.check()[1]


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("settings", [{"compression": "brotli"}, {"gzip_engine": "libdeflate"}])
def test_a_missing_library_that_is_asked_for_is_exit_3(
    project: Project, settings: dict[str, str]
) -> None:
    project.settings(**settings)

    code, text, _ = project.check("--format", "json")

    assert (code, json.loads(text)["error"]["code"]) == (3, "library-missing")
