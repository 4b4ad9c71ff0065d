"""The platform restores the whole project: here a real PostgreSQL recovers from its archive."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters.postgres_programs import choose_provider
from opsctl.adapters.server import Server
from opsctl.adapters.server_user import give
from opsctl.sandbox.supabase_plane import SupabasePlane

TOKEN = "sbp" + "_" + "0123456789" * 4
REF = "abcdefghijklmnopqrst"


@dataclass
class Archived:
    """A server that keeps its write-ahead log, and a copy of it from which it can recover."""

    server: Server
    folder: Path

    def execute(self, script: str) -> None:
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute(script.encode())

    def bodies(self) -> list[str]:
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            return [row[0] for row in connection.execute(b"select body from notes order by id")]

    def recover(self, to: int | str) -> None:
        """Do what the platform does: recover from the archive, then begin a new timeline."""
        self.execute("select pg_switch_wal()")
        self.server.stop(mode="fast")
        port = self.server.port
        shutil.rmtree(self.server.data)
        shutil.copytree(self.folder / "base", self.server.data)
        target = (
            f"recovery_target_time = '{datetime.fromtimestamp(to, UTC).isoformat()}'"
            if isinstance(to, int)
            else f"recovery_target_name = '{to}'"
        )
        with (self.server.data / "opsctl.conf").open("a") as file:
            file.write(f"port = {port}\nrestore_command = 'cp {self.folder}/wal/%f %p'\n{target}\n"
                       "recovery_target_action = promote\n")  # fmt: skip
        (self.server.data / "recovery.signal").touch()
        self.server.start()
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            deadline = time.monotonic() + 30
            while connection.execute(b"select pg_is_in_recovery()").fetchone() != (False,):
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.fixture
def archived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    """A server with an archive and a base backup."""
    folder = tmp_path_factory.mktemp("archived")
    server = Server(choose_provider(), folder / "data")
    server.create(durable=True)
    (folder / "wal").mkdir()
    give(folder / "wal")
    with (server.data / "opsctl.conf").open("a") as file:
        file.write(f"archive_mode = on\narchive_command = 'cp %p {folder}/wal/%f'\nfsync = off\n")
    server.start()
    server.stop()
    shutil.copytree(server.data, folder / "base")
    server.start()
    found = Archived(server, folder)
    found.execute("create table notes (id int generated always as identity primary key, body text);"
                  "insert into notes (body) values ('good')")  # fmt: skip
    yield found
    server.stop(mode="immediate")


@pytest.fixture
def hosted(
    archived: Archived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, SupabasePlane]]:
    """A project on the platform: its database, the Management API, and settings."""
    monkeypatch.setenv("OPSCTL_TEST_SUPABASE_TOKEN", TOKEN)
    monkeypatch.setenv("OPSCTL_TEST_DATABASE", archived.server.url())
    with SupabasePlane(token=TOKEN, ref=REF) as plane:
        plane.restore = archived.recover
        plane.pitr, plane.window = True, (int(time.time()) - 86_400, int(time.time()) + 60)
        (tmp_path / "opsctl.yaml").write_text(
            "environments:\n  test:\n    database:\n      url: env:OPSCTL_TEST_DATABASE\n"
            f"    supabase:\n      ref: {REF}\n      access_token: env:OPSCTL_TEST_SUPABASE_TOKEN\n"
            f"      api: {plane.url}\n"
        )
        yield archived, plane


def opsctl(root: Path, *argv: str) -> Any:
    """Run one command line in this process."""
    import io
    import json
    from contextlib import redirect_stderr, redirect_stdout

    from opsctl.cli.root import run

    out, err, here = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(root)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = run([*argv, "--format", "json"])
    finally:
        os.chdir(here)
    return code, json.loads(out.getvalue())


def test_the_project_goes_back_to_a_moment_and_the_timeline_proves_it(
    hosted: tuple[Any, SupabasePlane], tmp_path: Path
) -> None:
    archived, plane = hosted
    time.sleep(1.1)
    moment = int(time.time())
    time.sleep(1.1)
    archived.execute("update notes set body = 'spoiled'")

    code, document = opsctl(
        tmp_path, "restore", "platform", "--at",
        datetime.fromtimestamp(moment, UTC).isoformat(), "--confirm", "test",
    )  # fmt: skip

    assert (0, "ok") == (code, document["status"]), document
    assert [moment] == plane.restored
    assert ["good"] == archived.bodies()
    _, backups = opsctl(tmp_path, "backup", "list")
    assert ["before a restore"] == [each["label"] for each in backups["data"]["backups"]]


def test_a_restore_point_is_made_once_and_the_project_goes_back_to_it(
    hosted: tuple[Any, SupabasePlane], tmp_path: Path
) -> None:
    archived, plane = hosted
    made, _ = opsctl(tmp_path, "restore", "point", "before-release", "--yes")
    archived.execute("select pg_create_restore_point('before-release')")
    archived.execute("delete from notes")
    again, refused = opsctl(tmp_path, "restore", "point", "before-release", "--yes")

    code, document = opsctl(
        tmp_path, "restore", "platform", "--point", "before-release", "--confirm", "test"
    )

    assert (0, 5, "point-exists") == (made, again, refused["error"]["code"])
    assert 0 == code, document
    assert ["good"] == archived.bodies()
    assert 1 == plane.count("POST", "/undo")


def test_an_answer_that_was_lost_is_not_asked_for_again(
    hosted: tuple[Any, SupabasePlane], tmp_path: Path
) -> None:
    """The platform fails after the effect: the timeline says that it was done."""
    archived, plane = hosted
    time.sleep(1.1)
    moment = int(time.time())
    time.sleep(1.1)
    archived.execute("delete from notes")

    def restore_and_fail(to: int | str) -> None:
        archived.recover(to)
        raise RuntimeError("the answer is lost")

    plane.restore = restore_and_fail
    code, document = opsctl(
        tmp_path, "restore", "platform", "--at",
        datetime.fromtimestamp(moment, UTC).isoformat(), "--confirm", "test",
    )  # fmt: skip
    if code != 0:
        code, document = opsctl(tmp_path, "runs", "resume", document["data"]["run"], "--yes",
                                "--confirm", "test")  # fmt: skip

    assert 0 == code, document
    assert ["good"] == archived.bodies()
    assert 1 == plane.count("POST", "/restore-pitr")


@pytest.mark.parametrize(
    ("words", "exit", "code"),
    [
        (("--at", "2020-01-01T00:00:00Z"), 5, "moment-out-of-window"),
        (("--at", "yesterday"), 2, "usage"),
        ((), 2, "usage"),
        (("--at", "2026-01-01", "--point", "x"), 2, "usage"),
        (("--point", "nothing"), 5, "no-such-point"),
        (("--point", "a b"), 2, "usage"),
    ],
    ids=str,
)
def test_what_the_platform_cannot_restore_to_is_refused_before_anything(
    words: tuple[str, ...], exit: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_TEST_SUPABASE_TOKEN", TOKEN)
    with SupabasePlane(token=TOKEN, ref=REF) as plane:
        plane.pitr, plane.window = True, (1_790_000_000, 1_791_000_000)
        (tmp_path / "opsctl.yaml").write_text(
            "environments:\n  test:\n    supabase:\n"
            f"      ref: {REF}\n      access_token: env:OPSCTL_TEST_SUPABASE_TOKEN\n"
            f"      api: {plane.url}\n"
        )
        got, document = opsctl(tmp_path, "restore", "platform", *words)

        assert (exit, code) == (got, document["error"]["code"])
        assert [] == plane.restored


def test_without_recovery_it_says_what_else_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_TEST_SUPABASE_TOKEN", TOKEN)
    with SupabasePlane(token=TOKEN, ref=REF) as plane:
        (tmp_path / "opsctl.yaml").write_text(
            "environments:\n  test:\n    supabase:\n"
            f"      ref: {REF}\n      access_token: env:OPSCTL_TEST_SUPABASE_TOKEN\n"
            f"      api: {plane.url}\n"
        )
        got, document = opsctl(tmp_path, "restore", "platform", "--at", "2026-01-01T00:00:00Z")

    assert (5, "pitr-off") == (got, document["error"]["code"])
    assert "opsctl restore db" in document["error"]["hint"]
