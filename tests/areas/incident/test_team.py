"""An incident that one machine opens and another one ends, on a state that they share."""

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

from .conftest import World


def test_one_opens_it_and_another_ends_it(
    world: World, postgres: ScratchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is to wait for another person's approval before saying that something is wrong."""
    url = postgres.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema_sql().encode())
    world.write("slack")
    settings = {**world.settings, "protected": True, "approvals": 1}
    document = {"state": "env:TEAM_STATE", "environments": {"production": settings}}
    ann, bob = tmp_path / "ann", tmp_path / "bob"

    def opsctl(root: Path, *words: str) -> tuple[int, dict[str, Any]]:
        root.mkdir(exist_ok=True)
        (root / "opsctl.yaml").write_text(json.dumps(document))
        monkeypatch.chdir(root)
        monkeypatch.setenv("LOGNAME", root.name)
        if root.name not in urls:
            urls[root.name] = login(url, f"incident_{root.name}", "opsctl_operator")
        monkeypatch.setenv("TEAM_STATE", urls[root.name])
        world.capture.readouterr()
        code = run(["incident", *words, "--format", "json"])
        return code, dict(json.loads(world.capture.readouterr().out))

    urls: dict[str, str] = {}
    opened, _ = opsctl(ann, "open", "--title", "Payments fail", "--severity", "P1", "--yes")
    opsctl(bob, "log", "Support has 41 tickets")
    resolved, _ = opsctl(bob, "resolve", "Mended", "--yes")
    _, shown = opsctl(ann, "show")

    assert (0, 0) == (opened, resolved)
    assert 2 == len(world.said())
    assert [("ann", "Opened as P1: Payments fail"), ("bob", "Support has 41 tickets"),
            ("bob", "Resolved: Mended")] == [
        (each["by"].partition("@")[0], each["text"])
        for each in shown["data"]["timeline"] if not each["text"].startswith("Told")
    ]  # fmt: skip
    assert not (ann / ".opsctl" / "state.db").exists()
