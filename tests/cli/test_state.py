"""The state through the front door: shown, prepared, moved there and back, audited."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters.health_history import HealthHistory
from opsctl.adapters.incidents import IncidentEvent, IncidentStore
from opsctl.adapters.maintenance_windows import Window, WindowStore
from opsctl.adapters.scratch import ScratchServer
from opsctl.cli.root import run
from opsctl.cli.state_seam import open_journal, open_locks
from opsctl.core.sample import Sample
from opsctl.core.state_place import StatePlace, TeamState
from team.world import login

DAY_S = 86400.0


class Door:
    """The program in a directory of its own."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capsys = capsys

    def settle(self, state: str) -> None:
        (self.root / "opsctl.yaml").write_text(
            f"version: 1\nstate: {state}\nenvironments:\n  prod: {{}}\n  staging: {{}}\n"
        )

    def __call__(self, *words: str) -> tuple[int, dict[str, Any]]:
        code = run([*words, "--format", "json", "--quiet"])
        return code, json.loads(self._capsys.readouterr().out)

    def text(self, *words: str) -> tuple[int, str]:
        code = run(list(words))
        return code, self._capsys.readouterr().out


@pytest.fixture
def door(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
) -> Door:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEAM_STATE", database_url)
    door = Door(tmp_path, capsys)
    door.settle("state.db")
    return door


def fill(place: StatePlace) -> None:
    """Write something of everything."""
    journal = open_journal(place)
    for number in range(6):
        journal.append("r1", "started", step=str(number), actor="änn", data={"n": [number, "☃"]})
    history = HealthHistory(place)
    samples = [
        Sample("web", DAY_S * 20000 + n * 300, DAY_S * 20000 + n * 300 + 0.5, 12.345 + n / 7, None,
               "pass" if n % 9 else "fail", "", 200)
        for n in range(400)
    ]  # fmt: skip
    assert history.append("prod", samples) == 400
    assert history.append("prod", samples[:5]) == 0
    assert history.compact("prod", before=20001, every_s=300) == 1
    WindowStore(place).add("prod", Window(1.5, 2.25, "index", "w1", 1.0, "ann"))
    store = IncidentStore(place)
    for number in range(3):
        assert store.add(IncidentEvent("inc", f"e{number}", "prod", "opened", 12, "ann", {"a": 1}))
    assert not store.add(IncidentEvent("inc", "e1", "prod", "opened", 12, "ann", {}))


def seen(place: StatePlace) -> list[Any]:
    """Return what the rooms see there."""
    history = HealthHistory(place)
    return [
        open_journal(place).rows(),
        history.days("prod", 0, 30000),
        history.rows("prod", "web", range(20000, 20003)),
        history.times("prod", "web", [20000]),
        history.loose_days("prod", "web", 0, 30000),
        WindowStore(place).list("prod"),
        IncidentStore(place).events("prod"),
    ]


def test_rooms_see_the_same_in_a_file_and_in_postgresql(door: Door, database_url: str) -> None:
    door.settle("env:TEAM_STATE")
    assert door("state", "prepare")[0] == 0
    file, team = door.root / "other.db", TeamState("env:TEAM_STATE")
    fill(file)
    fill(team)

    mine, theirs = seen(file), seen(team)

    assert mine[1:] == theirs[1:]
    assert len(mine[2]) == 400
    assert [row.data for row in mine[0]] == [row.data for row in theirs[0]]
    for place in (file, team):
        assert HealthHistory(place).prune("prod", before=20001) == 1
        assert WindowStore(place).remove("prod", "w1", at=3.0, by="bob")
        assert WindowStore(place).list("prod") == ()


