"""A key of another provider, and the database's password, on a real PostgreSQL."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters.scratch import scratch_server

from .conftest import PUBLIC, SECRET, RotationWorld

NEW = "-".join(("new", "payments", "key", "1234567890"))
PASSWORD = "".join(("Fresh", "Pass", "word", "0123456789abcdef"))


def settings(world: RotationWorld, change: Any) -> None:
    path = world.root / "opsctl.yaml"
    data = json.loads(path.read_text())
    change(data["environments"]["production"])
    path.write_text(json.dumps(data))


def test_a_key_of_another_provider_is_tried_kept_and_proven(world: RotationWorld) -> None:
    (world.root / "new-key").write_text(NEW)
    (world.root / "seen.py").write_text(
        "import os, pathlib, sys\n"
        "kept = pathlib.Path('.env.local').read_text()\n"
        "sys.exit(0 if f\"PAYMENTS_KEY={os.environ['OPSCTL_VALUE']}\" in kept else 1)\n"
    )

    def change(environment: dict[str, Any]) -> None:
        rotation = environment["rotation"]
        rotation["sinks"] = [{"kind": "env-file", "key": "payments", "variable": "PAYMENTS_KEY",
                              "path": ".env.local"}]  # fmt: skip
        rotation["keys"] = [{
            "name": "payments", "new": "file:new-key",
            "create_link": "https://payments.example/keys",
            "test": [sys.executable, "-c", "import os; assert len(os.environ['OPSCTL_VALUE']) > 9"],
            "proof_command": [sys.executable, "seen.py"],
        }]  # fmt: skip

    settings(world, change)

    plan = world.opsctl("rotate-keys", "api", "payments", "--dry-run", "--format", "json")
    stopped = world.opsctl("rotate-keys", "api", "payments", "--yes", "--quiet", "--no-input",
                           "--format", "json")  # fmt: skip

    steps = [each["id"] for each in plan.json["data"]["plan"]["steps"]]
    assert ["make", "readable", "try", "stage-env-file:.env.local:PAYMENTS_KEY", "live",
            "health-health", "end"] == steps  # fmt: skip
    assert NEW not in plan.stdout
    # Nobody is there to say that the key was made.
    assert 3 == stopped.exit, stopped.stdout
    assert "PAYMENTS_KEY" not in (world.root / ".env.local").read_text()


def test_a_key_that_the_settings_do_not_have_is_named(world: RotationWorld) -> None:
    refused = world.opsctl("rotate-keys", "api", "nonsense", "--yes", "--format", "json")

    assert (2, "no-such-key") == (refused.exit, refused.json["error"]["code"])


def test_the_databases_password_is_replaced_and_tried(
    world: RotationWorld, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with scratch_server() as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(b"create role app login password 'the-old-one-0123456789'")
        url = server.url("postgres").partition("://")[2].partition("@")[2]
        file = world.root / "database-url"
        file.write_text(f"postgresql://app:the-old-one-0123456789@{url}")
        (world.root / "new-password").write_text(PASSWORD)
        world.supabase.set_password = lambda password: _set(server.url("postgres"), password)

        def change(environment: dict[str, Any]) -> None:
            environment["database"] = {"url": "file:database-url"}
            environment["rotation"]["sinks"] = [
                {"kind": "vercel", "key": "database-password", "variable": "DATABASE_URL",
                 "value": "postgresql://app:{value}@db:5432/postgres"},
                {"kind": "env-file", "key": "database-password", "variable": "DATABASE_URL",
                 "value": "postgresql://app:{value}@db:5432/postgres", "path": ".env.local"},
            ]  # fmt: skip

        settings(world, change)
        words = ("rotate-keys", "db-password", "--new")

        weak = world.opsctl(*words, "cmd:echo short", "--yes", "--format", "json")
        done = world.opsctl(*words, f"file:{world.root}/new-password", "--yes", "--quiet",
                            "--format", "json")  # fmt: skip

        assert (2, "bad-password") == (weak.exit, weak.json["error"]["code"])
        assert 0 == done.exit, done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        wanted = f"postgresql://app:{PASSWORD}@db:5432/postgres"
        assert wanted == world.places()["vercel DATABASE_URL production"]
        assert wanted == world.runs_with()["DATABASE_URL"]
        with psycopg.connect(f"postgresql://app:{PASSWORD}@{url}") as connection:
            assert connection.execute(b"select 1").fetchone() == (1,)


def _set(url: str, password: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"alter role app password '{password}'".encode())


def test_no_key_stands_anywhere_but_where_it_is_kept(world: RotationWorld) -> None:
    """Canaries: every value of before and after, in output, journal, files and requests' paths."""
    before = [str(each["api_key"]) for each in world.supabase.keys]
    said = []
    for argv in (
        ("rotate-keys", "plan"),
        ("rotate-keys", "supabase", "--dry-run", "--format", "json"),
        ("rotate-keys", "supabase", "--yes", "--verbose"),
        ("rotate-keys", "plan", "--format", "json"),
        ("rotate-keys", "status"),
        ("rotate-keys", "revoke", "--yes"),
        ("runs", "list"),
    ):
        found = world.opsctl(*argv)
        assert found.exit in (0, 1), found.stderr
        said += [found.stdout, found.stderr]
    run = world.opsctl("runs", "list", "--format", "json").json["data"]["runs"][0]["run"]
    said += [world.opsctl("runs", "show", run, "--verbose").stdout,
             world.opsctl("runs", "show", run, "--format", "json").stdout]  # fmt: skip
    values = {*before, *(str(each["api_key"]) for each in world.supabase.keys)}
    asked = [f"{each.path} {each.query}" for plane in (world.vercel, world.supabase, world.github)
             for each in plane.asked]  # fmt: skip
    kept = {world.root / ".env.local", world.root / "kept-by-command"}
    files = [path.read_bytes().decode(errors="replace")
             for path in world.root.rglob("*") if path.is_file() and path not in kept]  # fmt: skip

    for value in values:
        assert not [text for text in said if value in text]
        assert not [text for text in asked if value in text]
        assert not [text for text in files if value in text]
    assert {PUBLIC, SECRET} <= {each["key"] for each in world.vercel.variables}


def test_no_program_is_started_with_a_key_but_the_users_own(
    world: RotationWorld, tmp_path: Path
) -> None:
    """Every program of the run notes its argv and environment; only the keeper has the value."""
    log = tmp_path / "started"
    log.mkdir()
    spy = (
        "import os, pathlib, sys\n"
        f"folder = pathlib.Path({str(log)!r})\n"
        "rest = {k: v for k, v in os.environ.items() if k != 'OPSCTL_VALUE'}\n"
        "text = repr(sys.argv) + repr(rest)\n"
        "(folder / str(os.getpid())).write_text(text)\n"
    )
    keeper = world.root / "keep.py"
    keeper.write_text(spy + keeper.read_text())

    done = world.opsctl("rotate-keys", "supabase", "--yes", "--quiet")

    values = [str(each["api_key"]) for each in world.supabase.keys]
    started = [path.read_text() for path in log.iterdir()]
    assert 0 == done.exit
    assert started
    assert not [text for text in started for value in values if value in text]
