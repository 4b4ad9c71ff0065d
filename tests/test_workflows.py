"""The workflows are safe by zizmor's judgement, pinned, bounded, and say what they may do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from installations import run

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXAMPLE = ROOT / "docs" / "examples" / "secrets-scan.yml"
EVERY = [*WORKFLOWS, EXAMPLE, ROOT / "action.yml"]


def read(path: Path) -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load(path.read_text())
    return workflow


def scripts(name: str) -> list[str]:
    """Return the scripts of a workflow of ours."""
    jobs = read(ROOT / ".github" / "workflows" / f"{name}.yml")["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_zizmor_finds_nothing() -> None:
    zizmor = Path(sys.executable).parent / "zizmor"
    done = subprocess.run(
        [zizmor, "--offline", "--no-progress", *map(str, EVERY)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("completed") == len(EVERY), done.stderr


def test_actions_of_others_are_pinned_and_each_in_one_version() -> None:
    found: dict[str, set[tuple[str, str]]] = {}
    for path in EVERY:
        for name, at, version in re.findall(
            r"^\s*(?:- )?uses: ([\w./-]+)@(\S+)(.*)$", path.read_text(), re.MULTILINE
        ):
            assert re.fullmatch(r"[0-9a-f]{40}", at), f"{path.name}: {name}@{at}"
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", version), f"{path.name}: {name}{version}"
            found.setdefault(name, set()).add((at, version))

    assert len(found) > 8
    assert {name for name, pins in found.items() if len(pins) > 1} == set()


@pytest.mark.parametrize("path", [*WORKFLOWS, EXAMPLE], ids=lambda path: path.stem)
def test_a_workflow_may_read_and_every_job_ends(path: Path) -> None:
    workflow = read(path)

    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert 0 < job["timeout-minutes"] <= 180, name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


@pytest.mark.parametrize(
    ("owner", "tag", "said"),
    [("acme", "v{version}", ""), ("acme", "v99.0.0", "The tag is not the version"),
     ("OWNER", "v{version}", "OWNER stands for an account")],
)  # fmt: skip
def test_a_release_is_named_after_its_version_and_its_owner(
    tmp_path: Path, owner: str, tag: str, said: str
) -> None:
    script = next(each for each in scripts("release") if "OWNER/opsctl" in each)
    for name in ("action.yml", "src/opsctl/__init__.py", "docs/examples/gitlab-ci.yml",
                 ".github/workflows/opsctl-checks.yml"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text().replace("OWNER/opsctl", f"{owner}/opsctl")
        (tmp_path / name).write_text(text)
    version = run(sys.executable, "-m", "opsctl", "--version").split()[1]
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "GITHUB_REF_NAME": tag.format(version=version)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == bool(said), done.stdout + done.stderr
    assert said in done.stdout


def test_the_owner_to_replace_stands_where_the_page_says() -> None:
    page = (ROOT / "docs" / "installing.md").read_text()
    here = run("git", "grep", "-l", "--untracked", "OWNER/opsctl", cwd=ROOT).splitlines()
    shipped = {each for each in here if not each.startswith("tests/")}
    command = re.search(r"^git grep -lz? .*$", page, re.MULTILINE)

    assert shipped
    assert command is not None
    for each in shipped - {"docs/installing.md", ".github/workflows/release.yml"}:
        assert f"`{each}`" in page, each


def test_the_site_is_built_from_what_its_workflow_installs(tmp_path: Path, soak: bool) -> None:
    """That asks a package registry, so by default its scripts are only read."""
    install, make = scripts("site")
    if not soak:
        for script in (install, make):
            assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0
        return
    tree = tmp_path / "tree"
    run("git", "clone", "--quiet", "--depth=1", ROOT.as_uri(), tree)
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    path = f"{tmp_path / 'venv' / 'bin'}:/usr/bin:/bin"
    for script in (install, make):
        run("bash", "-eo", "pipefail", "-c", script, cwd=tree, PATH=path)

    assert (tree / "dist" / "site" / "index.html").is_file()