def test_the_state_moves_there_and_back_whole(door: Door) -> None:
    fill(door.root / "state.db")
    before = seen(door.root / "state.db")

    code, there = door("state", "migrate", "--to", "env:TEAM_STATE")
    assert code == 0
    assert there["data"]["tables"]["event"]["rows"] == 6
    assert before == seen(TeamState("env:TEAM_STATE"))
    door.settle("env:TEAM_STATE")
    assert door("runs", "audit")[1]["data"]["rows"] == 6
    open_journal(TeamState("env:TEAM_STATE")).append(
        "r2", "planned", step=None, actor="bob", data={}
    )
    code, shown = door("state", "show")
    assert (code, shown["data"]["kind"], shown["data"]["role"]) == (0, "PostgreSQL", "operator")
    assert shown["data"]["rows"]["event"] == 7
    code, back = door("state", "migrate", "--to", "back.db")

    assert code == 0
    assert seen(TeamState("env:TEAM_STATE")) == seen(door.root / "back.db")
    door.settle("back.db")
    code, audited = door("runs", "audit")
    assert (code, audited["data"]["rows"], audited["data"]["broken"]) == (0, 7, None)
    for name, table in there["data"]["tables"].items():
        if name != "event":
            assert table == back["data"]["tables"][name]
    assert (door.root / "back.db").stat().st_mode & 0o777 == 0o600


def test_an_unchained_file_moves_and_goes_on_there(door: Door) -> None:
    path = door.root / "state.db"
    fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER event_no_update")
        connection.execute("UPDATE event SET hash = NULL")
        connection.commit()

    assert door("state", "migrate", "--to", "env:TEAM_STATE")[0] == 0

    team = open_journal(TeamState("env:TEAM_STATE"))
    team.append("r2", "planned", step=None, actor="bob", data={})
    door.settle("env:TEAM_STATE")
    code, audited = door("runs", "audit")
    assert (code, audited["data"]["unchained"], audited["data"]["rows"]) == (0, 6, 7)


def test_what_must_not_be_moved_is_refused(door: Door, database_url: str) -> None:
    path = door.root / "state.db"
    fill(path)
    word = "hunter" + "2hunter"
    cases: list[tuple[str, str, int]] = [
        ("state.db", "same-place", 5),
        (f"postgresql://ann:{word}@h/x", "bad-state", 2),
        ("mysql://h/x", "bad-state", 2),
        ("env:NOT_SET", "secret-missing", 3),
    ]
    for to, code, exit in cases:
        found, document = door("state", "migrate", "--to", to)
        assert (found, document["error"]["code"]) == (exit, code)
        assert word not in json.dumps(document)
    with open_locks(path).hold("prod", actor="a", run="r", command="restore db"):
        found, document = door("state", "migrate", "--to", "env:TEAM_STATE")
    assert (found, document["error"]["code"]) == (5, "locked")
    assert door("state", "migrate", "--to", "env:TEAM_STATE")[0] == 0
    found, document = door("state", "migrate", "--to", "env:TEAM_STATE")
    assert (found, document["error"]["code"]) == (5, "not-empty")


def test_a_broken_journal_is_named_and_not_moved(door: Door) -> None:
    path = door.root / "state.db"
    fill(path)
    noted = door("runs", "audit")[1]["data"]["head"]
    assert door("runs", "audit", "--head", f"{noted['seq']}:{noted['hash']}")[0] == 0
    assert door("runs", "audit", "--head", f"{noted['seq']}:{'0' * 64}")[0] == 1
    assert door("runs", "audit", "--head", "6")[0] == 2
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER event_no_update")
        connection.execute("UPDATE event SET actor = 'bob' WHERE seq = 4")
        connection.commit()

    code, document = door("runs", "audit")

    assert (code, document["data"]["broken"]["seq"]) == (1, 4)
    assert door("state", "show")[0] == 1
    code, document = door("state", "migrate", "--to", "env:TEAM_STATE")
    assert (code, document["error"]["code"]) == (5, "journal-broken")


def test_the_export_has_a_row_a_line_that_proves_itself(door: Door) -> None:
    from opsctl.core.journal import GENESIS, Row, row_hash

    fill(door.root / "state.db")

    code, text = door.text("runs", "export", "--format", "ndjson")

    rows = [json.loads(line) for line in text.splitlines()]
    assert (code, len(rows)) == (0, 6)
    end = GENESIS
    for row in rows:
        end = row_hash(end, Row(**row))
        assert row["hash"] == end
    assert door.text("runs", "export", "--run", "r1", "--format", "ndjson")[1] == text


