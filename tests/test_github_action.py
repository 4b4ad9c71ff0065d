"""The composite action and the reusable workflows: their scripts are run as GitHub runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from first_run import World, first_run_world

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("opsctl-*.yml"))
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))


def steps_of(path: Path) -> list[dict[str, Any]]:
    """Return every step of a workflow."""
    return [step for job in yaml.safe_load(path.read_text())["jobs"].values()
            for step in job["steps"]]  # fmt: skip


def scripts() -> list[str]:
    """Return every script of the action and the workflows."""
    steps = [*ACTION["runs"]["steps"], *(step for path in WORKFLOWS for step in steps_of(path))]
    return [step["run"] for step in steps if "run" in step]


def run_step(
    script: str, folder: Path, *, bash: str = "bash", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a script as the runner does; what it writes for GitHub goes below `folder`."""
    runner = folder / "runner"
    runner.mkdir(exist_ok=True)
    given = {"PATH": PATH, "RUNNER_TEMP": str(runner), "GITHUB_ACTION_PATH": str(ROOT),
             "GITHUB_OUTPUT": str(runner / "output"), "GITHUB_PATH": str(runner / "path"),
             "GITHUB_STEP_SUMMARY": str(runner / "summary.md"), **env}  # fmt: skip
    return subprocess.run(
        [bash, "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, **given}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def run_action(folder: Path, command: str, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the action's last step with its inputs, the others as action.yml has them."""
    step = ACTION["runs"]["steps"][-1]
    env = {}
    for variable, expression in step["env"].items():
        name = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", expression)[1]  # type: ignore[index]
        default = ACTION["inputs"][name].get("default", "")
        env[variable] = inputs.get(name.replace("-", "_"), default)
    env["ACTION_COMMAND"] = command
    return run_step(step["run"], folder, **env)


def outputs(folder: Path) -> dict[str, str]:
    """Return the outputs of the step."""
    lines = (folder / "runner" / "output").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_inputs_reach_scripts_by_variables_alone() -> None:
    assert scripts()
    assert not [script for script in scripts() if "${{" in script]
    read = set(re.findall(r"ACTION_\w*[A-Z]", (ROOT / ".github/action/run.py").read_text()))
    given = set(ACTION["runs"]["steps"][-1]["env"])

    assert read <= given
    assert {name.removeprefix("ACTION_") for name in given - read} == {"SARIF", "JUNIT"}


def test_every_input_and_output_is_described_and_used() -> None:
    text = (ROOT / "action.yml").read_text()
    for name, each in ACTION["inputs"].items():
        assert each["description"]
        assert f"inputs.{name} }}}}" in text
    assert set(ACTION["outputs"]) == {"exit-code", "status", "report"}


def test_a_check_that_is_well(tmp_path: Path) -> None:
    done = run_action(tmp_path, "doctor --offline", sarif="found.sarif", junit="found.xml")
    found = outputs(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert (found["exit-code"], found["status"]) == ("0", "ok")
    assert json.loads(Path(found["report"]).read_text())["command"] == "doctor check"
    assert (tmp_path / "runner" / "summary.md").read_text().startswith("## ")
    assert json.loads((tmp_path / "found.sarif").read_text())["runs"]
    assert (tmp_path / "found.xml").is_file()


def test_a_check_that_fails_fails_the_step_with_annotations(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text("nonsense: 1\n")
    done = run_action(tmp_path, "doctor --offline")

    assert done.returncode == 1
    assert outputs(tmp_path)["status"] == "failed"
    assert "::error title=The settings are not valid::" in done.stdout


@pytest.mark.parametrize(("fail", "code"), [("true", 3), ("false", 0)])
def test_what_could_not_be_looked_at_fails_unless_told_otherwise(
    tmp_path: Path, fail: str, code: int
) -> None:
    (tmp_path / "opsctl.yaml").write_text(
        "environments: {a: {vercel: {project: web, token: 'env:NOT_THERE_AT_ALL'}}}\n"
    )
    done = run_action(tmp_path, "rollback app status", fail_on_unknown=fail)

    assert done.returncode == code
    assert outputs(tmp_path)["exit-code"] == "3"
    assert outputs(tmp_path)["status"] == "unknown"


@pytest.mark.parametrize(
    "command",
    ["", "opsctl", "doctor 'open", "doctor --format json", "doctor --also=json=x",
     "doctor --offline ; touch hacked", "doctor $(touch hacked)", "doctor `touch hacked`"],
)  # fmt: skip
def test_a_wrong_command_is_exit_2_and_nothing_is_expanded(tmp_path: Path, command: str) -> None:
    done = run_action(tmp_path, command)

    assert done.returncode == 2
    assert outputs(tmp_path)["exit-code"] == "2"
    assert "::error " in done.stdout
    assert not (tmp_path / "hacked").exists()


def test_a_leak_reaches_the_log_the_page_and_code_scanning(tmp_path: Path) -> None:
    """From a folder below the checkout, as the input working-directory has it."""
    word = "".join(("q7Rv9w", "Zk2mXc"))
    (tmp_path / "app").mkdir()
    leak = f"DATABASE_URL=postgresql://app:{word}@db.example.com/app\n"
    (tmp_path / "app" / "settings.env").write_text(f"# settings\n{leak}")
    done = run_action(tmp_path, "secrets-scan -- app", sarif="found.sarif", junit="found.xml")
    found = outputs(tmp_path)
    (result,) = json.loads((tmp_path / "found.sarif").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    (suite,) = ElementTree.parse(tmp_path / "found.xml").iter("testsuite")

    assert done.returncode == 1, done.stdout + done.stderr
    assert (found["exit-code"], found["status"]) == ("1", "failed")
    assert place["artifactLocation"]["uri"].endswith("settings.env")
    assert place["region"]["startLine"] == 2
    assert result["level"] == "error"
    assert re.search(r"^::error [^\n]*file=[^\n]*settings\.env,line=2", done.stdout, re.MULTILINE)
    assert int(suite.attrib["failures"]) == 1
    assert "settings.env" in (tmp_path / "runner" / "summary.md").read_text()
    assert "opsctl" in found["report"]
    everything = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert [each.name for each in everything if word in each.read_text()] == ["settings.env"]
    assert word not in done.stdout + done.stderr


def test_what_nobody_agreed_to_is_refused(tmp_path: Path) -> None:
    """Nobody can be asked there, so a change without --yes is exit 5 and not a question."""
    (tmp_path / "opsctl.yaml").write_text("environments: {a: {}}\n")
    done = run_action(tmp_path, "runbook run rollback --env a")

    assert done.returncode == 5, done.stdout + done.stderr
    assert (outputs(tmp_path)["exit-code"], outputs(tmp_path)["status"]) == ("5", "refused")
    assert "the plan was not agreed to" in done.stdout


def test_a_program_that_is_not_installed_could_not_look(tmp_path: Path) -> None:
    script = ACTION["runs"]["steps"][-1]["run"].replace("python ", f"{sys.executable} ", 1)
    env = {"PATH": "/nowhere", "ACTION_COMMAND": "doctor", "ACTION_SUMMARY": "true"}
    bash = shutil.which("bash")
    assert bash is not None
    done = run_step(script, tmp_path, bash=bash, **env)

    assert done.returncode == 3
    assert outputs(tmp_path) == {"exit-code": "3", "status": "unknown",
                                 "report": outputs(tmp_path)["report"]}  # fmt: skip
    assert "::error title=opsctl could not be started::" in done.stdout
    assert (tmp_path / "runner" / "summary.md").read_text() == "opsctl wrote no result.\n"


def test_a_command_that_is_ended_says_by_which_signal(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "opsctl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nkill -TERM $$\n")
    program.chmod(0o755)
    path = os.pathsep.join((str(program.parent), PATH))
    done = run_step(ACTION["runs"]["steps"][-1]["run"], tmp_path, PATH=path,
                    ACTION_COMMAND="doctor")  # fmt: skip

    assert done.returncode == 143
    assert outputs(tmp_path)["exit-code"] == "143"


def test_a_summary_is_only_written_where_it_is_wanted(tmp_path: Path) -> None:
    done = run_action(tmp_path, "opsctl doctor --offline", summary="false")

    assert done.returncode == 0
    assert not (tmp_path / "runner" / "summary.md").exists()


def test_a_summary_is_cut_to_what_github_shows(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text("é" * 700_000 + "\n")
    code = (
        "import importlib.util, pathlib, sys\n"
        f"spec = importlib.util.spec_from_file_location('run', {str(ROOT)!r} "
        "+ '/.github/action/run.py')\n"
        "run = importlib.util.module_from_spec(spec); spec.loader.exec_module(run)\n"
        "text = run._summary(pathlib.Path('x.md')); print(len(text.encode()), text[-60:])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                          text=True, check=True)  # fmt: skip

    assert int(done.stdout.split()[0]) < 1_048_576
    assert "It is in the log." in done.stdout


@pytest.fixture
def world(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    with first_run_world(tmp_path, database_url, monkeypatch, capsys) as world:
        world.settings(supabase=None)
        yield world


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_workflows_commands_do_what_they_say(path: Path, world: World, soak: bool) -> None:
    """All but the installation, and the bundles, for which a build is wanted.

    A backup is restored and compared in the long run alone.
    """
    subprocess.run(["git", "init", "-q", "."], check=True, cwd=world.root)
    ran = 0
    for step in steps_of(path):
        script = step.get("run", "")
        if "opsctl " not in script or "--run" in script:
            continue
        if "verify" in script and not soak:
            continue
        done = run_step(script, world.root, OPSCTL_ENV="test")
        ran += 1
        # Without a verified backup all is not well.
        expected = 0 if soak or "status" not in script else 1

        assert done.returncode == expected, script + done.stdout + done.stderr
    summary = (world.root / "runner" / "summary.md").read_text()

    assert ran >= 2
    assert "## " in summary
    made = {"opsctl-checks": ["opsctl-secrets.sarif", "opsctl-health.xml"], "opsctl-scheduled": []}
    assert all((world.root / name).is_file() for name in made[path.stem])


def test_every_workflow_asks_for_little(tmp_path: Path) -> None:
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 120


def test_the_action_installs_itself(tmp_path: Path, soak: bool) -> None:
    """The installation asks a package registry, so by default its script is only read."""
    step = ACTION["runs"]["steps"][1]
    if not soak:
        assert subprocess.run(["bash", "-n", "-c", step["run"]], check=False).returncode == 0
        return
    done = run_step(step["run"], tmp_path, EXTRAS="re2")
    program = Path((tmp_path / "runner" / "path").read_text().strip()) / "opsctl"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)

    assert done.returncode == 0, done.stderr
    assert version.stdout.startswith("opsctl ")
