"""The hook and the workflow as strangers get them: installed from this tree by pip.

That asks a package registry, so it belongs to the long suite; by default only what needs none is
looked at.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.areas.secrets_scan.made_up import expand

Scanning = Callable[..., Any]
ROOT = Path(__file__).parents[3]
PARTS = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")


def secret() -> str:
    return expand("{crc:ghp_}", random.Random("installed"))


def repository_of_opsctl(folder: Path, git: Scanning) -> Path:
    """Make a repository of what an installation needs, with a tag as a release has it."""
    folder.mkdir()
    for name in PARTS:
        shutil.copy(ROOT / name, folder / name)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("src", "runbooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "x"), ("tag", "v1")):
        git(*words, cwd=folder)
    return folder


def run(*argv: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, argv)), cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_the_hook_is_installed_and_run_by_pre_commit_itself(
    git: Scanning, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, soak: bool
) -> None:
    folder = tmp_path_factory.mktemp("hook")
    hooks = repository_of_opsctl(folder / "opsctl", git)
    pre_commit = [sys.executable, "-m", "pre_commit"]
    if not soak:
        done = run(*pre_commit, "validate-manifest", ".pre-commit-hooks.yaml", cwd=hooks)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        return
    hook = {"repo": str(hooks), "rev": "v1", "hooks": [{"id": "opsctl-secrets-scan"}]}
    config = {"repos": [hook]}
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "a.txt").write_text("harmless\n")
    git("add", "-A")
    home = str(folder / "home")

    clean = run(*pre_commit, "run", cwd=tmp_path, PRE_COMMIT_HOME=home)
    (tmp_path / "a.txt").write_text(f"token = {secret()}\n")
    git("add", "-A")
    refused = run(*pre_commit, "run", cwd=tmp_path, PRE_COMMIT_HOME=home)

    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert "Passed" in clean.stdout
    assert refused.returncode == 1
    assert "a.txt:1:9" in refused.stdout
    assert "without Hyperscan" not in refused.stdout
    assert secret() not in refused.stdout + refused.stderr


def test_every_step_of_the_workflow_is_run_in_its_order(
    git: Scanning, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, soak: bool
) -> None:
    workflow = yaml.safe_load((ROOT / "docs" / "examples" / "secrets-scan.yml").read_text())
    scripts = [step["run"] for step in workflow["jobs"]["secrets"]["steps"] if "run" in step]
    assert [script.split()[0] for script in scripts] == ["pip", "opsctl"]
    (tmp_path / "a.txt").write_text(f"token = {secret()}\n")
    git("add", "-A")
    git("commit", "-q", "-m", "x")
    folder = tmp_path_factory.mktemp("runner")
    if not soak:
        assert [run("bash", "-n", "-c", each, cwd=folder).returncode for each in scripts] == [0, 0]
        return
    made = folder / "venv"
    source = repository_of_opsctl(folder / "opsctl", git)
    assert run(sys.executable, "-m", "venv", made, cwd=folder).returncode == 0
    # git fetches this tree in the place of what is published.
    env = {
        "PATH": f"{made / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{source}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/OWNER/opsctl",
    }

    done = [run("bash", "-e", "-c", script, cwd=tmp_path, **env) for script in scripts]

    assert [each.returncode for each in done] == [0, 1], [each.stderr for each in done]
    (result,) = json.loads((tmp_path / "secrets.sarif").read_text())["runs"][0]["results"]
    assert result["ruleId"] == "github-token"
    assert secret() not in "".join(each.stdout + each.stderr for each in done)
