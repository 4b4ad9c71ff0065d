"""The real vercel works against the control plane, and the adapter sees what it did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.node_tools import find_tool, tool_version
from opsctl.adapters.vercel import VercelApi
from opsctl.core.process import Finished, run_program
from opsctl.core.settings import Vercel
from opsctl.engine.perform import perform
from opsctl.sandbox.vercel_plane import VercelPlane

pytestmark = pytest.mark.node
TOKEN = "".join(["canary", "token", "6614"])
Run = Callable[..., Finished]


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[VercelPlane]:
    monkeypatch.setenv("T_TOKEN", TOKEN)
    with VercelPlane(token=TOKEN) as plane:
        yield plane


@pytest.fixture
def api(plane: VercelPlane) -> VercelApi:
    return VercelApi(Vercel(project="web", team=plane.team, token="env:T_TOKEN", api=plane.url))


@pytest.fixture
def vercel(project: Path, plane: VercelPlane) -> Run:
    """Run vercel for the plane's project, and require its exit code."""

    def run(*words: str, code: int = 0, token: str = TOKEN) -> Finished:
        done = run_program(
            [str(project / "node_modules" / ".bin" / "vercel"), "--api", plane.url, *words],
            env={
                "CI": "1",
                "HOME": str(project),
                "XDG_DATA_HOME": str(project / "data"),
                "NO_UPDATE_NOTIFIER": "1",
                "VERCEL_ORG_ID": plane.team,
                "VERCEL_PROJECT_ID": plane.project_id,
                "VERCEL_TELEMETRY_DISABLED": "1",
                "VERCEL_TOKEN": token,
            },
            cwd=str(project),
            timeout_s=60,
        )
        assert done.exit_code == code, done.stdout + done.stderr
        return done

    return run


def said(done: Finished) -> dict[str, Any]:
    return dict(json.loads(done.stdout))


def test_the_version_is_the_pinned_one(project: Path) -> None:
    program = find_tool(project, "vercel")

    assert program == project / "node_modules" / ".bin" / "vercel"
    assert tool_version(program, "vercel") == "60.1.3"


def test_ls_and_the_adapter_list_the_same(vercel: Run, plane: VercelPlane, api: VercelApi) -> None:
    for number in range(5):
        plane.add_deployment(f"{number:040x}", target=None if number % 2 else "production")
    found, _ = api.deployments(api.project(), most=9)

    assert [(each.url, each.state, each.target or None, each.commit) for each in found] == [
        (each["url"], each["state"], each["target"], each["meta"]["githubCommitSha"])
        for each in said(vercel("ls", "--json"))["deployments"]
    ]
    assert len(found) == 5


def test_ls_filters_by_commit_as_the_adapter_does(
    vercel: Run, plane: VercelPlane, api: VercelApi
) -> None:
    for commit in ("a" * 40, "b" * 40):
        plane.add_deployment(commit)

    listed = said(vercel("ls", "-m", f"githubCommitSha={'a' * 40}", "--json"))["deployments"]

    found, _ = api.deployments(api.project(), most=9, sha="a" * 40)
    assert [each.url for each in found] == [each["url"] for each in listed]
    assert len(found) == 1


def test_env_ls_and_the_adapter_list_the_same(
    vercel: Run, plane: VercelPlane, api: VercelApi
) -> None:
    plane.add_variable("BOTH", "v", "production", "preview")
    plane.add_variable("OPEN", "v", type="plain")
    plane.add_variable("SEALED", "v", type="sensitive")

    listed = said(vercel("env", "ls", "--json"))["envs"]

    assert [
        (each.name, each.type, list(each.targets), each.updated_ms)
        for each in api.variables().variables
    ] == [(each["key"], each["type"], sorted(each["target"]), each["updatedAt"]) for each in listed]
    assert len(listed) == 3


def test_inspecting_the_domain_and_the_adapter_name_the_same_deployment(
    vercel: Run, plane: VercelPlane, api: VercelApi
) -> None:
    plane.add_deployment("a" * 40, live=True)
    plane.add_deployment("b" * 40)

    inspected = said(vercel("inspect", "web.example.com", "--json"))

    live = api.production(api.project()).deployment
    assert live is not None
    assert (live.id, live.url, live.target, live.state) == tuple(
        inspected[key] for key in ("id", "url", "target", "readyState")
    )


def test_promote_and_rollback_move_what_the_adapter_calls_live(
    vercel: Run, plane: VercelPlane, api: VercelApi
) -> None:
    old = plane.add_deployment("a" * 40, live=True)
    new = plane.add_deployment("b" * 40, live=True)

    def live() -> tuple[str | None, bool | None]:
        project = api.project()
        deployment = api.production(project).deployment
        return deployment.id if deployment else None, project.auto_assign

    vercel("rollback", old, "--yes")
    assert (old, False) == live()
    vercel("promote", new, "--yes")
    assert (new, True) == live()
    assert plane.count("POST", f"/v10/projects/prj_web/promote/{new}") == 1


def test_the_adapter_promotes_with_the_request_of_the_program(
    vercel: Run, plane: VercelPlane, api: VercelApi
) -> None:
    old = plane.add_deployment("a" * 40, live=True)
    plane.add_deployment("b" * 40, live=True)
    plane.takes_s = 0.0
    vercel("promote", old, "--yes")
    (theirs,) = [each for each in plane.asked if each.method == "POST"]
    plane.add_deployment("c" * 40, live=True)
    project, deployment = api.project(), api.deployment(old)
    assert deployment is not None

    perform(api.promote(project, deployment), waiting=lambda text: None)

    ours = plane.asked[-1]
    assert (theirs.method, theirs.path, theirs.body) == (ours.method, ours.path, ours.body)


def test_redeploying_sends_what_the_program_sends(
    vercel: Run, plane: VercelPlane, api: VercelApi
) -> None:
    old = plane.add_deployment("a" * 40, live=True)
    vercel("redeploy", old, "--no-wait")
    (theirs,) = [each for each in plane.asked if each.method == "POST"]
    deployment = api.deployment(old)
    assert deployment is not None

    perform(api.redeploy(deployment), waiting=lambda text: None)

    ours = plane.asked[-1]
    assert (theirs.path, theirs.body) == (ours.path, ours.body)
    assert "1" == theirs.query["forceNew"] == ours.query["forceNew"]


def test_what_is_live_already_is_refused(vercel: Run, plane: VercelPlane) -> None:
    live = plane.add_deployment("a" * 40, live=True)

    assert "(409)" in vercel("promote", live, "--yes", code=1).stderr


def test_a_wrong_token_is_refused(vercel: Run, plane: VercelPlane) -> None:
    vercel("ls", "--json", code=1, token="".join(["not", "it"]))
