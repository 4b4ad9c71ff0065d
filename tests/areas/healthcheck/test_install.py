"""Schedules that the programs they are for accept, and that do what they say."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsctl.areas.healthcheck.schedules import Wanted, cron, github_actions, systemd
from opsctl.cli.root import run
from opsctl.core.errors import OpsError

Go = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose path has signs in it that others would obey."""
    found = tmp_path / "a project's %n $HOME"
    found.mkdir()
    (found / "opsctl.yaml").write_text(
        "environments:\n  prod:\n    database: {url: env:DATABASE_FOR_TEST}\n    health:\n"
        "      - {name: a, url: 'http://127.0.0.1:9/', headers: {x-key: env:KEY_FOR_TEST}}\n"
    )
    return found


@pytest.fixture
def go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    monkeypatch.chdir(folder)

    def go(*words: str) -> tuple[int, str]:
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            code = run(["healthcheck", "install", *words])
        return code, out.getvalue()

    return go


def wanted(**more: Any) -> Wanted:
    values = {
        "environment": "prod", "every_s": 300.0, "program": ("/usr/bin/python3", "-m", "opsctl"),
        "root": "/srv/app", "config": None, "variables": ("A", "B"), **more,
    }  # fmt: skip
    return Wanted(**values)


def test_systemd_accepts_the_service(go: Go, folder: Path, tmp_path: Path) -> None:
    code, _ = go("--systemd", "--into", str(tmp_path / "units"), "--every", "90s")

    unit = tmp_path / "units" / "opsctl-healthcheck-prod.service"
    assert code == 0
    text = unit.read_text()
    assert "healthcheck watch --env prod --every 90s" in text
    assert f"WorkingDirectory={str(folder).replace('%', '%%')}" in text
    if (program := shutil.which("systemd-analyze")) is not None:
        argv = [program, "verify", "--man=no", str(unit)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "opsctl-healthcheck" not in done.stderr


def test_systemd_starts_exactly_the_words_that_are_meant() -> None:
    word = '/a b/50%/$HOME/"q"\\x'
    text = systemd(wanted(program=(word, "-m", "opsctl"), config=word))[0].text
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))

    escaped = '"/a b/50%%/$$HOME/\\"q\\"\\\\x"'
    assert line == (
        f"ExecStart={escaped} -m opsctl healthcheck watch --env prod --config {escaped} "
        "--every 300s"
    )


@pytest.mark.parametrize(
    ("every_s", "times"),
    [(60, "* * * * *"), (300, "*/5 * * * *"), (1800, "*/30 * * * *"), (3600, "0 * * * *"),
     (21600, "0 */6 * * *"), (86400, "0 0 * * *")],
)  # fmt: skip
def test_cron_gets_times_that_it_knows(every_s: float, times: str) -> None:
    assert f"\n{times} cd " in cron(wanted(every_s=every_s))[0].text
    assert f"cron: '{times}'" in github_actions(wanted(every_s=every_s))[0].text


@pytest.mark.parametrize("every_s", [30, 90, 420, 5400, 18000, 172800])
def test_what_cron_cannot_say_is_refused(every_s: float) -> None:
    with pytest.raises(OpsError) as caught:
        cron(wanted(every_s=every_s))

    assert (caught.value.code, int(caught.value.exit)) == ("no-such-schedule", 2)


def test_cron_accepts_the_line_and_it_is_silent_while_all_is_well(
    go: Go, folder: Path, tmp_path: Path, server: Any
) -> None:
    config = folder / "opsctl.yaml"
    config.write_text(
        f"environments: {{prod: {{health: [{{name: a, url: '{server.url}/ok'}}]}}}}\n"
    )
    assert go("--cron", "--into", str(tmp_path))[0] == 0
    file = tmp_path / "opsctl-healthcheck-prod.cron"
    if (program := shutil.which("crontab")) is not None:
        with tempfile.NamedTemporaryFile() as copy:  # it knows no long names
            copy.write(file.read_bytes())
            copy.flush()
            argv = [program, "-n", copy.name]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        # Another cron may not know -n, and says how it is called.
        assert done.returncode == 0 or "usage" in done.stderr.lower(), done.stderr

    line = file.read_text().splitlines()[1]
    # What cron hands to the shell: five fields less, and each \% a %.
    command = line.split(" ", 5)[5].replace("\\%", "%")
    assert "%" not in line.replace("\\%", "")
    well = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    config.write_text(config.read_text().replace("/ok", "/broken"))
    ill = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)

    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    assert "a is ill" in ill.stdout


def test_the_workflow_is_one_and_names_its_secrets(go: Go, folder: Path) -> None:
    assert go("--github-actions", "--into", ".")[0] == 0

    path = folder / ".github" / "workflows" / "opsctl-healthcheck-prod.yml"
    document = yaml.safe_load(path.read_text())
    steps = document["jobs"]["healthcheck"]["steps"]
    assert document[True]["schedule"] == [{"cron": "*/5 * * * *"}]
    assert document["permissions"] == {"contents": "read"}
    assert steps[-1]["run"] == ("opsctl healthcheck run --env prod --no-record --format github")
    assert steps[-1]["env"] == {
        "DATABASE_FOR_TEST": "${{ secrets.DATABASE_FOR_TEST }}",
        "KEY_FOR_TEST": "${{ secrets.KEY_FOR_TEST }}",
    }


def test_written_twice_it_is_the_same_and_what_differs_is_not_overwritten(
    go: Go, tmp_path: Path
) -> None:
    words = ("--cron", "--into", str(tmp_path))
    path = tmp_path / "opsctl-healthcheck-prod.cron"
    assert go(*words)[0] == 0
    before = path.stat()

    code, out = go(*words)
    assert (code, path.stat().st_mtime_ns, path.stat().st_ino) == (
        0, before.st_mtime_ns, before.st_ino,
    )  # fmt: skip
    assert "was there already" in " ".join(out.split())

    path.write_text("mine\n")
    assert go(*words)[0] == 5
    assert path.read_text() == "mine\n"
    assert go(*words, "--replace")[0] == 0
    assert "opsctl" in path.read_text()


def test_without_a_directory_it_is_printed_and_nothing_is_written(go: Go, folder: Path) -> None:
    for kind in ("--systemd", "--cron", "--github-actions"):
        code, out = go(kind)

        assert code == 0
        assert "prod" in out
    assert os.listdir(folder) == ["opsctl.yaml"]  # noqa: PTH208 - names are enough


@pytest.mark.parametrize("words", [(), ("--cron", "--systemd")])
def test_one_kind_is_asked_for(go: Go, words: tuple[str, ...]) -> None:
    code, out = go(*words, "--format", "json")

    assert code == 2
    assert json.loads(out)["error"]["code"] == "which-schedule"


def test_a_settings_file_of_another_name_is_named(go: Go, folder: Path, tmp_path: Path) -> None:
    other = folder / "other.yaml"
    shutil.move(folder / "opsctl.yaml", other)

    _, unit = go("--systemd", "--config", str(other))
    _, flow = go("--github-actions", "--config", str(other))

    assert "--config" in unit
    assert "--config other.yaml" in flow
