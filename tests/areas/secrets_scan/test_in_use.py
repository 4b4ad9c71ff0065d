"""The hook and the workflow as users have them, and what the formats of other tools need."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.areas.secrets_scan.made_up import expand

Scanning = Callable[..., Any]
ROOT = Path(__file__).parents[3]


def secret(seed: object = 1) -> str:
    return expand("{crc:ghp_}", random.Random(str(seed)))


@pytest.fixture
def opsctl_on_path(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put this tree's opsctl first on the PATH, as an installation would."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "opsctl"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m opsctl "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_the_pre_commit_hook_refuses_a_secret_and_lets_the_rest_pass(
    git: Scanning, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
    opsctl_on_path: None, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["language"] == "python"
    # Installed already: its own environment would be made from a package index.
    hook = {**hook, "language": "system", "additional_dependencies": []}
    config = {"repos": [{"repo": "local", "hooks": [hook]}]}
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path_factory.mktemp("pre-commit")))
    pre_commit = [sys.executable, "-m", "pre_commit"]
    subprocess.run([*pre_commit, "install"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "a.txt").write_text("harmless\n")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    (tmp_path / "a.txt").write_text(f"token = {secret()}\n")
    git("add", "a.txt")

    refused = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-m", "second"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert refused.returncode == 1
    assert "a.txt:1:9" in refused.stdout + refused.stderr
    assert secret() not in refused.stdout + refused.stderr
    assert git("rev-list", "--count", "HEAD") == "1"


def test_the_workflow_writes_what_it_uploads(
    git: Scanning, tmp_path: Path, opsctl_on_path: None
) -> None:
    workflow = yaml.safe_load((ROOT / "docs" / "examples" / "secrets-scan.yml").read_text())
    steps = workflow["jobs"]["secrets"]["steps"]
    (tmp_path / "a.txt").write_text(f"token = {secret()}\n")
    git("add", "-A")
    git("commit", "-q", "-m", "x")

    codes = [
        subprocess.run(shlex.split(step["run"]), cwd=tmp_path, check=False).returncode
        for step in steps
        if step.get("run", "").startswith("opsctl ")
    ]

    assert codes == [1]
    upload = next(step for step in steps if "upload-sarif" in step.get("uses", ""))
    assert upload["if"].startswith("always()")
    sarif = json.loads((tmp_path / upload["with"]["sarif_file"]).read_text())
    (result,) = sarif["runs"][0]["results"]
    assert result["ruleId"] == "github-token"
    checkout = next(step for step in steps if "checkout" in step.get("uses", ""))
    assert checkout["with"]["fetch-depth"] == 0
    assert workflow["jobs"]["secrets"]["permissions"]["security-events"] == "write"


def test_a_fingerprint_follows_a_secret_over_commits(scan: Scanning, tmp_path: Path) -> None:
    def prints() -> list[str]:
        run = json.loads(scan("--format", "sarif").out)["runs"][0]
        return [each["partialFingerprints"]["opsctlFinding/v1"] for each in run["results"]]

    (tmp_path / "a.txt").write_text(f"{secret(1)}\n{secret(2)}\n")
    first = prints()
    (tmp_path / "a.txt").write_text(f"\n\n{secret(2)}\nmore\n{secret(1)}\n")
    moved = prints()
    (tmp_path / "a.txt").write_text(f"{secret(3)}\n")

    assert len(set(first)) == 2
    assert set(moved) == set(first)
    assert not set(prints()) & set(first)


def test_every_format_holds_the_finding(scan: Scanning, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"x\n{secret()}\n")

    github = scan("--format", "github").out
    junit = ElementTree.fromstring(scan("--format", "junit").out)
    markdown = scan("--format", "markdown").out
    sarif = json.loads(scan("--format", "sarif").out)["runs"][0]

    assert "::error file=a.txt,line=2,col=1,title=GitHub token::" in github
    assert junit.findall(".//failure")
    assert "a.txt:2" in markdown
    (result,) = sarif["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a.txt"
    assert place["region"] == {"startLine": 2, "startColumn": 1}
    assert "revoke" in sarif["tool"]["driver"]["rules"][0]["fullDescription"]["text"]


class _Project:
    """A stand-in for a Supabase project: it knows one key, and counts who asks."""

    def __init__(self, key: str) -> None:
        import http.server
        import threading

        asked = self.asked = []  # type: ignore[var-annotated]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, self.headers.get("apikey")))
                good = self.headers.get("apikey") == key
                self.send_response(200 if good else 401)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *parts: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def test_live_asks_the_configured_project_alone(scan: Scanning, tmp_path: Path) -> None:
    dice = random.Random(3)
    good, bad = (expand("sb_secret_{b22}_{b8}", dice) for _ in range(2))
    foreign = expand("{jwt:service_role}", dice)
    (tmp_path / "a.txt").write_text(f"{good}\n{bad}\n{foreign}\n{secret()}\n")
    project = _Project(good)
    (tmp_path / "opsctl.yaml").write_text(
        f"environments:\n  production: {{supabase: {{url: '{project.url}'}}}}\n"
    )
    try:
        silent = scan()
        assert project.asked == []
        live = scan("--live")
    finally:
        project.server.shutdown()
        project.server.server_close()

    evidence = {each["location"]["line"]: each["evidence"] for each in live.data["findings"]}
    assert len(silent.secrets) == 4
    assert "it WORKS" in evidence[1]
    assert "refuses it" in evidence[2]
    assert "WORKS" not in evidence[3] + evidence[4]
    assert {key for _, key in project.asked} == {good, bad}


def test_live_without_a_project_is_refused(scan: Scanning, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(secret())
    assert scan("--live").code == 2
