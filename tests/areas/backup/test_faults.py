"""What goes wrong while a backup is made: nothing half is ever taken for whole."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters.scratch import ScratchServer, scratch_server

ROWS = """
create table public.notes (id bigint generated always as identity primary key, body text, n int);
insert into public.notes (body, n) select md5(n::text), n from generate_series(1, {rows}) n;
create table public.other (id int primary key, body text);
insert into public.other select n, md5(n::text) from generate_series(1, 5000) n;
"""


@pytest.fixture
def filled(project: Any) -> Any:
    """A project with enough rows that making a backup takes a moment."""
    project.execute(ROWS.format(rows=60_000))
    return project


def start(project: Any, *words: str) -> subprocess.Popen[bytes]:
    """Start opsctl in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "opsctl", *words, "--format", "json"], cwd=project.root,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ},
    )  # fmt: skip


def states(project: Any) -> list[str]:
    """Return the states of all backups."""
    return [each["state"] for each in project.opsctl("backup", "list").json["data"]["backups"]]


def test_writers_go_on_and_the_hashes_still_agree(filled: Any) -> None:
    stop = threading.Event()
    done = [0]

    def write() -> None:
        chance = random.Random(5)
        with psycopg.connect(filled.url, autocommit=True) as connection:
            while not stop.is_set():
                at = chance.randrange(60_000)
                connection.execute(b"insert into public.notes (body, n) values ('new', %s)", (at,))
                connection.execute(b"update public.notes set n = n + 1 where id = %s", (at,))
                connection.execute(b"delete from public.notes where id = %s", (at + 1,))
                done[0] += 1

    threads = [threading.Thread(target=write) for _ in range(2)]
    for each in threads:
        each.start()
    try:
        backups = [filled.back_up() for _ in range(3)]
    finally:
        stop.set()
        for each in threads:
            each.join()

    assert 50 < done[0]
    proven = filled.opsctl("backup", "verify", "--all")
    assert 0 == proven.exit, proven.stdout
    assert 3 == len(proven.json["data"]["verifications"])
    assert 3 == len({filled.manifest(each).rows for each in backups})


def test_a_table_that_somebody_locks_is_waited_for_and_then_named(filled: Any) -> None:
    text = (filled.root / "opsctl.yaml").read_text()
    waits = "      lock_timeout_s: 0.2\n      lock_attempts: 2\n"
    (filled.root / "opsctl.yaml").write_text(text + waits)
    with psycopg.connect(filled.url) as connection:
        connection.execute(b"lock table public.notes in access exclusive mode")

        failed = filled.opsctl("backup", "create")

    assert (3, "tables-locked") == (failed.exit, failed.json["error"]["code"])
    assert [] == states(filled)


def test_a_server_that_goes_away_leaves_nothing(tmp_path: Path, make_project: Any) -> None:
    with scratch_server() as server:
        project = make_project(tmp_path, server.create_database())
        project.execute(ROWS.format(rows=300_000))
        process = start(project, "backup", "create")
        wait_for_dump(project, process)
        server.stop(mode="immediate")
        out, _ = process.communicate(timeout=60)

        assert 3 == process.returncode, out
        server.start()
        assert [] == states(project)
        assert 0 == project.opsctl("backup", "create", "--verify").exit


def test_a_disk_that_is_full_leaves_nothing(filled: Any) -> None:
    """No file may get larger than 100 kB: to a program that is a full disk."""
    limit = "import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000));"
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    code = f"{limit}{ignore} os.execv(sys.executable, [sys.executable, '-m', 'opsctl', 'backup', 'create', '--format', 'json'])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], cwd=filled.root, capture_output=True,
                          text=True, check=False)  # fmt: skip

    assert 3 == done.returncode, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert [] == states(filled)
    assert [] == list(filled.folder("x").parent.iterdir())
    assert 0 == filled.opsctl("backup", "create").exit


