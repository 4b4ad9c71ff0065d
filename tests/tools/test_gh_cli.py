"""The real gh works against the control plane, and reads what the adapter reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from opsctl.adapters.github import GithubApi
from opsctl.core.process import Finished, run_program
from opsctl.core.settings import Github
from opsctl.sandbox.github_plane import GithubPlane

GH = Path(sys.executable).with_name("gh")
TOKEN = "-".join(["canary", "token", "6615"])


def gh(plane: GithubPlane, home: Path, *words: str, token: str = TOKEN) -> Finished:
    """Run gh. It knows one host without TLS, github.localhost; a proxy stands for it."""
    env = {
        "GH_CONFIG_DIR": str(home),
        "GH_ENTERPRISE_TOKEN": token,
        "GH_HOST": "github.localhost",
        "GH_NO_UPDATE_NOTIFIER": "1",
        "GH_TELEMETRY": "false",
        "GH_TOKEN": token,
        "HTTP_PROXY": plane.url,
        "NO_PROXY": "",
        "http_proxy": plane.url,
        "no_proxy": "",
    }
    where = ("-R", f"github.localhost/{plane.repository}")
    return run_program([str(GH), *words, *where], env=env, cwd=str(home), timeout_s=60)


def test_the_version_is_the_pinned_one() -> None:
    said = run_program([str(GH), "--version"]).stdout

    assert said.startswith("gh version 2.103.3 ")


def test_gh_and_the_adapter_list_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_TOKEN", TOKEN)
    with GithubPlane(token=TOKEN) as plane:
        for number in range(130):
            plane.put_secret(f"KEY_{number:03}")
            plane.put_variable(f"V_{number:03}", f"v{number}")
        plane.put_secret("OWN", environment="production")
        api = GithubApi(Github(repository=plane.repository, token="env:T_TOKEN", api=plane.url))

        def listed(*words: str) -> list[dict[str, str]]:
            done = gh(plane, tmp_path, *words)
            assert done.exit_code == 0, done.stderr
            return list(json.loads(done.stdout))

        assert [(each.name, each.updated_at) for each in api.secrets()] == [
            (each["name"], each["updatedAt"])
            for each in listed("secret", "list", "--json", "name,updatedAt")
        ]
        assert [(each.name, each.value) for each in api.variables()] == [
            (each["name"], each["value"])
            for each in listed("variable", "list", "--json", "name,value")
        ]
        assert [each.name for each in api.secrets("production")] == [
            each["name"]
            for each in listed("secret", "list", "--env", "production", "--json", "name")
        ]


def test_gh_is_refused_with_a_wrong_token(tmp_path: Path) -> None:
    with GithubPlane(token=TOKEN) as plane:
        done = gh(plane, tmp_path, "secret", "list", token="-".join(["not", "it"]))

    assert done.exit_code != 0
    assert "401" in done.stderr
