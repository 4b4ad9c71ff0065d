"""What is shipped says what it is built on, and what a release does."""

from __future__ import annotations

import re
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from installations import (
    VERSIONS,
    WAYS,
    WORK,
    Installed,
    build,
    install,
    installers,
    interpreters,
    run,
)

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def named(requirements: list[str]) -> set[str]:
    found = {re.split(r"[\[<>=;~ ]", each, maxsplit=1)[0].lower() for each in requirements}
    return found - {"opsctl"}


def test_every_dependency_stands_in_the_table_with_its_extra() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs" / "dependencies.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    table = {row[0].strip("`").lower(): set(re.findall(r"`([^`]+)`", row[1])) for row in rows}
    extras = {name: named(each) for name, each in PROJECT["optional-dependencies"].items()}
    del extras["dev"]
    wanted: dict[str, set[str]] = {name: set() for name in named(PROJECT["dependencies"])}
    for extra, names in extras.items():
        for name in names:
            wanted.setdefault(name, set()).add(extra)

    assert wanted == table
    assert all(len(row) == 4 and all((row[0], row[2], row[3])) for row in rows)


def test_the_container_installs_every_extra_that_a_server_needs() -> None:
    text = (ROOT / "Dockerfile").read_text()
    match = re.search(r"opsctl\[([^\]]+)\]", text)

    assert match is not None
    assert set(match[1].split(",")) <= set(PROJECT["optional-dependencies"])
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Wheel and sdist of this tree."""
    return build(tmp_path_factory.mktemp("dist"))


def test_the_wheel_has_the_program_and_nothing_else(built: tuple[Path, Path]) -> None:
    wheel, _ = built
    names = {each for each in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in each}
    kept = run("git", "ls-files", "--others", "--cached", "--exclude-standard", "src", "runbooks",
               cwd=ROOT).splitlines()  # fmt: skip
    wanted = {re.sub(r"^(src/opsctl|runbooks)/", "", each) for each in kept}

    assert names
    assert all(each.startswith("opsctl/") for each in names)
    assert wanted == {re.sub(r"^opsctl/(runbooks/)?", "", each) for each in names}
    assert wheel.stat().st_size < 4_000_000


def test_the_sdist_makes_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    (again,) = tmp_path.glob("*.whl")
    first, second = zipfile.ZipFile(wheel), zipfile.ZipFile(again)

    assert first.namelist() == second.namelist()
    assert all(first.read(name) == second.read(name) for name in first.namelist())


def test_the_versions_of_python_are_named_alike_everywhere() -> None:
    classified = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    ci = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    matrices = [
        re.findall(r"3\.\d+", each) for each in re.findall(r"python: \[(.*)\]", release + ci)
    ]

    assert list(VERSIONS) == classified
    assert len(matrices) >= 2
    assert all(each == classified for each in matrices)
    assert f">={VERSIONS[0]}" == PROJECT["requires-python"]


def test_what_is_installed_by_pip_does_real_work(built: tuple[Path, Path], tmp_path: Path) -> None:
    program = install("pip", Path(sys.executable), built[0], tmp_path / "it", extra="embedded",
                      tools=tmp_path)  # fmt: skip
    opsctl = _away(program, tmp_path)
    for work in WORK:
        work(opsctl)

    assert opsctl.ran > 20


def test_every_way_on_every_python_here(
    built: tuple[Path, Path],
    tmp_path: Path,
    soak: bool,
    record_property: pytest.RecordProperty,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The whole grid belongs to the long run; by default it is one other way, from the sdist.

    A version of Python that is not here is named; the release workflow brings every one.
    """
    tools = installers(tmp_path / "tools")
    pythons = interpreters()
    grid = [(version, way, package) for version in pythons for way in WAYS for package in built]
    if not soak:
        grid = [(next(iter(pythons)), "uv", built[1])]
    for number, (version, way, package) in enumerate(grid):
        folder = tmp_path / str(number)
        began = time.monotonic()
        program = install(way, pythons[version], package, folder / "it", extra="embedded",
                          tools=tools)  # fmt: skip
        installed = time.monotonic()
        opsctl = _away(program, folder)
        for work in WORK if soak else WORK[:2]:
            work(opsctl)
        took = time.monotonic() - installed
        kind = "wheel" if package.suffix == ".whl" else "sdist"
        with capsys.disabled():
            print(f"\n{version} {way} {kind}: installed in {installed - began:.1f} s, "
                  f"{opsctl.ran} commands in {took:.1f} s", end="", flush=True)  # fmt: skip
    missing = [version for version in VERSIONS if version not in pythons]
    record_property("pythons not here", ", ".join(missing) or "none")
    with capsys.disabled():
        print(f"\nPythons not here: {', '.join(missing) or 'none'}")


def _away(program: Path, folder: Path) -> Installed:
    away = folder / "away"
    away.mkdir(parents=True)
    return Installed(program, away)
