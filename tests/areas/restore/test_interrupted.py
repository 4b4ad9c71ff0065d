"""A restore that is cut off anywhere: the old database or the new one is there, whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


def start(project: Any, *words: str) -> subprocess.Popen[bytes]:
    """Start opsctl in a process of its own, marked so that its children can be found."""
    return subprocess.Popen(
        [sys.executable, "-m", "opsctl", *words, "--quiet"], cwd=project.root,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "OPSCTL_TEST_MARK": str(project.root)},
    )  # fmt: skip


def kill_everything(project: Any) -> None:
    """Kill opsctl and every program that it started, as a machine does that loses its power."""
    mark = f"OPSCTL_TEST_MARK={project.root}".encode()
    for _ in range(3):
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)
            except (OSError, ValueError):
                continue


def run_of(project: Any) -> dict[str, Any] | None:
    """Return the newest restore in the journal, if one began."""
    runs = project.opsctl("runs", "list").json["data"]["runs"]
    return next((each for each in runs if each["command"] == "restore db"), None)


def settled(project: Any) -> None:
    """Wait until the server has noticed that its clients are gone."""
    deadline = time.monotonic() + 30
    while project.query(
        "select 1 from pg_stat_activity where backend_type = 'client backend' "
        f"and datname like '{project.database[:30]}%' and pid <> pg_backend_pid()",
        database="postgres",
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by /proc")
@pytest.mark.parametrize("everything", [True, False], ids=["machine", "process"])
def test_killed_anywhere_it_is_resumed_and_undone(
    project: Any, soak: bool, everything: bool
) -> None:
    good = project.content()
    backup = project.back_up()
    project.execute("update public.notes set title = 'damaged'; drop view public.titles")
    damaged = project.content()
    began = time.monotonic()
    assert 0 == start(project, "restore", "db", backup, "--confirm", "test").wait()
    whole = time.monotonic() - began
    assert good == project.content()
    first = run_of(project)
    assert first is not None
    assert 0 == project.opsctl("runs", "undo", first["run"], "--yes").exit
    assert damaged == project.content()

    count = 25 if soak else 3
    stopped = 0
    for number in range(count):
        process = start(project, "restore", "db", backup, "--confirm", "test")
        time.sleep(whole * (0.25 + 0.75 * (number + 1) / (count + 1)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if everything:
            kill_everything(project)
            settled(project)
        assert project.content() in (good, damaged)

        run = run_of(project)
        if run is None or run["run"] == first["run"] or run["state"] == "aborted":
            continue
        stopped += run["state"] != "finished"
        if run["state"] != "finished":
            resumed = project.opsctl("runs", "resume", run["run"], "--confirm", "test")
            assert 0 == resumed.exit, resumed.stdout
        assert good == project.content(), number
        undone = project.opsctl("runs", "undo", run["run"], "--yes")
        assert 0 == undone.exit, undone.stdout
        assert damaged == project.content(), number
        assert {project.database} == project.databases()
        first = run

    assert 1 <= stopped


def test_a_restore_killed_while_filling_can_be_undone(project: Any) -> None:
    backup = project.back_up()
    project.execute("update public.notes set title = 'damaged'")
    damaged = project.content()
    process = start(project, "restore", "db", backup, "--confirm", "test")
    deadline = time.monotonic() + 30
    while len(project.databases()) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    kill_everything(project)
    settled(project)
    run = run_of(project)
    assert run is not None

    resumed = project.opsctl("runs", "resume", run["run"], "--confirm", "test")

    assert 0 == resumed.exit, resumed.stdout
    assert 0 == project.opsctl("runs", "undo", run["run"], "--yes").exit
    assert damaged == project.content()
    assert {project.database} == project.databases()


def test_a_server_that_restarts_while_filling_changes_nothing(tmp_path: Path, project: Any) -> None:
    from opsctl.adapters.scratch import scratch_server

    with scratch_server() as server:
        there = type(project)(tmp_path, server.create_database("app"), server)
        there.execute("create table public.t as select n, md5(n::text) a from "
                      "generate_series(1, 200000) n")  # fmt: skip
        backup = there.back_up()
        there.execute("update public.t set a = 'damaged'")
        damaged = there.content()
        process = start(there, "restore", "db", backup, "--confirm", "test")
        deadline = time.monotonic() + 30
        while len(there.databases()) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
        server.stop(mode="immediate")
        code = process.wait()
        server.start()

        assert code in (3, 4)
        assert damaged == there.content()
        run = run_of(there)
        assert run is not None
        again = (
            there.opsctl("runs", "resume", run["run"], "--confirm", "test")
            if run["state"] != "aborted"
            else there.opsctl("restore", "db", backup, "--confirm", "test")
        )
        assert 0 == again.exit, again.stdout
        assert damaged != there.content()


def test_a_disk_that_is_full_while_filling_changes_nothing(tmp_path: Path, project: Any) -> None:
    """No file of the server may get larger than 20 MB: to it that is a full disk."""
    import resource

    from opsctl.adapters.scratch import scratch_server

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with scratch_server() as server:
        there = type(project)(tmp_path, server.create_database("app"), server)
        there.execute("create table public.t as select n, md5(n::text) a from "
                      "generate_series(1, 500000) n")  # fmt: skip
        backup = there.back_up()
        there.execute("delete from public.t where n > 10")
        there.execute("vacuum full public.t")
        damaged = there.content()
        server.stop()
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, hard))
        try:
            server.start()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, ignored)

        failed = there.opsctl("restore", "db", backup, "--confirm", "test")

        assert failed.exit in (3, 4), failed.stdout
        assert "File too large" in failed.stdout
        assert damaged == there.content()
        assert {"app"} == {each for each in there.databases() if each.startswith("app")}
        server.stop()
        server.start()
        again = there.opsctl("restore", "db", backup, "--confirm", "test")
        assert 0 == again.exit, again.stdout
        assert [(500_000,)] == there.query("select count(*) from public.t")
