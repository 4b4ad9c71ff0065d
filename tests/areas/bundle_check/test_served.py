"""Secrets and source maps that would be served are found, and no secret is ever shown."""

from __future__ import annotations

import json

import pytest

from opsctl.adapters.bundle_environment import parse_env, read_private_values
from opsctl.adapters.bundle_packages import package_of
from opsctl.adapters.bundle_sourcemap import clean_source, modules_of

from .conftest import Project
from .test_check import findings

SECRET = "-".join(["sk", "live", "9f8e7d6c5b4a"])


@pytest.mark.parametrize(
    "form", [SECRET, json.dumps(f'{SECRET}"\n')[1:-1]], ids=["plain", "escaped"]
)
def test_a_secret_of_the_environment_is_found_and_not_shown(project: Project, form: str) -> None:
    value = json.loads(f'"{form}"')
    quoted = json.dumps(value).replace('\\"', '"') if '"' not in value else f"'{value}'"
    project.write(".env.local", f"STRIPE_SECRET_KEY={quoted}\nNEXT_PUBLIC_NAME=site\n")
    project.write("dist/assets/home.js", f'let a=1;\nlet key="{form}";')

    code, text, err = project.check("--format", "json")

    assert code == 1
    (found,) = [each for each in json.loads(text)["findings"] if each["rule"] == "bundle-secret"]
    assert found["title"] == "The secret STRIPE_SECRET_KEY is served to browsers"
    assert found["location"]["path"] == "dist/assets/home.js"
    assert (found["location"]["line"], found["location"]["column"]) == (2, 10)
    for name in ("text", "markdown", "github", "junit"):
        text += project.check("--format", name)[1]
    assert SECRET not in text + err
    for path in (project.folder / ".opsctl").rglob("*.json"):
        assert SECRET not in path.read_text()


def test_a_secret_in_a_source_map_is_found(project: Project) -> None:
    project.write(".env", f"API_TOKEN={SECRET}\n")
    project.write(
        "dist/assets/home.js.map", json.dumps({"sourcesContent": [f"const t = '{SECRET}'"]})
    )

    assert ("bundle-secret", "failed", "The secret API_TOKEN is served to browsers") in findings(
        project.document()
    )


@pytest.mark.parametrize(
    "line",
    [
        f"NEXT_PUBLIC_KEY={SECRET}",
        f"VITE_KEY={SECRET}",
        f"KEY={SECRET}\nNEXT_PUBLIC_KEY={SECRET}",
        "SITE_URL=https://www.example.com",
        "MODE=production-without-digits",
        "SECRET_KEY=abc",
    ],
    ids=lambda line: line.partition("=")[0] + str(line.count("\n")),
)
def test_what_everybody_may_know_is_no_secret(project: Project, line: str) -> None:
    project.write(".env", line + "\n")
    value = line.rpartition("=")[2]
    project.write("dist/assets/home.js", f'let key="{value}"')

    assert findings(project.document(), "bundle-secret") == []


def test_an_example_file_holds_no_secrets(project: Project) -> None:
    project.write(".env.example", f"API_TOKEN={SECRET}\n")

    assert read_private_values(project.folder) == ((), ())


def test_a_value_whose_name_says_nothing_is_a_warning(project: Project) -> None:
    project.write(".env", f"WAREHOUSE={SECRET}\n")
    project.write("dist/assets/home.js", f'let key="{SECRET}"')

    document = project.document()

    assert findings(document, "bundle-private") == [
        ("bundle-private-value", "failed", "The private value WAREHOUSE is served to browsers")
    ]
    assert document["exit_code"] == 0


def test_a_clean_build_says_how_many_values_were_looked_for(project: Project) -> None:
    project.write(".env", f"API_TOKEN={SECRET}\n")

    assert findings(project.document(), "bundle-secret") == [
        ("bundle-secret", "ok", "None of 1 private values of the .env files is served")
    ]


def test_env_files_are_read_as_the_bundlers_read_them() -> None:
    text = "A=1 # one\nexport B='two #2'\nC=\"three\\nlines\"\n# D=4\nE=\nF=`five`\r\n"

    assert parse_env(text + "G=${A}-$B\nH='$A'\n") == {
        "A": "1",
        "B": "two #2",
        "C": "three\nlines",
        "E": "",
        "F": "five",
        "G": "1-two #2",
        "H": "$A",
    }


