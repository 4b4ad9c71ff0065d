"""`opsctl status`, through the front door, against real PostgreSQL and the control planes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from first_run import World, first_run_world
from opsctl.adapters.supabase_keys import SupabaseKeys
from opsctl.core.settings import Settings
from opsctl.engine.store import SqliteJournal


@pytest.fixture
def world(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    with first_run_world(tmp_path, database_url, monkeypatch, capsys) as world:
        yield world


def well(world: World) -> None:
    """Leave out what a new project has not: backups, and platforms whose metrics are judged."""
    world.settings(database=None, supabase=None)


def test_one_look_says_how_everything_stands_and_leaves_nothing(world: World) -> None:
    before = sorted(world.root.rglob("*"))
    told = world.opsctl("status", "--env", "test")
    parts = told.document["data"]["parts"]

    assert list(parts) == [
        "health", "deployment", "migrations", "backups", "runs", "rotations",
        "incidents", "maintenance",
    ]  # fmt: skip
    assert parts["deployment"]["pushes_go_live"] is True
    assert parts["deployment"]["commit"] == "a" * 40
    assert parts["health"]["checks"]["app"] == "pass"
    assert parts["backups"] == {"whole": 0, "newest_age_h": None, "newest_verified_age_h": None}
    assert told.document["data"]["unknown"] == []
    assert told.exit == 1  # there is no backup
    assert sorted(world.root.rglob("*")) == before


def test_all_well_is_exit_0(world: World) -> None:
    well(world)
    told = world.opsctl("status", "--env", "test")

    assert told.exit == 0, told.text
    assert {each["status"] for each in told.document["findings"]} == {"ok"}


def test_a_failing_endpoint_is_exit_1(world: World) -> None:
    well(world)
    world.served.status = 500
    told = world.opsctl("status", "--env", "test")

    assert told.exit == 1
    assert told.checks["health"]["title"] == "Health: 1 of 2 checks fail: app"


def test_a_part_that_hangs_is_unknown_and_the_rest_is_known(world: World) -> None:
    well(world)
    world.served.hangs.clear()
    began = time.monotonic()
    told = world.opsctl("status", "--env", "test", "--within", "2")
    took_s = time.monotonic() - began
    world.served.hangs.set()

    assert told.exit == 3
    assert took_s < 5
    assert told.document["data"]["unknown"] == ["health"]
    assert told.checks["deployment"]["status"] == "ok"
    assert told.checks["health"]["hint"] == "opsctl status --within 6"


def test_a_part_that_is_not_reached_is_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    well(world)
    monkeypatch.setenv("FR_VERCEL", "-".join(["another", "token"]))
    told = world.opsctl("status", "--env", "test")

    assert told.exit == 3
    assert told.checks["deployment"]["status"] == "unknown"


def test_pushes_that_do_not_go_live_are_said(world: World) -> None:
    well(world)
    world.vercel.auto_assign = False
    told = world.opsctl("status", "--env", "test")

    assert told.document["data"]["parts"]["deployment"]["pushes_go_live"] is False
    assert told.checks["pushes"]["title"] == "Pushes do not go live"
    assert told.exit == 0  # it is a warning


def test_migrations_that_wait_are_counted(world: World) -> None:
    folder = world.root / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20260101000000_one.sql").write_text("create table one (id int);")
    told = world.opsctl("status", "--env", "test")

    assert told.checks["migrations"]["title"] == "Migrations: supabase at none, 1 pending"
    assert told.checks["migrations"]["severity"] == "warning"


def test_an_unfinished_run_is_named_until_it_is_undone(world: World) -> None:
    well(world)
    run = "20260101-000000-aaaa"
    plan = {"command": "rotate secret", "environment": "test", "title": "Rotate", "facts": {}}
    journal = SqliteJournal(world.root / ".opsctl" / "state.db")
    journal.append(run, "planned", step=None, actor="anna",
                   data={"plan": plan, "sha256": "0" * 64})  # fmt: skip
    journal.append(run, "started", step="one", actor="anna", data={})
    told = world.opsctl("status", "--env", "test")
    undo = {**plan, "facts": {"undoes": run}}
    other = "20260101-000001-bbbb"
    journal.append(other, "planned", step=None, actor="anna",
                   data={"plan": undo, "sha256": "1" * 64})  # fmt: skip
    journal.append(other, "finished", step=None, actor="anna", data={})
    journal.close()
    after = world.opsctl("status", "--env", "test")

    assert told.checks["runs"]["hint"] == f"opsctl runs resume {run}"
    assert told.document["data"]["parts"]["runs"]["unfinished"][0]["command"] == "rotate secret"
    assert after.checks["runs"]["title"] == "Runs: none is unfinished"


def test_a_key_that_was_replaced_and_works_still_is_said(world: World) -> None:
    settings = Settings.model_validate_json((world.root / "opsctl.yaml").read_text())
    supabase = settings.environments["test"].supabase
    assert supabase is not None
    keys = SupabaseKeys(supabase).keys()
    old = next(each for each in keys if each.kind == "secret")
    plan = {"command": "rotate-keys supabase", "environment": "test", "title": "Rotate",
            "facts": {"token": "t1", "old": [
                {"kind": "secret", "id": old.id, "name": old.name},
                {"kind": "secret", "id": "gone", "name": "gone"},
            ]}}  # fmt: skip
    journal = SqliteJournal(world.root / ".opsctl" / "state.db")
    run = "20260101-000000-aaaa"
    journal.append(run, "planned", step=None, actor="anna",
                   data={"plan": plan, "sha256": "0" * 64})  # fmt: skip
    journal.append(run, "finished", step=None, actor="anna", data={})
    journal.close()
    told = world.opsctl("status", "--env", "test")

    assert told.checks["rotations"]["title"] == "Rotations: 1 replaced key works still"
    assert told.document["data"]["parts"]["rotations"]["unended"] == [old.name]


def test_a_window_and_an_incident_are_shown(world: World) -> None:
    well(world)
    added = world.opsctl("healthcheck", "window", "add", "--env", "test", "--from", "5m",
                         "--to", "now", "--reason", "index rebuilt")  # fmt: skip
    opened = world.opsctl("incident", "open", "--env", "test", "--title", "Sign-in fails",
                          "--severity", "P1", "--no-notify", "--yes")  # fmt: skip
    told = world.opsctl("status", "--env", "test")

    assert (added.exit, opened.exit) == (0, 0), opened.text
    assert told.checks["incidents"]["severity"] == "warning"
    assert "Sign-in fails" in told.checks["incidents"]["title"]
    assert "due in" in told.checks["incidents"]["evidence"]


def test_the_next_monthly_window_is_shown(world: World) -> None:
    window = {"name": "patches", "on": "first sunday", "at": "02:00", "hours": 2.0}
    world.settings(database=None, supabase=None, maintenance_windows=[window])
    told = world.opsctl("status", "--env", "test")

    assert told.checks["maintenance"]["title"].startswith("Maintenance ")
    assert told.checks["maintenance"]["title"].endswith("patches")


def test_a_watch_looks_again_and_ends_by_itself(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    from opsctl.cli.root import run

    well(world)
    capsys.readouterr()
    code = run(["status", "--env", "test", "--watch", "--every", "1s", "--for", "2s"])
    said = capsys.readouterr().err.splitlines()

    assert code == 0
    assert len(said) >= 2
    assert all(line.startswith("ok: test at ") for line in said)


@pytest.mark.parametrize("words", [("--every", "0.2s"), ("--every", "x")])
def test_a_wrong_pace_is_a_wrong_call(world: World, words: tuple[str, ...]) -> None:
    assert world.opsctl("status", "--env", "test", "--watch", *words).exit == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child")
def test_ctrl_c_ends_a_watch_with_how_it_stood_last(world: World) -> None:
    well(world)
    process = subprocess.Popen(
        [sys.executable, "-m", "opsctl", "status", "--env", "test", "--watch", "--every", "30s"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ), cwd=world.root,
        # A shell has what it starts in the background leave Ctrl-C alone.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()

    assert first.startswith(b"ok: test at ")
    assert process.returncode == 130
    assert b"Live: " in out
    assert b"Traceback" not in err
