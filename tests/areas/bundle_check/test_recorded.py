"""What each version of Next.js left, recorded, leads to what its server was seen to serve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.bundle_build import Build, is_script, is_style
from opsctl.adapters.bundle_find import find_build
from opsctl.adapters.next_build import read_next_build
from opsctl.core.errors import OpsError

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))


def lay(path: Path, folder: Path) -> dict[str, Any]:
    """Lay a recorded build in a directory and return what was served."""
    data = json.loads(path.read_text())
    for name, text in data["files"].items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for name in data["static"]:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(name)
    served: dict[str, Any] = data["served"]
    return served


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Each build in turn: its directory, and what was served."""
    folder = tmp_path / ".next"
    return folder, lay(request.param, folder)


def loads(build: Build) -> dict[str, dict[str, list[str]]]:
    """Return the first loads as they were recorded."""
    return {
        route.name: {
            "scripts": sorted(name for name in route.files if is_script(name)),
            "styles": sorted(name for name in route.files if is_style(name)),
        }
        for route in build.routes
    }


def test_the_manifests_lead_to_what_was_served(recorded: tuple[Path, dict[str, Any]]) -> None:
    folder, served = recorded

    build = find_build(folder.parent)

    assert build.troubles == ()
    assert loads(build) == served


def test_without_the_servers_bundles_no_script_is_missed(
    recorded: tuple[Path, dict[str, Any]],
) -> None:
    """A deployment may keep the manifests alone; then too much may be counted, by 1 in 100."""
    folder, served = recorded
    for page in [*folder.rglob("page.js"), *folder.rglob("*.html")]:
        page.unlink()
    prerendered = ("/eager", "/legacy/eager")

    for route, files in loads(read_next_build(folder)).items():
        if route in prerendered:
            continue
        for kind in ("scripts", "styles"):
            assert set(served[route][kind]) <= set(files[kind]), route
            assert len(set(files[kind]) - set(served[route][kind])) <= 2, route


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("next14-webpack", "on /, /barrel, /dashboard and 3 more: up to 70.0 kB raw each"),
        ("next16-webpack", "on /docs/[[...path]], /legacy/[id]: up to 70.0 kB raw each"),
    ],
)
def test_a_dynamic_import_that_no_page_names_is_said(
    tmp_path: Path, version: str, said: str
) -> None:
    folder = tmp_path / ".next"
    lay(next(each for each in RECORDED if each.stem == version), folder)
    assert read_next_build(folder).notes == ()
    late = folder / "static" / "chunks" / "late.js"
    late.write_bytes(b"x" * 70_000)
    manifest = {"parts/a.jsx -> ./late": {"id": 1, "files": ["static/chunks/late.js"]}}

    (folder / "react-loadable-manifest.json").write_text(json.dumps(manifest))

    (note,) = read_next_build(folder).notes
    assert said in note


def test_turbopack_says_of_each_page_what_it_may_load_later(tmp_path: Path) -> None:
    folder = tmp_path / ".next"
    lay(next(each for each in RECORDED if each.stem == "next16-turbopack"), folder)
    (folder / "static" / "chunks" / "late.js").write_bytes(b"x" * 70_000)
    manifest = folder / "server" / "app" / "docs" / "[[...path]]" / "page"
    manifest.mkdir(parents=True)
    (manifest / "react-loadable-manifest.json").write_text(
        json.dumps({"1": {"id": 1, "files": ["static/chunks/late.js", 7, "../gone.js"]}, "2": []})
    )

    (note,) = read_next_build(folder).notes

    assert "on /docs/[[...path]]: up to 70.0 kB raw each" in note


def test_names_that_outlive_a_build_are_known(recorded: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = recorded

    labels = {label for _, label in read_next_build(folder).labels}

    assert "polyfills" in labels
    assert "pages/_app" in labels
    assert any("parts/panel.jsx" in label for label in labels)
    assert any("parts/nav.jsx" in label for label in labels)


def test_a_file_that_a_manifest_names_and_that_is_gone_is_unknown(
    recorded: tuple[Path, dict[str, Any]],
) -> None:
    folder, _ = recorded
    route = next(each for each in read_next_build(folder).routes if each.name == "/feed")
    (folder / route.files[0]).unlink()

    build = read_next_build(folder)

    assert route.files[0] in " ".join(trouble.what for trouble in build.troubles)
    assert {"/feed", "/"} <= {trouble.route for trouble in build.troubles}


def test_a_manifest_that_is_gone_leaves_the_other_routes(
    recorded: tuple[Path, dict[str, Any]],
) -> None:
    folder, served = recorded
    (folder / "server" / "app" / "feed" / "page_client-reference-manifest.js").unlink()

    build = read_next_build(folder)

    assert [trouble.route for trouble in build.troubles] == ["/feed"]
    found = loads(build)
    assert "/feed" not in found
    assert found["/dashboard"] == served["/dashboard"]


def test_an_unknown_version_is_not_guessed_at(tmp_path: Path) -> None:
    folder = tmp_path / ".next"
    lay(RECORDED[-1], folder)
    (folder / "diagnostics" / "framework.json").write_text('{"name":"Next.js","version":"17.0.0"}')

    with pytest.raises(OpsError) as caught:
        read_next_build(folder)

    assert (caught.value.code, int(caught.value.exit)) == ("unknown-next", 3)
    assert "17.0.0" in caught.value.what


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"pages": []}',
        "{}",
        '{"pages": {"/": [1, null, {}]}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_a_broken_manifest_is_unknown_and_never_well(tmp_path: Path, text: str) -> None:
    folder = tmp_path / ".next"
    lay(RECORDED[0], folder)
    shutil.rmtree(folder / "server")
    (folder / "app-path-routes-manifest.json").unlink()
    (folder / "build-manifest.json").write_text(text)

    if '"/"' in text:
        assert [route.files for route in read_next_build(folder).routes] == [()]
        return
    with pytest.raises(OpsError) as caught:
        read_next_build(folder)

    assert (caught.value.code, int(caught.value.exit)) == ("bad-manifest", 3)


@pytest.mark.parametrize(
    "text",
    ["", "x", 'a["/feed/page"] = {', 'a["/feed/page"] = "x";',
     'a["/feed/page"] = {"clientModules":[]};', 'a["/feed/page"] = ' + "[" * 100_000, "\0\xff"],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_a_broken_client_manifest_is_that_routes_trouble(tmp_path: Path, text: str) -> None:
    folder = tmp_path / ".next"
    lay(RECORDED[-1], folder)
    (folder / "server/app/feed/page_client-reference-manifest.js").write_text(text)

    assert [trouble.route for trouble in read_next_build(folder).troubles] == ["/feed"]


def test_the_build_itself_may_be_named_whatever_the_settings_say(
    recorded: tuple[Path, dict[str, Any]],
) -> None:
    folder, _ = recorded
    other = folder.rename(folder.parent / "output")

    assert find_build(other, named="output").root == other
    assert find_build(other.parent, named="output").root == other
    assert find_build(other.parent).root == other


def test_two_builds_are_not_chosen_between(tmp_path: Path) -> None:
    for name in ("one", "two"):
        lay(RECORDED[0], tmp_path / name)

    with pytest.raises(OpsError) as caught:
        find_build(tmp_path)

    assert (caught.value.code, int(caught.value.exit)) == ("which-build", 3)
