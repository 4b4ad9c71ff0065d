"""Secrets of every kind in what a build serves, by the rules of secrets-scan."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.areas.secrets_scan.made_up import expand, jwt

from .conftest import Project
from .test_check import findings


def made(template: str) -> str:
    return expand(template, random.Random(template))


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def served(document: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return (rule, file, line) of the secrets in a report."""
    return [(each["rule"], each["file"], each["line"]) for each in document["data"]["secrets"]]


@pytest.mark.parametrize(
    ("secret", "rule"),
    [
        (made("{crc:ghp_}"), "github-token"),
        (jwt("service_role", random.Random(1)), "supabase-jwt"),
        (made("sb_secret_{A22}_{A8}"), "supabase-secret-key"),
    ],
    ids=["github", "service_role", "sb_secret"],
)
def test_a_secret_that_no_env_file_holds_is_found_and_not_shown(
    project: Project, secret: str, rule: str
) -> None:
    project.write("dist/assets/later.js", f'let a=1;\nlet key="{secret}";')

    code, text, err = project.check("--format", "json")

    assert code == 1
    assert served(json.loads(text)) == [(rule, "dist/assets/later.js", 2)]
    for name in ("text", "markdown", "github", "junit", "sarif"):
        text += project.check("--format", name)[1]
    assert secret not in text + err
    for path in project.folder.rglob(".opsctl/**/*.json"):
        assert secret not in path.read_text()


def test_a_secret_in_a_source_map_is_found_by_its_form(project: Project) -> None:
    text = json.dumps({"sourcesContent": [f"const t = '{made('{crc:ghp_}')}'"]})
    project.write("dist/assets/home.js.map", text)

    assert served(project.document()) == [("github-token", "dist/assets/home.js.map", 1)]


@pytest.mark.parametrize(
    "public",
    [jwt("anon", random.Random(2)), made("sb_publishable_{A22}_{A8}")],
    ids=["anon", "publishable"],
)
def test_a_key_that_is_public_by_design_is_no_secret(project: Project, public: str) -> None:
    project.write("dist/assets/home.js", f'let key="{public}"')

    document = project.document()

    assert (document["exit_code"], served(document)) == (0, [])


def test_a_value_of_an_env_file_is_told_once(project: Project) -> None:
    secret = made("{crc:ghp_}")
    project.write(".env", f"GITHUB_TOKEN={secret}\n")
    project.write("dist/assets/home.js", f'let key="{secret}"')

    assert findings(project.document(), "bundle-secret") == [
        ("bundle-secret", "failed", "The secret GITHUB_TOKEN is served to browsers")
    ]


def allow_by(how: str, secret: str, project: Project) -> str:
    """Let a secret stay, and return the line it stands on."""
    scan: dict[str, Any] = {}
    line = f'let key="{secret}"'
    if how == "comment":
        line += " // opsctl:allow"
    elif how == "value":
        scan["allow_values"] = [f"{secret[:12]}*"]
    elif how == "path":
        scan["allow_paths"] = ["dist/assets/*.js"]
    project.write("opsctl.yaml", json.dumps({"version": 1, "secrets_scan": scan}))
    return line


@pytest.mark.parametrize("how", ["comment", "value", "path"])
def test_what_may_stay_for_the_scanner_may_stay_here(project: Project, how: str) -> None:
    line = allow_by(how, made("{crc:ghp_}"), project)
    project.write("dist/assets/home.js", line)

    document = project.document()

    assert (document["exit_code"], served(document)) == (0, [])


def test_what_was_clean_is_read_again_for_a_new_rule_only(project: Project) -> None:
    project.write("dist/assets/home.js", 'let key="ACME-73918-XYZ"')
    remembered = project.folder / ".opsctl" / "cache" / "bundle-sizes.json"
    assert served(project.document()) == []
    clean = json.loads(remembered.read_text())["clean"]
    assert len(clean) == 5
    assert served(project.document()) == []
    assert json.loads(remembered.read_text())["clean"] == clean

    rule = {"id": "acme", "description": "Acme", "pattern": "ACME-[0-9]{5}-XYZ",
            "keywords": ["acme"], "next": "tell Acme"}  # fmt: skip
    text = json.dumps({"version": 1, "secrets_scan": {"rules": [rule]}})
    (project.folder / "opsctl.yaml").write_text(text)

    assert served(project.document()) == [("acme", "dist/assets/home.js", 1)]
    assert served(project.document()) == [("acme", "dist/assets/home.js", 1)]


def test_a_known_clean_file_that_changed_is_read_again(project: Project, tmp_path: Path) -> None:
    assert served(project.document()) == []

    project.write("dist/assets/home.js", f'let key="{made("{crc:ghp_}")}"')

    assert served(project.document()) == [("github-token", "dist/assets/home.js", 1)]
