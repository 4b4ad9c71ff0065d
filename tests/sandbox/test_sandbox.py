"""The sandbox: up, used, killed, up again; nothing outside its folder is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Box:
    """An empty directory, and opsctl in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def opsctl(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "opsctl", *argv],
            cwd=self.root, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def data(self, *argv: str) -> Any:
        done = self.opsctl(*argv, "--format", "json")
        return json.loads(done.stdout)["data"]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    # A home directory of mode 0700, as root's is: the server's own user may not enter it.
    root = tmp_path_factory.mktemp("closed") / "home"
    root.mkdir(mode=0o700)
    box = Box(root)
    (root / "precious").write_text("mine")
    done = box.opsctl("sandbox", "up")
    assert done.returncode == 0, done.stdout + done.stderr
    yield box
    box.opsctl("sandbox", "down")


def test_up_again_is_harmless_and_nothing_else_was_touched(box: Box) -> None:
    before = box.data("sandbox", "status")

    again = box.opsctl("sandbox", "up")

    assert again.returncode == 0
    assert "up already" in again.stdout
    assert box.data("sandbox", "status") == before
    assert sorted(os.listdir(box.root)) == [".opsctl", "precious"]  # noqa: PTH208
    assert os.listdir(box.root / ".opsctl") == ["sandbox"]  # noqa: PTH208
    for name in ("database-url", "environment.yaml", "postgres/postgres.password"):
        assert (box.root / ".opsctl" / "sandbox" / name).stat().st_mode & 0o077 == 0


def test_the_main_job_runs_in_it_and_comes_back(box: Box) -> None:
    assert box.opsctl("healthcheck", "run").returncode == 1
    status = box.data("rollback", "status")
    assert len(status["migrations"]) == 10
    assert {each["state"] for each in status["migrations"]} == {"applied"}

    rolled = box.opsctl("rollback", "db", "--yes", "--format", "json")

    assert rolled.returncode == 0, rolled.stdout
    assert box.opsctl("healthcheck", "run").returncode == 0
    run = json.loads(rolled.stdout)["data"]["run"]
    assert box.opsctl("runs", "show", run).returncode == 0
    assert box.opsctl("runs", "undo", run, "--yes").returncode in (0, 4)
    assert box.opsctl("healthcheck", "run").returncode == 1


def test_the_database_going_down_is_seen_and_up_brings_the_same_data_back(box: Box) -> None:
    sandbox = box.root / ".opsctl" / "sandbox"
    pid = int((sandbox / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    rows = box.data("rollback", "status")
    app = int((sandbox / "app.pid").read_text())

    for each in (pid, app):
        os.kill(each, signal.SIGKILL)
    time.sleep(0.5)

    assert box.opsctl("healthcheck", "run").returncode == 1
    down = box.opsctl("sandbox", "status")
    assert down.returncode == 1
    assert box.opsctl("sandbox", "up").returncode == 0
    assert box.data("rollback", "status") == rows


def test_two_at_once_do_not_break_one_another(box: Box) -> None:
    assert box.opsctl("sandbox", "down").returncode == 0
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "opsctl", "sandbox", "up"],
            cwd=box.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]

    outputs = [process.communicate() for process in both]

    assert [process.returncode for process in both] == [0, 0], outputs
    assert box.opsctl("sandbox", "status").returncode == 0


def test_the_control_planes_come_back_with_what_they_knew_and_fail_on_demand(box: Box) -> None:
    before = box.data("sandbox", "status")["planes"]
    assert {"vercel", "supabase", "github", "slack", "statuspage"} == set(before)
    live = box.data("rollback", "app", "status")
    assert 4 == len(live["targets"])
    pushed = box.data("sandbox", "plane", "vercel", "push", "--data", '{"commit": "f00d"}')

    assert box.opsctl("sandbox", "down").returncode == 0
    assert box.opsctl("rollback", "app", "status").returncode == 3
    assert box.opsctl("sandbox", "up").returncode == 0

    after = box.data("rollback", "app", "status")
    assert (pushed["id"], before) == (after["live"], box.data("sandbox", "status")["planes"])
    for times in ("1", "99"):
        fault = box.opsctl("sandbox", "fault", "vercel", "error-before", "--times", times)
        assert fault.returncode == 0, fault.stderr
        # One error is tried again, as every read is; the other lasts.
        expected = 0 if times == "1" else 3
        assert box.opsctl("rollback", "app", "status").returncode == expected
    assert box.opsctl("sandbox", "plane", "vercel", "calm").returncode == 0
    assert box.opsctl("rollback", "app", "status").returncode == 0
    assert box.opsctl("sandbox", "fault", "vercel", "nonsense").returncode == 2
    assert box.opsctl("sandbox", "plane", "nothing", "calm").returncode == 2


def test_acts_have_no_dry_run(box: Box) -> None:
    refused = box.opsctl("sandbox", "reset", "--dry-run", "--format", "json")

    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["code"] == "no-dry-run"
    assert box.opsctl("sandbox", "status").returncode == 0


def python_for_everybody() -> str | None:
    """Return an interpreter of this version that any user may start, or None."""
    for path in (Path(sys.executable), Path(f"/usr/bin/python3.{sys.version_info.minor}")):
        parents = [*path.resolve().parents, *path.absolute().parents]
        if path.exists() and all(parent.stat().st_mode & 1 for parent in parents):
            return str(path)
    return None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0,
                    reason="not root: the other tests ran as a normal user already")  # fmt: skip
def test_it_works_as_a_normal_user() -> None:
    python = python_for_everybody()
    packages = [path for path in sys.path if path.endswith("site-packages")]
    source = str(Path(__file__).parent.parent.parent / "src")
    readable = all(p.stat().st_mode & 1 for each in packages for p in Path(each).parents)
    assert python, "no interpreter here can be started by another user than root"
    assert readable, "another user than root cannot read this environment"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "home"
        root.mkdir()
        Path(folder).chmod(0o755)
        os.chown(root, 65534, 65534)
        env = {"PATH": "/usr/bin:/bin", "HOME": str(root),
               "PYTHONPATH": os.pathsep.join([source, *packages])}  # fmt: skip

        def opsctl(*argv: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [python, "-m", "opsctl", *argv], cwd=root, env=env, capture_output=True,
                text=True, check=False, user=65534, group=65534, extra_groups=[],
            )  # fmt: skip

        up = opsctl("sandbox", "up")
        rolled = opsctl("rollback", "db", "--yes", "--format", "json")
        down = opsctl("sandbox", "down")

        assert up.returncode == 0, up.stdout + up.stderr
        assert rolled.returncode == 0, rolled.stdout + rolled.stderr
        assert down.returncode == 0, down.stdout + down.stderr
        assert (root / ".opsctl" / "sandbox" / "made").stat().st_uid == 65534