def test_source_maps_that_would_be_served_are_named(project: Project) -> None:
    project.write("dist/assets/home.js.map", "{}")

    document = project.document()

    assert findings(document, "bundle-source-map") == [
        ("bundle-source-map", "failed", "1 source maps would be served")
    ]
    assert document["exit_code"] == 0


def segment(*fields: int) -> str:
    """Return one segment of a source map's mappings."""
    signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    text = ""
    for field in fields:
        rest = abs(field) << 1 | (field < 0)
        while True:
            digit, rest = rest & 31, rest >> 5
            text += signs[digit | (32 if rest else 0)]
            if not rest:
                break
    return text


def source_map(sources: list[str], mappings: str) -> dict[str, object]:
    """Return a source map."""
    return {"version": 3, "sources": sources, "mappings": mappings}


def test_modules_add_up_to_the_script() -> None:
    mappings = ",".join([segment(10, 0, 0, 0), segment(20, 1, 0, 0), segment(40)])
    text = json.dumps(
        source_map(["a.js", "node_modules/b/index.js"], mappings + ";" + segment(0, -1, 0, 0))
    )
    script = b"x" * 100 + b"\n" + b"y" * 50

    sizes = modules_of(script, text.encode(), place="x.js.map")

    # 10 before the first segment, 30 after one without a source, and the line break.
    assert sizes == {"a.js": 70, "node_modules/b/index.js": 40, "(not mapped)": 41}
    assert sum(sizes.values()) == len(script)


def test_maps_in_sections_are_read() -> None:
    whole = segment(0, 0, 0, 0)
    first, second = (source_map([f"turbopack:///[project]/{name}.js"], whole) for name in "ab")
    parts = [
        {"offset": {"line": 0, "column": 5}, "map": first},
        {"offset": {"line": 1, "column": 0}, "map": second},
    ]
    text = json.dumps({"version": 3, "sections": parts})

    sizes = modules_of(b"x" * 25 + b"\n" + b"y" * 30, text.encode(), place="x.js.map")

    assert sizes == {"a.js": 20, "b.js": 30, "(not mapped)": 6}


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"version":3}', '{"version":3,"sources":["a"]}', '{"version":2}',
     '{"version":3,"sources":["a"],"mappings":"!"}', '{"version":3,"sections":[1]}',
     '{"version":3,"sections":{}}', '{"version":3,"sources":["a"],"mappings":"' + "g" * 50 + '"}',
     "[" * 100_000],
    ids=lambda text: text[:30] or "empty",
)  # fmt: skip
def test_a_broken_source_map_says_nothing(project: Project, text: str) -> None:
    project.write("dist/assets/home.js.map", text)

    with pytest.raises(ValueError, match=r"^(it|its|a section)\b"):
        modules_of(b"x", text.encode(), place="x")
    code, shown, _ = project.check()
    assert code == 0
    assert "says nothing" in shown


@pytest.mark.parametrize(
    ("source", "clean"),
    [
        ("webpack://_N_E/./parts/nav.jsx", "parts/nav.jsx"),
        ("webpack://site/./node_modules/ms/index.js?1234", "node_modules/ms/index.js"),
        ("turbopack:///[project]/parts/nav.jsx", "parts/nav.jsx"),
        ("../../src/main.jsx", "src/main.jsx"),
        ("../../node_modules/.pnpm/ms@2.0.0/node_modules/ms/index.js",
         "node_modules/.pnpm/ms@2.0.0/node_modules/ms/index.js"),
        ("", "(not mapped)"),
    ],
)  # fmt: skip
def test_sources_are_named_from_the_project(source: str, clean: str) -> None:
    assert (
        clean_source(source, "assets/x.js.map" if source.startswith("..") else "x.js.map") == clean
    )


