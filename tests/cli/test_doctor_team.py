"""`opsctl doctor` and `opsctl status` on a team's state: a real PostgreSQL, pooled and gone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bouncer import bouncer
from opsctl.adapters.team_journal import TeamJournal
from opsctl.adapters.team_leases import TeamLeases
from opsctl.adapters.team_look import TeamLook
from opsctl.adapters.team_schema import schema_sql
from opsctl.adapters.team_server import TeamServer
from opsctl.cli.doctor_team import judge_clock, judge_rights
from opsctl.cli.root import run
from opsctl.core.action import Command
from opsctl.core.plan import Irreversible, Plan, Step, plan_to_json
from opsctl.core.report import Severity, Status
from opsctl.core.state_place import TeamState
from team.world import login

CHANGE = Plan(
    "rollback db", "prod", True, "Roll back",
    (Step("a", "A", "idempotent", Command(("true",)), undo=Irreversible("it is a test")),),
)  # fmt: skip


class Door:
    """A machine of the team's."""

    def __init__(
        self, root: Path, url: str, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self.url = url
        self._root = root
        self._capsys = capsys
        self._patch = patch
        self.settle()

    def settle(self, more: str = "") -> None:
        (self._root / "opsctl.yaml").write_text(
            f"state: env:TEAM_STATE\nenvironments:\n  prod: {{{more}}}\n  staging: {{}}\n"
        )

    def __call__(self, *words: str, state: str = "") -> tuple[int, dict[str, Any]]:
        """Run a command with the state at an address; its password is nowhere in what it says."""
        address = state or self.url
        self._patch.setenv("TEAM_STATE", address)
        self._capsys.readouterr()
        code = run([*words, "--env", "prod", "--format", "json"])
        out = self._capsys.readouterr()
        assert address.split(":")[2].split("@")[0] not in out.out + out.err
        return code, json.loads(out.out)

    def doctor(self, *, state: str = "") -> tuple[int, dict[str, list[dict[str, Any]]]]:
        """Return the findings by rule."""
        code, document = self("doctor", "--offline", state=state)
        found: dict[str, list[dict[str, Any]]] = {}
        for each in document["findings"]:
            found.setdefault(each["rule"], []).append(each)
        return code, found

    def own(self, sql: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as owner:
            owner.execute(sql.encode())


@pytest.fixture
def door(
    tmp_path: Path,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Door:
    monkeypatch.chdir(tmp_path)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(schema_sql().encode())
    return Door(tmp_path, database_url, capsys, monkeypatch)


@pytest.fixture
def bob(door: Door) -> Iterator[TeamServer]:
    """Another person of the team, on another machine."""
    server = TeamServer(TeamState(login(door.url, "doctor_bob", "opsctl_operator")))
    yield server
    server.close()


def plan(journal: TeamJournal, run: str, *kinds: str) -> None:
    data = {"plan": plan_to_json(CHANGE), "sha256": CHANGE.hash}
    journal.append(run, "planned", step=None, actor="bob@desk", data=data)
    for kind in kinds:
        step = "a" if kind == "started" else None
        journal.append(run, kind, step=step, actor="bob@desk", data={})


def test_an_operator_hears_who_he_is_and_that_nobody_holds_anything(door: Door) -> None:
    ann = login(door.url, "doctor_ann", "opsctl_operator")

    code, found = door.doctor(state=ann)

    assert code == 0
    assert " as doctor_ann, directly, in " in found["state"][0]["evidence"]
    assert found["state-rights"][0]["title"] == "doctor_ann may carry plans out"
    rules = ("state", "state-rights", "state-clock", "locks", "approval-rules", "runs")
    assert {found[rule][0]["status"] for rule in rules} == {"ok"}
    assert door("status", state=ann)[1]["data"]["unknown"] == []


def test_leases_of_others_are_named_as_held_silent_and_run_out(door: Door, bob: TeamServer) -> None:
    with TeamLeases(bob).hold("prod", actor="bob@desk", run="r1", command="restore db") as held:
        code, found = door.doctor()
        assert (code, found["locks"][0]["status"]) == (0, "ok")
        assert "bob@desk" in found["locks"][0]["evidence"]
        assert "database user doctor_bob" in found["locks"][0]["evidence"]
        held.stop.set()
        door.own(
            "UPDATE opsctl.lease SET beat_at = beat_at - interval '90 s', "
            "expires_at = expires_at + interval '10 min'"
        )
        silent = door.doctor()[1]["locks"][0]
        door.own("UPDATE opsctl.lease SET expires_at = clock_timestamp() - interval '1 s'")
        over = door.doctor()[1]["locks"][0]

    assert silent["severity"] == "warning"
    assert "no sign for 9" in silent["evidence"]
    assert silent["hint"].endswith(f"opsctl runs unlock {held.holder.id} --env prod")
    assert "ran out" in over["title"]
    assert "opsctl runs resume r1" in over["hint"]
    assert door.doctor()[1]["locks"][0]["title"] == "No environment is held"


def test_unfinished_runs_and_plans_that_wait_are_named_with_whose_they_are(
    door: Door, bob: TeamServer
) -> None:
    journal = TeamJournal(bob)
    plan(journal, "20260101-000000-aaaa", "approved", "started")
    door.own("SELECT opsctl.set_approvals('prod', 1)")
    plan(journal, "20260101-000000-bbbb", "requested")

    code, found = door.doctor()

    assert code == 0
    assert found["runs"][0]["title"] == "Run 20260101-000000-aaaa of bob@desk stopped part-way"
    waiting = found["approvals"][0]
    assert waiting["title"] == "Waits for approval: opsctl rollback db, 20260101-000000-bbbb"
    assert "0 of 1 approvals" in waiting["evidence"]
    assert waiting["hint"].endswith("opsctl runs approve 20260101-000000-bbbb")
    code, document = door("status")
    part = document["data"]["parts"]["runs"]
    assert code == 0
    assert [each["run"] for each in part["unfinished"]] == ["20260101-000000-aaaa"]
    assert part["waiting"] == [
        {"run": "20260101-000000-bbbb", "command": "rollback db", "approvals": 0, "needed": 1}
    ]
    assert door("runs", "approve", "20260101-000000-bbbb", "--hash", CHANGE.hash)[0] == 0
    assert door.doctor()[1]["approvals"][0]["hint"] == "opsctl runs resume 20260101-000000-bbbb"


def test_approvals_that_settings_alone_demand_are_said_to_bind_nobody(door: Door) -> None:
    door.settle("approvals: 2")
    found = door.doctor()[1]["approval-rules"][0]
    assert found["severity"] == "warning"
    assert found["hint"].endswith("opsctl state approvals 2 --env prod")
    door.own("SELECT opsctl.set_approvals('*', 2)")

    assert door.doctor()[1]["approval-rules"][0]["status"] == "ok"


def test_it_works_through_a_transaction_pooler(door: Door, bob: TeamServer) -> None:
    with (
        bouncer(door.url) as pooled,
        TeamLeases(bob).hold("prod", actor="bob@desk", run="r1", command="restore db"),
    ):
        code, found = door.doctor(state=pooled)
        status, document = door("status", state=pooled)

    assert (code, status) == (0, 0)
    assert ", through a pooler, " in found["state"][0]["evidence"]
    assert found["locks"][0]["title"] == "prod is held, and its holder lives"
    assert document["data"]["unknown"] == []


def test_a_state_that_is_gone_is_unknown_and_the_rest_is_looked_at(door: Door) -> None:
    host, _, name = door.url.rpartition("/")
    gone = f"{host.rpartition(':')[0]}:1/{name}"
    began = time.monotonic()

    code, found = door.doctor(state=gone)
    status, document = door("status", state=gone)

    took_s = time.monotonic() - began
    assert (code, status) == (3, 3)
    assert found["state"][0]["status"] == "unknown"
    assert "nothing listens there" in found["state"][0]["evidence"]
    assert "OPSCTL_STATE" in found["state"][0]["hint"]
    assert found["python"][0]["status"] == "ok"
    assert document["data"]["unknown"] == ["runs", "rotations", "incidents", "maintenance"]
    assert all(each["hint"] for each in document["findings"] if each["status"] == "unknown")
    assert took_s < 20


@pytest.mark.parametrize("version", [2, 4])
def test_a_state_of_another_version_is_unknown_with_what_to_do(door: Door, version: int) -> None:
    door.own(f"UPDATE opsctl.opsctl_schema SET version = {version}")

    code, found = door.doctor()

    assert code == 3
    assert f"has version {version}" in found["state"][0]["evidence"]
    assert ("state prepare" if version == 2 else "upgrade") in found["state"][0]["hint"]


SEEN = TeamLook("ann", "18.0", True, True, False, (), (), 0.0, 0.01, False)


@pytest.mark.parametrize(
    ("seen", "status", "severity", "words"),
    [
        (SEEN, "ok", "error", "carry plans out"),
        (replace(SEEN, keeper=True), "failed", "warning", "says who approves"),
        (replace(SEEN, operator=False), "ok", "note", "reads the record"),
        (replace(SEEN, operator=False, keeper=True), "ok", "note", "how many approve"),
        (replace(SEEN, operator=False, reader=False), "failed", "error", "may not read"),
    ],
)
def test_what_a_role_may_is_judged(seen: TeamLook, status: str, severity: str, words: str) -> None:
    (found,) = judge_rights(seen)

    assert (found.status, found.severity) == (Status(status), Severity(severity))
    assert words in found.title
    assert found.hint or found.status is Status.OK


@pytest.mark.parametrize(
    ("ahead_s", "unsure_s", "status"),
    [(0.1, 0.01, "ok"), (-4.9, 0.0, "ok"), (6.0, 2.0, "ok"), (6.0, 0.5, "failed"),
     (-7200.0, 0.5, "failed")],
)  # fmt: skip
def test_a_clock_is_off_by_what_the_way_does_not_explain(
    ahead_s: float, unsure_s: float, status: str
) -> None:
    found = judge_clock(replace(SEEN, ahead_s=ahead_s, unsure_s=unsure_s))

    assert found.status is Status(status)
    assert ("behind" if ahead_s < 0 else "ahead of") in found.evidence
