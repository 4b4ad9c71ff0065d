"""A window that one person plans and another begins and ends, on a state that they share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.team_schema import schema_sql
from opsctl.cli.root import run
from team.world import login

from .conftest import MONTHLY, World


def test_one_plans_it_another_ends_it_and_nobody_changes_the_record(
    world: World, postgres: ScratchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema_sql().encode())
    document = {
        "state": "env:TEAM_STATE",
        "environments": {"production": {"maintenance_windows": [MONTHLY], "approvals": 1}},
    }
    urls = {name: login(url, f"upkeep_{name}", "opsctl_operator") for name in ("ann", "bob")}

    def opsctl(name: str, *words: str) -> tuple[int, dict[str, Any]]:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        (root / "opsctl.yaml").write_text(json.dumps(document))
        monkeypatch.chdir(root)
        monkeypatch.setenv("LOGNAME", name)
        monkeypatch.setenv("TEAM_STATE", urls[name])
        world.capture.readouterr()
        code = run(["maintenance", *words, "--format", "json"])
        return code, dict(json.loads(world.capture.readouterr().out))

    planned, first = opsctl("ann", "plan")
    begun, second = opsctl("bob", "start", "--unplanned", "disk is full")
    opsctl("bob", "task", "done", "logs")
    ended, _ = opsctl("ann", "finish")
    _, listed = opsctl("bob", "list")

    assert (planned, begun, ended) == (0, 0, 0)
    assert [(each["id"], each["state"]) for each in listed["data"]["windows"]] == [
        (second["data"]["window"]["id"], "finished"), (first["data"]["window"]["id"], "planned"),
    ]  # fmt: skip
    assert listed["data"]["windows"][0]["tasks"]["logs"]["by"].startswith("bob@")
    assert not (tmp_path / "ann" / ".opsctl" / "state.db").exists()
    with (
        psycopg.connect(urls["ann"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("UPDATE opsctl.maintenance_event SET actor = 'nobody'")
