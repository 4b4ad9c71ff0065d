"""The examples for other CIs need a shell, Python and the package: their own lines are run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from first_run import World, first_run_world
from installations import build, run

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
Example = tuple[list[list[str]], list[str]]
"""The shells that an example starts, each with its lines, and the files that it hands on."""
ADDRESS = "opsctl[re2] @ git+https://github.com/OWNER/opsctl@v1"


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


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, which stands in for the address that a release has."""
    return build(tmp_path_factory.mktemp("dist"))[0]


def gitlab() -> Example:
    job = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())["opsctl"]
    return [job["script"]], [job["artifacts"]["reports"]["junit"]]


def circleci() -> Example:
    job = yaml.safe_load((EXAMPLES / "circleci.yml").read_text())["jobs"]["opsctl"]
    steps = [step["run"]["command"] for step in job["steps"] if "run" in step]
    (stored,) = [step for step in job["steps"] if "store_test_results" in step]
    return [[step] for step in steps], [f"{stored['store_test_results']['path']}/opsctl/health.xml"]


def shell() -> Example:
    return [[(EXAMPLES / "ci.sh").read_text()]], ["opsctl-doctor.xml", "opsctl-health.xml"]


@pytest.mark.parametrize("example", [gitlab, circleci, shell], ids=lambda each: each.__name__)
@pytest.mark.parametrize("well", [True, False], ids=["well", "ill"])
def test_the_lines_of_the_example_do_what_they_say(
    example: Callable[[], Example],
    well: bool,
    world: World,
    packed: Path,
    soak: bool,
    tmp_path: Path,
) -> None:
    """The installation asks a package registry: by default it is left to the long run."""
    shells, made = example()
    home = tmp_path / "home"
    home.mkdir()
    programs = home / "venv" / "bin" if soak else Path(sys.executable).parent
    if soak:
        run(sys.executable, "-m", "venv", home / "venv")
    if soak and example is shell:
        # With a server's own programs: the doctor wants a pg_dump that fits the tests' server.
        wanted = f"opsctl[embedded] @ {packed.as_uri()}"
        run(programs / "python", "-m", "pip", "install", "--quiet", wanted)
    if not well:
        world.served.status = 500
    kept = {name: each for name, each in os.environ.items() if name.startswith(("FR_", "PIP_"))}
    env = {
        **kept, "HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin", "OPSCTL_ENV": "test",
        "BASH_ENV": str(home / "bash_env"),
    }  # fmt: skip
    (home / "bash_env").touch()
    codes, said = [], ""
    for lines in shells:
        text = "\n".join(lines).replace(ADDRESS, f"opsctl[re2] @ {packed.as_uri()}")
        if not soak:
            if "opsctl " not in (rest := _without_installing(text)):
                continue
            text = rest
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", text], cwd=world.root, env=env,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        codes.append(done.returncode)
        said = done.stdout + done.stderr
        assert done.returncode in (0, 1), said
        assert "Traceback" not in done.stderr

    assert codes[-1] == (0 if well else 1), said
    there = [world.root / name for name in made if (world.root / name).exists()]
    suites = [each for path in there for each in ElementTree.parse(path).iter("testsuite")]

    assert there
    assert not well or len(there) == len(made)
    assert well == (sum(int(each.attrib["failures"]) for each in suites) == 0)


def _without_installing(text: str) -> str:
    return "\n".join(
        line for line in text.splitlines()
        if not any(word in line for word in ("pip install", "-m venv", "BASH_ENV"))
    )  # fmt: skip


def test_every_address_of_the_examples_is_the_one_that_is_tried() -> None:
    for name in ("gitlab-ci.yml", "circleci.yml"):
        assert f'"{ADDRESS}"' in (EXAMPLES / name).read_text()
