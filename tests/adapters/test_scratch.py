"""Installations are found wherever they lie; scratch servers leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from opsctl.adapters.scratch import ScratchServer, choose_provider, pg_program, providers
from opsctl.adapters.scratch import scratch_server as start_scratch
from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import alive


def test_the_embedded_server_says_what_it_lacks() -> None:
    embedded = choose_provider(prefer="embedded")

    assert {"tls", "zstd", "extension pgcrypto"} <= set(embedded.lacks)
    assert "pg_stat_statements" in embedded.extensions
    assert embedded == providers()[0]


def test_the_systems_servers_are_found_without_a_path() -> None:
    """Debian puts them into folders that no PATH names."""
    here = {str(path.parent) for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")}
    code = (
        "from opsctl.adapters.scratch import providers\n"
        "print(*(each.bin for each in providers() if each.name == 'system'), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PATH": "/nowhere"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert here <= set(done.stdout.split())


def test_an_extension_counts_more_than_the_wheel() -> None:
    wanted = "pgcrypto"
    chosen = choose_provider(extensions=[wanted])

    has = [each for each in providers() if wanted in each.extensions]
    assert (chosen in has) == bool(has)


def test_what_is_not_there_is_said_and_how_to_get_it() -> None:
    with pytest.raises(OpsError) as no_server:
        choose_provider(at_least=99)
    with pytest.raises(OpsError) as no_dump:
        pg_program("pg_dump", at_least=99)

    assert ("tool-missing", Exit.UNKNOWN) == (no_server.value.code, no_server.value.exit)
    assert ("tool-missing", Exit.UNKNOWN) == (no_dump.value.code, no_dump.value.exit)
    assert "postgresql-client-99" in no_dump.value.hint


def test_a_program_is_at_least_as_new_as_the_server(postgres: ScratchServer) -> None:
    major = postgres.provider.major
    done = subprocess.run(
        [pg_program("pg_dump", at_least=major), "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert int(done.stdout.split()[2].split(".")[0]) >= major


def test_databases_are_made_from_templates_and_dropped(postgres: ScratchServer) -> None:
    first = postgres.create_database("first_of_two")
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 10) AS n")
    copy = postgres.create_database(template="first_of_two")

    with psycopg.connect(copy) as connection:
        assert (10,) == connection.execute("SELECT count(*) FROM kept").fetchone()
        postgres.drop_database("first_of_two")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(first)


def test_nothing_is_left_behind_after_an_error() -> None:
    seen: list[tuple[Path, int | None]] = []

    def fail_within() -> None:
        with start_scratch() as server:
            seen.append((server.data.parent, server.pid))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_within()

    [(folder, pid)] = seen
    assert not folder.exists()
    assert pid is not None
    _wait_until_gone(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no dead process from a live one")
def test_what_a_killed_owner_left_is_swept_by_the_next(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    code = (
        "import sys, time\nfrom opsctl.adapters.scratch import scratch_server\n"
        "with scratch_server() as server:\n"
        "    print(server.data.parent, server.pid, flush=True)\n"
        "    time.sleep(60 if len(sys.argv) > 1 else 0)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", code, "wait"], env=env, text=True,
                             stdout=subprocess.PIPE)  # fmt: skip
    assert first.stdout is not None
    folder, pid = first.stdout.readline().split()
    stranger = tmp_path / "opsctl-scratch-link"
    target = tmp_path / "precious"
    target.mkdir()
    (target / "owner").write_text(str(2**22 + 1))
    stranger.symlink_to(target)

    subprocess.run([sys.executable, "-c", code], env=env, check=True, stdout=subprocess.DEVNULL)
    assert Path(folder).exists()  # its owner lives
    first.send_signal(signal.SIGKILL)
    first.communicate()
    subprocess.run([sys.executable, "-c", code], env=env, check=True, stdout=subprocess.DEVNULL)

    assert not Path(folder).exists()
    _wait_until_gone(int(pid))
    assert (target / "owner").exists()
    assert tempfile.gettempdir() != str(tmp_path)


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while alive(pid) and _state(pid) != "Z":
        assert time.monotonic() < deadline, f"the server {pid} still runs"
        time.sleep(0.05)


def _state(pid: int) -> str:
    path = Path(f"/proc/{pid}/stat")
    return path.read_text().rpartition(") ")[2][:1] if path.exists() else ""