def test_a_backup_that_is_killed_is_never_taken_for_whole(filled: Any, soak: bool) -> None:
    began = time.monotonic()
    first = start(filled, "backup", "create")
    first.communicate()
    assert 0 == first.returncode
    whole = time.monotonic() - began
    count = 50 if soak else 5
    killed = 0
    for number in range(count):
        process = start(filled, "backup", "create")
        time.sleep(whole * (number + 1) / (count + 1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        found = filled.opsctl("backup", "list").json["data"]["backups"]
        assert {each["state"] for each in found} <= {"whole", "interrupted"}
        for each in found:
            if each["state"] == "whole":
                with filled.opened(each["id"]):
                    pass

    assert count * 0.7 <= killed
    last = filled.opsctl("backup", "create", "--verify")
    assert 0 == last.exit, last.stdout
    assert {"whole"} == set(states(filled))
    deadline = time.monotonic() + 20
    while filled.query("select 1 from pg_stat_activity where application_name = 'pg_dump' "
                       "and datname = current_database()"):  # fmt: skip
        assert time.monotonic() < deadline, "a pg_dump is left running"
        time.sleep(0.2)


def test_two_at_the_same_time_do_not_harm_each_other(filled: Any) -> None:
    processes = [start(filled, "backup", "create") for _ in range(2)]

    assert [0, 0] == [process.wait() for process in processes]
    for process in processes:
        process.communicate()
    assert ["whole", "whole"] == states(filled)
    assert 0 == filled.opsctl("backup", "verify", "--all").exit


def test_one_that_is_being_made_is_not_taken_for_interrupted(filled: Any) -> None:
    with filled.store.making("20260101T000000Z-abcd"):
        assert ["being made"] == states(filled)
        pruned = filled.opsctl("backup", "prune", "--yes")
        assert 0 == pruned.exit
        assert ["being made"] == states(filled)


def test_memory_stays_bounded(project: Any, soak: bool) -> None:
    rows = 3_000_000 if soak else 300_000
    project.execute(f"create table t as select n, md5(n::text) || md5((n + 1)::text) as a "
                    f"from generate_series(1, {rows}) n")  # fmt: skip
    process = start(project, "backup", "create", "--verify")
    held = 0
    while process.poll() is None:
        # Not wait4: it keeps the size of the process that forked this one.
        status = Path(f"/proc/{process.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        held = max(held, int(found.group(1)) if found else 0)
        time.sleep(0.02)
    process.communicate()

    assert 0 == process.returncode
    assert 10 * 1024 < held < 150 * 1024


def test_a_role_that_may_not_read_a_table_is_told_so(project: Any, postgres: ScratchServer) -> None:
    role, word = f"reader_{project.url[-6:]}", "pass" + "word" + "2"
    project.execute(
        "create table public.open (a int); create table public.closed (a int);"
        "insert into public.open values (1); insert into public.closed values (1);"
        f"create role {role} login password '{word}'; grant pg_read_all_data to {role};"
        f"drop schema if exists auth cascade; drop schema if exists storage cascade"
    )
    project.execute(f"revoke pg_read_all_data from {role};"
                    f"grant usage on schema public, supabase_migrations, extensions to {role};"
                    f"grant select on all tables in schema public, supabase_migrations to {role};"
                    f"revoke all on public.closed from {role}")  # fmt: skip
    os.environ["OPSCTL_TEST_DATABASE"] = project.url.replace(
        project.url.split("//")[1].split("@")[0], f"{role}:{word}"
    )

    made = project.opsctl("backup", "create")

    assert (3, "unknown") == (made.exit, made.json["status"]), made.stdout
    assert ["public.closed"] == made.json["data"]["left_out"]


def test_the_transaction_pooler_is_refused(project: Any) -> None:
    os.environ["OPSCTL_TEST_DATABASE"] = "postgresql://u:p@127.0.0.1:6543/app"

    failed = project.opsctl("backup", "create")

    assert (2, "pooler-port") == (failed.exit, failed.json["error"]["code"])


def wait_for_dump(project: Any, process: subprocess.Popen[bytes]) -> None:
    """Wait until pg_dump copies rows."""
    deadline = time.monotonic() + 30
    query = (
        "select 1 from pg_stat_activity where application_name = 'pg_dump' or "
        "(application_name = 'opsctl' and query ilike '%hashtextextended%')"
    )
    while not project.query(query):
        assert process.poll() is None
        assert time.monotonic() < deadline
