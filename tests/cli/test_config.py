"""`opsctl config`, through the real command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from opsctl.core.errors import Exit
from opsctl.core.report import Finding, Location, Severity, Status

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = ROOT / "src" / "opsctl" / "core" / "schemas"
SETTINGS = """\
default_environment: pre
environments:
  pre:
    database: {url: env:PRE_URL}
  production:
    protected: true
    database: {url: file:secrets/url}
"""
HOSTILE = {
    "nul": b"state: a\0b",
    "escape": b"state: \x1b[2J",
    "escaped escape": b'state: "\\e[2J"',
    "not utf-8": b"state: \xe9",
    "utf-16": "state: a".encode("utf-16"),
    "deep lists": b"[" * 100_000,
    "deep mappings": b"{a: " * 100_000,
    "too large": b"#" * (1024 * 1024 + 1),
    "alias bomb": b"a: &a [x, x]\nb: [*a, *a]",
    "python object": b"state: !!python/object/apply:os.system [id]",
    "key twice": b"state: a\nstate: b",
    "list as key": b"[a]: 1",
    "two documents": b"version: 1\n---\nversion: 1",
    "tab": b"environments:\n\tp: {}",
    "open quote": b"state: 'a",
    "open bracket": b"environments: {p: [",
    "a list": b"- a",
    "a word": b"hello",
    "unknown key": b"statte: a",
    "markup as key": b"'[/red]': 1",
    "command of a log as key": b"'::error::x': 1",
    "infinity": b"environments: {p: {limits: {response_ms: .inf}}}",
    "yes": b"environments: {p: {protected: yes}}",
    "path as name": b"environments: {../../etc: {}}",
    "no such default": b"default_environment: p",
    "plain secret": b"environments: {p: {database: {url: 'postgresql://u:canary42@h/d'}}}",
}


def opsctl(
    *argv: str, cwd: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("OPSCTL_")}
    return subprocess.run(
        [sys.executable, "-m", "opsctl", *argv],
        cwd=cwd, env={**env, "COLUMNS": "160", **(environ or {})},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    assert misfits(found, schema("output")) == []
    return found


def schema(name: str) -> dict[str, Any]:
    found = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    assert isinstance(found, dict)
    return found


def misfits(value: Any, rule: dict[str, Any], place: str = "$") -> list[str]:
    """Return where `value` does not fit a JSON Schema of the few words that ours use."""
    known = {"$schema", "title", "description", "type", "required", "additionalProperties",
             "properties", "items", "enum", "const", "anyOf", "oneOf"}  # fmt: skip
    assert set(rule) <= known, set(rule) - known
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None),
             "number": (int, float), "boolean": bool}  # fmt: skip
    found = []
    for word in ("anyOf", "oneOf"):
        if word in rule and all(misfits(value, each, place) for each in rule[word]):
            found.append(f"{place}: none of {word}")
    if "const" in rule and value != rule["const"]:
        found.append(f"{place}: not {rule['const']}")
    if "enum" in rule and value not in rule["enum"]:
        found.append(f"{place}: not one of {rule['enum']}")
    if "type" in rule:
        names = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
        if not any(isinstance(value, kinds[name]) for name in names):
            return [*found, f"{place}: not {names}"]
    if isinstance(value, dict):
        properties = rule.get("properties", {})
        found += [f"{place}: no {key}" for key in rule.get("required", ()) if key not in value]
        for key, each in value.items():
            if key in properties:
                found += misfits(each, properties[key], f"{place}.{key}")
            elif rule.get("additionalProperties") is False:
                found.append(f"{place}: unknown {key}")
    if isinstance(value, list) and "items" in rule:
        for index, each in enumerate(value):
            found += misfits(each, rule["items"], f"{place}[{index}]")
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "opsctl.yaml").write_text(SETTINGS)
    return tmp_path


def test_show_says_where_each_value_came_from(project: Path) -> None:
    environ = {"OPSCTL_STATE": "other.db", "PRE_URL": "canary-value"}
    done = opsctl("config", "show", "--format", "json", cwd=project, environ=environ)

    data = document(done)["data"]
    origins = data["origins"]
    file = project / "opsctl.yaml"
    assert done.returncode == 0
    assert data["settings"]["state"] == "other.db"
    assert origins["state"] == "OPSCTL_STATE"
    assert origins["default_environment"] == f"{file}:1"
    assert origins["environments.production.protected"] == f"{file}:6"
    assert origins["environments.pre.protected"] == "default"
    assert data["environment"] == {"name": "pre", "from": f"{file}:1"}
    assert data["root"] == str(project)


def test_show_names_secrets_by_reference_and_reads_none(project: Path) -> None:
    (project / "secrets").mkdir()
    (project / "secrets" / "url").write_text("canary-file")
    for format_ in ("text", "json", "markdown"):
        argv = ("config", "show", "--origin", "--format", format_)
        done = opsctl(*argv, cwd=project, environ={"PRE_URL": "canary-value"})

        assert done.returncode == 0
        assert "env:PRE_URL" in done.stdout.replace("\\", "")  # Markdown escapes the _
        assert "file:" in done.stdout
        assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("argv", "environ", "name", "why"),
    [
        (("--env", "production"), {"OPSCTL_ENV": "pre"}, "production", "--env"),
        ((), {"OPSCTL_ENV": "production"}, "production", "OPSCTL_ENV"),
        ((), {"OPSCTL_DEFAULT_ENVIRONMENT": "production"}, "production",
         "OPSCTL_DEFAULT_ENVIRONMENT"),
    ],
)  # fmt: skip
def test_show_says_what_chose_the_environment(
    project: Path, argv: tuple[str, ...], environ: dict[str, str], name: str, why: str
) -> None:
    done = opsctl("config", "show", *argv, "--format", "json", cwd=project, environ=environ)

    assert document(done)["data"]["environment"] == {"name": name, "from": why}


def test_check_says_what_it_read(project: Path) -> None:
    done = opsctl(
        "config", "check", "--format", "json", cwd=project, environ={"OPSCTL_STATE": "a.db"}
    )

    assert done.returncode == 0
    assert document(done)["data"] == {
        "sources": [str(project / "opsctl.yaml"), "OPSCTL_STATE"],
        "environments": ["pre", "production"],
    }


def test_without_settings_all_is_default_and_well(tmp_path: Path) -> None:
    done = opsctl("config", "show", "--format", "json", cwd=tmp_path)

    data = document(done)["data"]
    assert done.returncode == 0
    assert set(data["origins"].values()) == {"default"}
    assert data["environment"] == {"name": None, "from": "none was chosen"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_settings_end_in_one_clear_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(HOSTILE[name])
    done = opsctl("config", "show", "--config", str(path), cwd=tmp_path)

    assert done.returncode == 2, done.stderr[:500]
    assert done.stdout == ""
    assert re.search(r"^  why ", done.stderr, re.MULTILINE)
    assert re.search(r"^  next ", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert not re.search(r"^  code  unexpected$", done.stderr, re.MULTILINE)
    assert "canary" not in done.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stderr)
    assert not re.search(r"^\s*::", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("name", ["plain secret", "key twice", "deep lists"])
def test_an_error_before_the_command_begins_speaks_json_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(HOSTILE[name])
    argv = ("config", "check", "--config", str(path), "--format", "json", "--verbose")
    done = opsctl(*argv, cwd=tmp_path)

    found = document(done)
    assert (done.returncode, found["exit_code"], found["status"]) == (2, 2, "failed")
    assert set(found["error"]) == {"code", "what", "why", "hint"}
    assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize(("what", "file"), [("settings", "settings"), ("json", "output")])
def test_schema_is_json_as_it_stands_and_needs_no_settings(
    tmp_path: Path, what: str, file: str
) -> None:
    (tmp_path / "opsctl.yaml").write_text("broken: [")
    done = opsctl("config", "schema", "--for", what, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == schema(file)

    done = opsctl("config", "schema", "--for", what, "--format", "json", cwd=tmp_path)

    assert document(done)["data"] == {"schema": schema(file)}


def test_schema_of_something_else_is_refused(tmp_path: Path) -> None:
    done = opsctl("config", "schema", "--for", "nothing", cwd=tmp_path)

    assert done.returncode == 2
    assert "settings" in done.stderr


def test_schema_starts_without_what_is_slow() -> None:
    code = (
        "import sys\nfrom opsctl.cli.root import run\n"
        "assert run(['config', 'schema']) == 0\n"
        "slow = ('pydantic', 'yaml', 'rich', 'httpx', 'psycopg', 'sqlite3', 'json')\n"
        "print([name for name in slow if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"


def test_the_output_schema_knows_what_the_program_knows() -> None:
    properties = schema("output")["properties"]
    finding = properties["findings"]["items"]
    location = finding["properties"]["location"]

    assert set(properties["status"]["enum"]) == {each.value for each in Status}
    assert set(properties["exit_code"]["enum"]) == {each.value for each in Exit}
    # The key is SARIF's fingerprint, and stands there alone.
    assert set(finding["properties"]) == {each.name for each in fields(Finding)} - {"key"}
    assert set(finding["properties"]["severity"]["enum"]) == {each.value for each in Severity}
    assert set(finding["properties"]["status"]["enum"]) == {each.value for each in Status}
    location = next((each for each in location.get("anyOf", []) if "properties" in each), location)
    assert set(location["properties"]) == {each.name for each in fields(Location)}
