"""The sandbox knows its own processes, and what was cut off is made good by the next up."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.core.errors import Exit, OpsError
from opsctl.sandbox.app_process import AppProcess
from opsctl.sandbox.world import World


def quiet(_line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("root"))
    world.up(postgres=None, say=quiet)
    try:
        yield world
    finally:
        world.down()


@pytest.fixture
def world(made: World) -> World:
    made.up(postgres=None, say=quiet)
    return made


def ask(world: World, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{world.state().app_port}{path}", timeout=10
        ) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def connect(world: World) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect((world.folder / "database-url").read_text().strip())


def digest(world: World) -> list[tuple[Any, ...]]:
    with connect(world) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN "
            "('public', 'auth', 'storage', 'supabase_migrations') ORDER BY 1"
        ).fetchall()
        return [
            (name, *(connection.execute(
                f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {name} t"  # type: ignore[arg-type]
            ).fetchone() or ()))
            for (name,) in tables
        ]  # fmt: skip


def test_it_holds_what_a_supabase_project_has_and_both_histories_agree(world: World) -> None:
    with connect(world) as connection:
        roles = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated', "
            "'service_role', 'authenticator', 'supabase_admin')"
        ).fetchall()
        supabase = connection.execute(
            "SELECT version || '_' || name FROM supabase_migrations.schema_migrations ORDER BY 1"
        ).fetchall()
        prisma = connection.execute(
            "SELECT migration_name, checksum FROM public._prisma_migrations ORDER BY 1"
        ).fetchall()
        found = connection.execute(
            "SELECT to_regclass('auth.users'), to_regclass('storage.buckets'), "
            "to_regclass('storage.objects'), to_regnamespace('extensions'), "
            "to_regprocedure('auth.uid()'), to_regprocedure('auth.jwt()'), "
            "to_regprocedure('auth.role()')"
        ).fetchone()
    assert found is not None
    rows = sum(count for _name, count, _hash in digest(world))
    folder = world.folder / "app" / "prisma" / "migrations"

    assert len(roles) == 5
    assert None not in found
    assert 30_000 < rows < 50_000
    assert [name for (name,) in supabase] == [name for name, _ in prisma]
    for name, checksum in prisma:
        data = (folder / name / "migration.sql").read_bytes()
        assert checksum == hashlib.sha256(data).hexdigest()
        twin = world.folder / "app" / "supabase" / "migrations" / f"{name}.sql"
        assert data == twin.read_bytes()
    last = prisma[-1][0]
    assert not (folder / last / "down.sql").exists()
    assert any(folder.glob("*/down.sql"))


def test_the_rows_are_the_same_every_time(world: World, tmp_path: Path) -> None:
    other = World(tmp_path)
    other.up(postgres=None, say=quiet)
    try:
        mine, theirs = digest(world), digest(other)
    finally:
        other.down()

    # Prisma's history says when, and has random ids.
    assert [row for row in mine if row[0] != "public._prisma_migrations"] == [
        row for row in theirs if row[0] != "public._prisma_migrations"
    ]
    assert len(mine) == len(theirs)


def test_the_answers_depend_on_the_database(world: World) -> None:
    assert (200, "pass") == (lambda code, body: (code, body["status"]))(*ask(world, "/api/health"))
    code, body = ask(world, "/api/selftest")
    assert (500, "fail") == (code, body["status"])
    assert "unpaid" in body["output"]
    before = digest(world)
    with connect(world) as connection:
        connection.execute("DROP POLICY invoices_state_visible ON public.invoices")
        connection.commit()

        assert ask(world, "/api/selftest")[0] == 200
        assert world.state().ills == ()
        connection.execute(
            "CREATE POLICY invoices_state_visible ON public.invoices AS RESTRICTIVE FOR SELECT "
            "TO authenticated USING (state = 'paid')"
        )
    assert before == digest(world)  # the self-test leaves nothing behind

    world._server().stop()

    assert 503 == ask(world, "/api/health")[0]
    assert 500 == ask(world, "/api/selftest")[0]
    state = world.state()
    assert state.postgres_pid is None
    assert state.app_pid is not None


def test_a_server_that_had_to_move_is_found_by_the_application(world: World) -> None:
    app = world.state().app_pid
    world._server().stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # it has just been closed
        other.bind(("127.0.0.1", world._server().port))
        other.listen()

        world.up(postgres=None, say=quiet)

    assert app == world.state().app_pid
    assert 200 == ask(world, "/api/health")[0]


def test_down_ends_nobody_elses_process(world: World) -> None:
    """After a reboot the number and the port may be anybody's, even another sandbox's."""
    innocent = subprocess.Popen(["sleep", "60"])
    app = world.state().app_pid
    try:
        (world.folder / "app.pid").write_text(f"{innocent.pid}\n")
        (world.folder / "app.name").rename(world.folder / "app.name.kept")
        (world.folder / "app.name").write_text("somebody else\n")

        assert world.state().app_pid is None
        AppProcess(world.folder).stop()

        assert innocent.poll() is None
        (world.folder / "app.name.kept").rename(world.folder / "app.name")
        assert app == world.state().app_pid
    finally:
        innocent.kill()
        innocent.wait()


def test_it_keeps_its_ports_and_its_rows_from_down_to_up(world: World) -> None:
    before, rows = world.state(), digest(world)

    assert world.down()
    assert not world.down()
    assert not world.state().running
    world.up(postgres=None, say=quiet)

    after = world.state()
    assert (before.postgres_port, before.app_port) == (after.postgres_port, after.app_port)
    assert rows == digest(world)


def test_another_postgres_than_its_own_is_refused(world: World) -> None:
    with pytest.raises(OpsError) as raised:
        world.up(postgres="system", say=quiet)

    assert ("sandbox-postgres", Exit.USAGE) == (raised.value.code, raised.value.exit)
    assert world.state().running


def test_reset_works_when_its_postgres_is_gone(world: World) -> None:
    """What says `opsctl sandbox reset` must not be what reset stumbles over."""
    record = world.folder / "provider.json"
    before = world.state()
    record.write_text(json.dumps({"name": "embedded", "major": 11}))
    with pytest.raises(OpsError) as raised:
        world.up(postgres=None, say=quiet)
    assert "opsctl sandbox reset" == raised.value.hint

    world.reset(postgres=None, say=quiet)

    after = world.state()
    assert after.running
    assert before.postgres_pid != after.postgres_pid
    assert 500 == ask(world, "/api/selftest")[0]


@pytest.mark.parametrize("moment", [0.3, 0.6, 0.9, 1.2, 1.4])
def test_what_was_killed_while_it_was_made_is_made_again(tmp_path: Path, moment: float) -> None:
    (tmp_path / "precious").write_text("mine")
    first = subprocess.Popen(
        [sys.executable, "-m", "opsctl", "sandbox", "up"], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(moment)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    world = World(tmp_path)

    world.up(postgres=None, say=quiet)
    try:
        assert world.state().running
        assert 500 == ask(world, "/api/selftest")[0]
        assert ["precious", ".opsctl"] == sorted((p.name for p in tmp_path.iterdir()), reverse=True)
    finally:
        world.down()
