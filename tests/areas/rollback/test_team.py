"""A roll-back on a team's state: begun here and finished elsewhere, and approved by another."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.team_schema import schema_sql
from opsctl.cli.root import run
from team.world import login

VERSION = "20260202000000"
UP = "alter table public.notes add column stars int"
BUSY = (
    "select pid from pg_stat_activity where application_name = 'opsctl' and state = 'active' "
    "and query like '%pg_sleep(1)%' and datname = current_database()"
)


class Machine:
    """A person's machine: a checkout of the project, a name, a database user."""

    def __init__(self, root: Path, name: str, state: str) -> None:
        self.root = root
        self._env = {**os.environ, "LOGNAME": name, "TEAM_STATE": state}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "opsctl", *words, "--quiet", "--format", "json"]
        return subprocess.Popen(argv, cwd=self.root, env=self._env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)  # fmt: skip

    def __call__(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run one command in this process, which is the quicker."""
        here, out, before = Path.cwd(), io.StringIO(), dict(os.environ)
        os.chdir(self.root)
        os.environ.update(self._env)
        try:
            with redirect_stdout(out), redirect_stderr(io.StringIO()):
                code = run([*words, "--quiet", "--format", "json"])
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)
        return code, json.loads(out.getvalue())


class Team:
    """Ann's and Bob's machines, and the owner of the database that they share."""

    def __init__(self, project: Any, elsewhere: Path, url: str) -> None:
        self.project = project
        self.url = url
        text = (project.root / "opsctl.yaml").read_text()
        (project.root / "opsctl.yaml").write_text("state: env:TEAM_STATE\n" + text)
        shutil.copytree(project.root, elsewhere)
        self.ann = Machine(project.root, "ann", login(url, "room_ann", "opsctl_operator"))
        self.bob = Machine(elsewhere, "bob", login(url, "room_bob", "opsctl_operator"))

    def own(self, sql: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as owner:
            owner.execute(sql.encode())

    def demand_approvals(self) -> None:
        for machine in (self.ann, self.bob):
            with (machine.root / "opsctl.yaml").open("a") as file:
                file.write("    approvals: 1\n")


@pytest.fixture
def team(project: Any, postgres: ScratchServer, tmp_path_factory: Any) -> Team:
    url = postgres.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema_sql().encode())
    project.before = project.content()
    project.migrate(VERSION, UP, down="select pg_sleep(1); alter table notes drop column stars")
    return Team(project, tmp_path_factory.mktemp("bob") / "checkout", url)


def code_of(document: dict[str, Any]) -> str:
    error = document["error"] or document["data"].get("error")
    return str(error["code"])


def test_a_run_begun_on_one_machine_is_finished_and_undone_on_another(team: Team) -> None:
    process = team.ann.begin("rollback", "db", "--yes")
    deadline = time.monotonic() + 60
    while not team.project.query(BUSY):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    _, listed = team.bob("runs", "list")
    assert [run["state"] for run in listed["data"]["runs"]] == ["running"]
    code, refused = team.bob("rollback", "db", "--yes")
    assert (code, code_of(refused)) == (5, "locked")
    assert "ann@" in refused["error"]["why"]
    begun = listed["data"]["runs"][0]["run"]
    with psycopg.connect(team.url) as connection:
        row = connection.execute("SELECT id FROM opsctl.lease").fetchone()
    assert row is not None
    team.own("UPDATE opsctl.lease SET beat_at = clock_timestamp()")
    code, refused = team.bob("runs", "unlock", row[0])
    assert (code, code_of(refused)) == (5, "lock-held")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    while team.project.query(BUSY):
        time.sleep(0.05)
    # As if half a minute had passed.
    team.own("UPDATE opsctl.lease SET beat_at = beat_at - interval '31 s'")
    code, refused = team.bob("runs", "resume", begun, "--yes")
    assert (code, code_of(refused)) == (5, "locked")
    assert f"opsctl runs unlock {row[0]} --env test" in refused["error"]["hint"]

    assert team.bob("runs", "unlock", row[0])[0] == 0
    code, finished = team.bob("runs", "resume", begun, "--yes")

    assert code == 0, finished
    assert team.project.content().digest == team.project.before.digest
    _, shown = team.ann("runs", "show", begun)
    who = {event["actor"].partition("@")[0] for event in shown["data"]["events"]}
    assert who == {"ann", "bob"}
    code, undone = team.bob("runs", "undo", begun, "--yes")
    assert code == 0, undone
    assert team.project.content().digest != team.project.before.digest
    code, audited = team.ann("runs", "audit")
    assert (code, audited["data"]["broken"]) == (0, None)


def test_a_change_that_needs_approval_waits_for_another_person(team: Team) -> None:
    team.demand_approvals()
    migrated = team.project.content().digest
    code, asked = team.ann("rollback", "db", "--yes")
    begun, plan_hash = asked["data"]["run"], asked["data"]["plan_hash"]
    assert (code, asked["status"]) == (5, "refused")
    _, listed = team.bob("runs", "list")
    assert [each["state"] for each in listed["data"]["runs"]] == ["waiting"]
    for machine, words, expected in (
        (team.ann, ("runs", "resume", begun, "--yes"), "not-approved"),
        (team.ann, ("runs", "approve", begun, "--hash", plan_hash), "own-plan"),
        (team.bob, ("runs", "approve", begun, "--hash", "0" * 64), "wrong-hash"),
        (team.bob, ("runs", "approve", begun, "--hash", plan_hash[:4]), "wrong-hash"),
        (team.bob, ("runs", "resume", begun, "--yes"), "not-approved"),
    ):
        code, document = machine(*words)
        assert (code, code_of(document)) == (5, expected)
    code, shown = team.bob("runs", "approve", begun)
    assert (code, shown["data"]["plan_hash"]) == (5, plan_hash)
    assert shown["data"]["steps"]
    assert team.project.content().digest == migrated

    assert team.bob("runs", "approve", begun, "--hash", plan_hash[:12])[0] == 0
    code, done = team.ann("runs", "resume", begun, "--yes")

    assert code == 0, done
    assert team.project.content().digest == team.project.before.digest
    code, document = team.bob("runs", "approve", begun, "--hash", plan_hash)
    assert (code, code_of(document)) == (5, "run-begun")
    # Taking it back is a change, too.
    code, asked = team.bob("runs", "undo", begun, "--yes")
    assert (code, asked["status"]) == (5, "refused")
    assert (
        team.ann("runs", "approve", asked["data"]["run"], "--hash", asked["data"]["plan_hash"])[0]
        == 0
    )


def test_what_the_team_demands_nobody_switches_off_in_settings_of_his_own(team: Team) -> None:
    for machine in (team.ann, team.bob):
        with (machine.root / "opsctl.yaml").open("a") as file:
            file.write("    approvals: 0\n")
    team.own("SELECT opsctl.set_approvals('test', 1)")
    migrated = team.project.content().digest

    code, asked = team.ann("rollback", "db", "--yes")

    assert (code, asked["status"]) == (5, "refused")
    begun, plan_hash = asked["data"]["run"], asked["data"]["plan_hash"]
    code, document = team.ann("runs", "resume", begun, "--yes")
    assert (code, code_of(document)) == (5, "not-approved")
    assert team.project.content().digest == migrated
    assert team.bob("runs", "approve", begun, "--hash", plan_hash)[0] == 0
    code, done = team.ann("runs", "resume", begun, "--yes")
    assert code == 0, done
    assert team.project.content().digest == team.project.before.digest
