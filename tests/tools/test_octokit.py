"""GitHub's own client and the adapter read the same from the control plane."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.github import GithubApi
from opsctl.core.process import Finished, run_program
from opsctl.core.settings import Github
from opsctl.sandbox.github_plane import GithubPlane

pytestmark = pytest.mark.node
TOKEN = "-".join(["canary", "token", "6613"])


def octokit(project: Path, plane: GithubPlane, *, token: str = TOKEN) -> Finished:
    shutil.copy(Path(__file__).with_name("octokit.mjs"), project)
    owner, name = plane.repository.split("/")
    argv = [str(shutil.which("node")), "octokit.mjs", plane.url, owner, name, "production"]
    return run_program(argv, env={"GITHUB_TOKEN": token}, cwd=str(project), timeout_s=60)


def test_the_client_and_the_adapter_agree_on_every_page(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_TOKEN", TOKEN)
    with GithubPlane(token=TOKEN, head="c" * 40) as plane:
        for number in range(130):
            plane.put_secret(f"KEY_{number:03}")
            plane.put_variable(f"V_{number:03}", f"v{number}")
        plane.put_secret("OWN", environment="production")
        plane.put_variable("OWN", "v", environment="production")
        done = octokit(project, plane)
        assert done.exit_code == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)

        api = GithubApi(Github(repository=plane.repository, token="env:T_TOKEN", api=plane.url))
        repository = api.repository()

        assert (said["repository"], said["branch"], said["head"]) == (
            repository.name, repository.default_branch, repository.head
        )  # fmt: skip
        assert said["secrets"] == [each.name for each in api.secrets()]
        assert [(each["name"], each["value"]) for each in said["variables"]] == [
            (each.name, each.value) for each in api.variables()
        ]
        assert said["environment_secrets"] == [each.name for each in api.secrets("production")]
        assert said["environment_variables"] == [each.name for each in api.variables("production")]
        assert 130 == len(said["secrets"])


def test_the_client_is_refused_as_by_github(project: Path) -> None:
    with GithubPlane(token=TOKEN, head="c" * 40) as plane:
        done = octokit(project, plane, token="-".join(["not", "it"]))

    assert done.exit_code == 1
    assert "Bad credentials" in done.stderr
