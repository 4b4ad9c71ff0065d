"""A rollback that is cut off: the connection, the process, the person. It can always go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import psycopg
import pytest

VERSION = "20260202000000"
UP = "alter table public.notes add column stars int"
SLOW_DOWN = (
    "select pg_sleep(3) where current_database() = '{live}';"
    "alter table public.notes drop column stars"
)
"""Slow where it counts; the rehearsals, in databases of other names, need not take as long."""
BUSY = (
    "select pid from pg_stat_activity where application_name = 'opsctl' and state = 'active' "
    "and query like '%pg_sleep(3)%' and datname = current_database()"
)


@pytest.fixture
def slow(project: Any) -> Any:
    """A project whose down SQL takes three seconds."""
    ((live,),) = project.query("select current_database()")
    project.before = project.content()
    project.migrate(VERSION, UP, down=SLOW_DOWN.format(live=live))
    project.execute("update public.notes set stars = 3")
    project.migrated = project.content()
    return project


def start(project: Any) -> subprocess.Popen[str]:
    """Start the rollback and return it once its transaction is under way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "opsctl", "rollback", "db", "--yes", "--quiet", "--format", "json"],
        cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not project.query(BUSY):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_a_connection_lost_midway_changes_nothing(slow: Any) -> None:
    process = start(slow)
    slow.execute(f"select pg_terminate_backend(pid) from ({BUSY}) b")

    out, _ = process.communicate()

    assert process.returncode == 3, out
    assert slow.migrated == slow.content()
    again = slow.opsctl("rollback", "db", "--yes", "--format", "json")
    assert again.exit == 0, again.stdout
    assert slow.before.digest == slow.content().digest


def test_a_killed_run_is_resumed_and_finishes(slow: Any) -> None:
    process = start(slow)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with psycopg.connect(slow.url, autocommit=True) as connection:
        while connection.execute(BUSY.encode()).fetchall():
            time.sleep(0.1)
    runs = slow.opsctl("runs", "list", "--format", "json").json["data"]["runs"]
    assert [run["state"] for run in runs] == ["unknown"]

    resumed = slow.opsctl("runs", "resume", runs[0]["run"], "--yes", "--format", "json")

    assert resumed.exit == 0, resumed.stdout
    assert slow.before.digest == slow.content().digest
    undone = slow.opsctl("runs", "undo", runs[0]["run"], "--yes", "--format", "json")
    assert undone.exit == 0, undone.stdout
    after = slow.content()
    assert (slow.migrated.digest, slow.migrated.tables) == (after.digest, after.tables)


def test_ctrl_c_finishes_the_step_under_way_and_says_how_to_go_on(slow: Any) -> None:
    slow.settings('    health:\n      - {name: closed, url: "http://127.0.0.1:9/", timeout_s: 1}\n')
    process = start(slow)
    process.send_signal(signal.SIGINT)

    out, _ = process.communicate()

    assert process.returncode == 130, out
    assert "opsctl runs resume" in out
    assert slow.before.digest == slow.content().digest


def test_a_second_run_is_refused_while_one_is_under_way(slow: Any) -> None:
    process = start(slow)

    refused = slow.opsctl("rollback", "db", "--yes", "--format", "json")
    listed = slow.opsctl("runs", "list", "--format", "json").json["data"]["runs"]

    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert (refused.exit, refused.json["error"]["code"]) == (5, "locked")
    assert [run["state"] for run in listed] == ["running"]
