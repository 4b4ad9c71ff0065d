"""The vendors' real programs do their work against the control planes that the sandbox serves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opsctl.core.process import Finished, run_program
from opsctl.sandbox.planes import PROJECT, REF, REPOSITORY, make_planes, read_token
from opsctl.sandbox.planes_process import PlanesProcess
from opsctl.sandbox.vercel_plane import VercelPlane

pytestmark = pytest.mark.node
GH = Path(sys.executable).with_name("gh")
Run = Callable[..., Finished]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[PlanesProcess]:
    """The planes in a process of their own, two releases on Vercel."""
    process = PlanesProcess(tmp_path)
    process.prepare()
    kinds = ("vercel", "supabase", "github", "slack", "statuspage")
    planes = make_planes({kind: read_token(process.folder, kind) for kind in kinds})
    (vercel,) = (each for each in planes if isinstance(each, VercelPlane))
    vercel.add_deployment("a" * 40, live=True)
    vercel.add_deployment("b" * 40, live=True)
    vercel.keep_in(process.folder / "vercel.json")
    process.begin()
    process.wait()
    yield process
    process.stop()


def kept(process: PlanesProcess, kind: str) -> dict[str, Any]:
    return dict(json.loads((process.folder / f"{kind}.json").read_text()))


def url(process: PlanesProcess, kind: str) -> str:
    return f"http://127.0.0.1:{process.ports[kind]}"


@pytest.fixture
def vercel(project: Path, served: PlanesProcess) -> Run:
    def run(*words: str, stdin: str | None = None, code: int = 0) -> Finished:
        done = run_program(
            [str(project / "node_modules" / ".bin" / "vercel"),
             "--api", url(served, "vercel"), *words],
            env={
                "CI": "1",
                "HOME": str(project),
                "XDG_DATA_HOME": str(project / "data"),
                "NO_UPDATE_NOTIFIER": "1",
                "VERCEL_ORG_ID": "team_sandbox",
                "VERCEL_PROJECT_ID": f"prj_{PROJECT}",
                "VERCEL_TELEMETRY_DISABLED": "1",
                "VERCEL_TOKEN": read_token(served.folder, "vercel"),
            },
            cwd=str(project),
            stdin=stdin,
            timeout_s=120,
        )  # fmt: skip
        assert done.exit_code == code, done.stdout + done.stderr
        return done

    return run


def test_vercel_rolls_back_and_a_new_process_remembers_it(
    vercel: Run, served: PlanesProcess
) -> None:
    old, new = kept(served, "vercel")["deployments"]

    vercel("rollback", old, "--yes")
    pid, ports = served.pid, served.ports
    served.stop()
    served.begin()
    served.wait()

    assert (pid != served.pid, ports) == (True, served.ports)
    state = kept(served, "vercel")
    assert ({old}, False) == (set(state["aliases"].values()), state["auto_assign"])
    found = json.loads(vercel("inspect", f"{PROJECT}.example.com", "--json").stdout)
    assert old == found["id"]
    vercel("promote", new, "--yes")
    assert kept(served, "vercel")["auto_assign"] is True


def test_vercel_writes_and_removes_variables(vercel: Run, served: PlanesProcess) -> None:
    value = "-".join(["canary", "variable", "8801"])

    vercel("env", "add", "API_KEY", "production", stdin=f"{value}\n")
    (added,) = kept(served, "vercel")["variables"]
    vercel("env", "update", "API_KEY", "production", "--yes", stdin="another\n")
    (updated,) = kept(served, "vercel")["variables"]
    vercel("env", "rm", "API_KEY", "production", "--yes")

    assert ("API_KEY", value, ["production"], "sensitive") == (
        added["key"], added["value"], added["target"], added["type"]
    )  # fmt: skip
    assert ("another", True) == (updated["value"], updated["updatedAt"] > added["updatedAt"])
    assert [] == kept(served, "vercel")["variables"]


def test_a_server_error_after_the_effect_is_repeated_by_the_program_itself(
    vercel: Run, served: PlanesProcess
) -> None:
    """Why opsctl sends the request itself: the program sends it again, blindly."""
    old, _ = kept(served, "vercel")["deployments"]
    served.act("vercel", "fault", {"kind": "error-after", "path": "/rollback/", "method": "POST"})

    done = vercel("rollback", old, "--yes", code=1)

    assert "409" in done.stderr
    assert {old} == set(kept(served, "vercel")["aliases"].values())


def gh(process: PlanesProcess, home: Path, *words: str, stdin: str | None = None) -> Finished:
    """Run gh. It knows one host without TLS, github.localhost; a proxy stands for it."""
    token, proxy = read_token(process.folder, "github"), url(process, "github")
    env = {
        "GH_CONFIG_DIR": str(home),
        "GH_ENTERPRISE_TOKEN": token,
        "GH_HOST": "github.localhost",
        "GH_NO_UPDATE_NOTIFIER": "1",
        "GH_TELEMETRY": "false",
        "GH_TOKEN": token,
        "HTTP_PROXY": proxy,
        "NO_PROXY": "",
        "http_proxy": proxy,
        "no_proxy": "",
    }
    where = ("-R", f"github.localhost/{REPOSITORY}")
    done = run_program([str(GH), *words, *where], env=env, cwd=str(home), stdin=stdin)
    assert done.exit_code == 0, done.stderr
    return done


def test_gh_seals_secrets_for_every_scope_and_they_open(
    served: PlanesProcess, tmp_path: Path
) -> None:
    values = {scope: "-".join(["canary", scope, "8802"]) for scope in ("repo", "env", "bot")}
    served.act("github", "environment", {"name": "production"})

    gh(served, tmp_path, "secret", "set", "KEY", stdin=values["repo"])
    gh(served, tmp_path, "secret", "set", "KEY", "--env", "production", stdin=values["env"])
    gh(served, tmp_path, "secret", "set", "KEY", "--app", "dependabot", stdin=values["bot"])
    gh(served, tmp_path, "variable", "set", "REGION", "--body", "eu")
    gh(served, tmp_path, "variable", "set", "REGION", "--body", "us")

    state = kept(served, "github")
    assert {
        "actions": {"KEY": values["repo"]},
        "environment:production": {"KEY": values["env"]},
        "dependabot": {"KEY": values["bot"]},
    } == state["values"]
    assert 3 == len({pair["key"] for pair in state["pairs"].values()})
    assert "us" == state["kept"]["variables actions"]["REGION"]["value"]
    gh(served, tmp_path, "secret", "delete", "KEY")
    assert {} == kept(served, "github")["kept"]["secrets actions"]


def supabase(process: PlanesProcess, project: Path, *words: str, stdin: str | None = None) -> Any:
    profile = project / "profile.yaml"
    api = url(process, "supabase")
    profile.write_text(
        f"name: sandbox\napi_url: {api}\ndashboard_url: {api}\nproject_host: localhost\n"
    )
    done = run_program(
        [str(project / "node_modules" / ".bin" / "supabase"), "--profile", str(profile), *words,
         f"--remote={REF}", "-o", "json"],
        env={"SUPABASE_ACCESS_TOKEN": read_token(process.folder, "supabase")},
        cwd=str(project),
        stdin=stdin,
    )  # fmt: skip
    assert done.exit_code == 0, done.stdout + done.stderr
    return json.loads(done.stdout) if words[0] == "projects" or words[-1] == "list" else None


def test_supabase_lists_keys_masked_or_revealed_and_keeps_secrets(
    served: PlanesProcess, project: Path
) -> None:
    secret = next(each for each in kept(served, "supabase")["keys"] if each["type"] == "secret")

    listed = supabase(served, project, "projects", "api-keys")
    shown = supabase(served, project, "projects", "api-keys", "--reveal")
    supabase(served, project, "secrets", "set", "MY_KEY=v1", "--yes")
    names = supabase(served, project, "secrets", "list")

    assert {"anon", "service_role", "default"} == {each["name"] for each in listed}
    assert secret["api_key"] not in json.dumps(listed)
    assert secret["api_key"] in json.dumps(shown)
    assert ["MY_KEY"] == [each["name"] for each in names]
    assert "v1" not in json.dumps(names)