def test_the_printed_sql_prepares_and_a_file_needs_none(door: Door, database_url: str) -> None:
    code, sql = door.text("state", "schema")
    assert code == 0
    assert door("state", "prepare")[1]["error"]["code"] == "not-shared"
    door.settle("env:TEAM_STATE")
    code, document = door("runs", "list")
    assert (code, document["error"]["code"]) == (3, "state-not-prepared")

    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(sql.encode())

    assert door("runs", "list")[0] == 0
    assert door("state", "show")[1]["data"]["rows"]["health_day"] == 0


@pytest.mark.parametrize("state", ["postgresql://ann:PW@h/x", "postgresql://h/x?password=PW"])
def test_a_password_in_the_settings_is_refused_and_not_repeated(door: Door, state: str) -> None:
    word = "hunter" + "2hunter"
    door.settle(state.replace("PW", word))

    code, document = door("state", "show")

    assert code == 2
    assert word not in json.dumps(document)


def test_approvals_are_demanded_by_a_keeper_and_shown(
    door: Door, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, document = door("state", "approvals", "1", "--env", "prod")
    assert (code, document["error"]["code"]) == (2, "not-shared")
    door.settle("env:TEAM_STATE")
    assert door("state", "prepare")[0] == 0
    operator = login(database_url, "door_ann", "opsctl_operator")
    keeper = login(database_url, "door_cara", "opsctl_keeper")
    monkeypatch.setenv("TEAM_STATE", operator)
    code, document = door("state", "approvals", "1", "--env", "prod")
    assert (code, document["error"]["code"]) == (3, "not-keeper")
    assert "opsctl_keeper" in document["error"]["hint"]

    monkeypatch.setenv("TEAM_STATE", keeper)
    assert door("state", "approvals", "2", "--env", "prod")[0] == 0
    assert door("state", "approvals", "0", "--env", "staging")[0] == 0
    assert door("state", "approvals", "3", "--elsewhere")[0] == 0
    code, document = door("state", "approvals", "1", "--env", "prod")
    assert (code, document["data"]["before"]) == (0, 2)
    code, document = door("state", "approvals", "1", "--env", "prod", "--dry-run")
    assert (code, document["error"]["code"]) == (2, "no-dry-run")

    demanded = {"*": 3, "prod": 1, "staging": 0}
    for url, role, may_say in ((operator, "operator", False), (keeper, "none", True)):
        monkeypatch.setenv("TEAM_STATE", url)
        shown = door("state", "show")[1]["data"]
        assert (shown["approvals"], shown["role"], shown["keeper"]) == (demanded, role, may_say)
    assert "all others" in door.text("state", "show")[1]


def test_what_is_demanded_moves_to_another_postgresql_and_is_said_to_be_lost_in_a_file(
    door: Door, postgres: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_STATE", postgres.create_database())
    door.settle("env:TEAM_STATE")
    assert door("state", "prepare")[0] == 0
    assert door("state", "approvals", "2", "--env", "prod")[0] == 0

    assert door("state", "migrate", "--to", "env:OTHER_STATE")[0] == 0
    code, document = door("state", "migrate", "--to", "file.db")

    assert (code, document["data"]["approvals_lost"]) == (0, {"prod": 2})
    door.settle("env:OTHER_STATE")
    assert door("state", "show")[1]["data"]["approvals"] == {"prod": 2}


def test_a_newer_state_is_left_alone_and_an_older_one_prepared(
    door: Door, database_url: str
) -> None:
    door.settle("env:TEAM_STATE")
    assert door("state", "prepare")[0] == 0
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE opsctl.opsctl_schema SET version = 4")
        for words in (
            ("runs", "list"),
            ("state", "prepare"),
            ("incident", "list", "--env", "prod"),
        ):
            code, document = door(*words)
            assert (code, document["error"]["code"]) == (3, "state-too-new"), words
            assert document["error"]["why"] == "it has version 4; this opsctl knows 3"
        owner.execute("UPDATE opsctl.opsctl_schema SET version = 2")
    code, document = door("runs", "list")
    assert (code, document["error"]["code"]) == (3, "state-too-old")

    assert door("state", "prepare")[0] == 0

    assert door("runs", "list")[0] == 0