def test_a_package_in_two_versions_is_named(project: Project) -> None:
    sources = [
        "../../node_modules/ms/index.js",
        "../../node_modules/debug/node_modules/ms/index.js",
    ]
    mappings = ",".join([segment(0, 0, 0, 0), segment(3000, 1, 0, 0)])
    project.write("dist/assets/home.js.map", json.dumps(source_map(sources, mappings)))
    project.write("node_modules/ms/package.json", '{"version": "2.1.3"}')
    project.write(
        "package-lock.json",
        json.dumps({"packages": {"node_modules/debug/node_modules/ms": {"version": "2.0.0"}}}),
    )

    document = project.document()

    assert findings(document, "bundle-duplicate") == [
        ("bundle-duplicate", "failed", "ms is bundled 2 times, in versions 2.0.0 and 2.1.3")
    ]
    (duplicate,) = document["data"]["duplicates"]
    assert [(copy["version"], copy["bytes"]) for copy in duplicate["copies"]] == [
        ("2.1.3", 3000), ("2.0.0", 2000),
    ]  # fmt: skip
    assert document["data"]["modules"][0] == {
        "module": "node_modules/ms/index.js", "package": "ms", "bytes": 3000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("node_modules/a/b.js", ("a", "node_modules/a")),
        ("node_modules/@a/b/c.js", ("@a/b", "node_modules/@a/b")),
        ("node_modules/.pnpm/ms@2.0.0/node_modules/ms/i.js",
         ("ms", "node_modules/.pnpm/ms@2.0.0/node_modules/ms")),
        ("src/a.js", None), ("node_modules/", None), ("node_modules/a", None),
    ],
)  # fmt: skip
def test_the_package_of_a_module(module: str, package: tuple[str, str] | None) -> None:
    assert package_of(module) == package


def test_stats_files_name_the_modules(project: Project) -> None:
    webpack = {
        "chunks": [{"id": 1, "files": ["assets/home.js"]}, {"id": None}, 7],
        "modules": [
            {"name": "./src/home.js + 1 modules", "size": 300, "chunks": [1],
             "modules": [{"name": "./src/home.js", "size": 100},
                         {"name": "./node_modules/ms/i.js", "size": 200}]},
            {"name": "./src/other.js", "size": 5, "chunks": [9, {}]}, "x",
        ],
    }  # fmt: skip
    esbuild = {
        "outputs": {"dist/assets/home.js": {"inputs": {"src/home.js": {"bytesInOutput": 42}}}}
    }
    project.write("webpack.json", json.dumps(webpack))
    project.write("esbuild.json", json.dumps(esbuild))
    project.settings(stats="webpack.json")
    before_minifying = project.document()["data"]
    project.settings(stats="esbuild.json")
    as_served = project.document()["data"]

    assert before_minifying["modules"] == [
        {"module": "node_modules/ms/i.js", "package": "ms", "bytes": 200},
        {"module": "src/home.js", "package": "", "bytes": 100},
    ]
    assert as_served["modules"] == [{"module": "src/home.js", "package": "", "bytes": 42}]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"modules": 1}', "[" * 100_000], ids=lambda t: t[:9]
)
def test_a_broken_stats_file_is_exit_3(project: Project, text: str) -> None:
    project.write("stats.json", text)
    project.settings(stats="stats.json")

    code, shown, _ = project.check("--format", "json")

    assert (code, json.loads(shown)["error"]["code"]) == (3, "bad-stats")


def test_the_module_that_grew_is_the_culprit(project: Project) -> None:
    sources = ["../../src/home.js", "../../node_modules/ms/index.js"]
    project.settings(compression="raw", budgets=[{"routes": "/", "js_kb": 24}])

    def build(own: int, size: int) -> None:
        project.script("assets/home.js", size, seed=size)
        mappings = ",".join([segment(0, 0, 0, 0), segment(own, 1, 0, 0)])
        project.write("dist/assets/home.js.map", json.dumps(source_map(sources, mappings)))

    build(2_000, 5_000)
    base = str(project.folder / "base.json")
    project.check("--format", "json", "--output", base)
    build(2_000, 8_000)

    (over,) = [
        each
        for each in project.document("--base", base)["findings"]
        if each["rule"] == "bundle-budget" and each["status"] == "failed"
    ]

    assert over["evidence"].endswith(f"since {base}: node_modules/ms/index.js +3.0 kB")
