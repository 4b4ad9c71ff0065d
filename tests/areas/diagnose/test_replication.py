"""A real primary and its standby: lag, a pause, a lost connection; and ids that run out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import psycopg
import pytest

from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.server_user import NOBODY, give, is_root
from opsctl.core.process import run_program

from .conftest import Doctor, own_server, server_folder

USER = NOBODY if is_root() else None


def execute(server: ScratchServer, *statements: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(scope="module")
def standby(healthy: ScratchServer) -> Iterator[ScratchServer]:
    folder = server_folder()
    server = ScratchServer(healthy.provider, folder / "data")
    server.data.mkdir(mode=0o700)
    give(server.data)
    shutil.copy(healthy.data.parent / "postgres.password", folder)
    done = run_program(
        [str(healthy.provider.program("pg_basebackup")), f"--pgdata={server.data}",
         f"--dbname={healthy.url()}", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"],
        user=USER, cwd="/",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    with (server.data / "postgresql.auto.conf").open("a") as file:
        file.write("max_prepared_transactions = 5\n")
    try:
        server.start()
        yield server
    finally:
        server.stop(mode="immediate")
        shutil.rmtree(folder, ignore_errors=True)


def test_a_standby_is_known_and_its_faults_are_found(
    diagnose: Doctor, healthy: ScratchServer, standby: ScratchServer
) -> None:
    primary = diagnose(healthy.url())
    assert not primary.rules(), primary.text
    assert any(each["title"] == "Replicas: 1" for each in primary.document["findings"])
    well = diagnose(standby.url())
    assert not well.rules(), well.text
    assert "standby" in well.rules(red=False)

    execute(standby, "SELECT pg_wal_replay_pause()")
    assert "paused" in diagnose(standby.url()).told("standby-lag")
    execute(standby, "SELECT pg_wal_replay_resume()")

    execute(standby, "ALTER SYSTEM SET recovery_min_apply_delay = '1h'", "SELECT pg_reload_conf()")
    time.sleep(0.5)
    execute(healthy, "CREATE TABLE late (a int)", "DROP TABLE late")
    time.sleep(0.5)
    lagging = diagnose(standby.url(), limits={"replication_lag_s": 0.1})
    assert lagging.rules() == {"standby-lag"}, lagging.text
    assert "lags behind" in lagging.told("standby-lag")
    execute(standby, "ALTER SYSTEM RESET recovery_min_apply_delay",
            "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'",
            "SELECT pg_reload_conf()")  # fmt: skip
    for _ in range(100):
        time.sleep(0.1)
        lost = diagnose(standby.url())
        if lost.rules():
            break
    assert "receives nothing" in lost.told("standby-lag")


def test_transaction_ids_that_run_out(diagnose: Doctor, postgres: ScratchServer) -> None:
    """A forgotten prepared transaction, then a million ids handed out by pg_resetwal.

    The thresholds are as low as the server allows: with real ones it takes minutes to start.
    """
    lowered = ("max_prepared_transactions = 1", "autovacuum_freeze_max_age = 100000",
               "vacuum_failsafe_age = 0")  # fmt: skip
    with own_server(postgres.provider, settings=lowered, healthy=False) as server:
        execute(server, "CREATE TABLE t (a int)")
        with psycopg.connect(server.url()) as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            connection.execute("PREPARE TRANSACTION 'old'")
        server.stop()
        segment = 1  # of pg_xact, which has 1,048,576 ids each
        done = run_program(
            [str(server.provider.program("pg_resetwal")), "--force",
             f"--next-transaction-id={segment << 20}", f"--pgdata={server.data}"],
            user=USER, cwd="/",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        made = server.data / "pg_xact" / f"{segment:04X}"
        made.write_bytes(bytes(256 << 10))
        give(made)
        server.start()
        red = diagnose(server.url())
        execute(server, "ALTER SYSTEM SET vacuum_failsafe_age = 1600000000",
                "SELECT pg_reload_conf()")  # fmt: skip
        time.sleep(0.3)
        yellow = diagnose(server.url())

    assert "wraparound" in red.rules(), red.text
    assert "1,047," in red.told("wraparound")
    assert "prepared-transaction" in red.rules() | red.rules(red=False)
    assert "wraparound" in yellow.rules(red=False)
