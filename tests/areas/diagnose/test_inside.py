"""Faults within a real server are found, each by its rule; a healthy server has none."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from opsctl.adapters.scratch import ScratchServer

from .conftest import Doctor, in_the_background, session

Execute = Callable[[str], None]
SOON = {"blocked_s": 0.1, "idle_in_transaction_s": 0.1, "transaction_s": 0.1}


def test_a_healthy_server_has_nothing_red(diagnose: Doctor, url: str, execute: Execute) -> None:
    execute("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
    said = diagnose(url)

    assert said.exit == 0, said.text
    assert not said.rules()
    assert not said.rules(red=False)
    assert not said.unknowns()
    assert said.document["status"] == "ok"
    assert {each["colour"] for each in said.document["data"]["parts"]} == {"green"}


def test_whoever_is_idle_in_a_transaction_is_named(diagnose: Doctor, url: str) -> None:
    with session(url, "SELECT 'canary-value'") as idle:
        time.sleep(0.2)
        said = diagnose(url, limits=SOON)

        assert said.rules() == {"idle-in-transaction"}
        assert f"pid {idle.info.backend_pid}" in said.told("idle-in-transaction")
        assert "canary" not in said.text


def test_the_culprit_at_the_end_of_a_chain_is_named(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    execute("CREATE TABLE t (a int)")
    with (
        session(url, "LOCK TABLE t IN ACCESS SHARE MODE") as culprit,
        in_the_background(url, "ALTER TABLE t ADD b int", "middle"),
        in_the_background(url, "TABLE t", "last"),
    ):
        time.sleep(0.4)
        said = diagnose(url, limits={"blocked_s": 0.1})

        assert "blocked" in said.rules(), said.text
        told = said.told("blocked")
        assert f"culprit: pid {culprit.info.backend_pid}" in told
        assert told.count("holding up") == 1


def test_a_long_statement_is_found(diagnose: Doctor, url: str) -> None:
    with in_the_background(url, "SELECT pg_sleep(60)"):
        time.sleep(0.3)
        said = diagnose(url, limits={"transaction_s": 0.1})

    assert said.rules() == {"long-transaction"}
    assert "victim" in said.told("long-transaction")


def test_a_prepared_transaction_is_found_and_named_as_the_culprit(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    execute("CREATE TABLE t (a int)")
    with session(url, "LOCK TABLE t", "PREPARE TRANSACTION 'forgotten'"):
        pass
    try:
        with in_the_background(url, "TABLE t"):
            time.sleep(0.3)
            said = diagnose(url, limits={"transaction_s": 0.1, "blocked_s": 0.1})
            assert {"prepared-transaction", "blocked"} <= said.rules()
            assert "forgotten" in said.told("prepared-transaction")
            assert "a prepared transaction" in said.told("blocked")
    finally:
        execute("ROLLBACK PREPARED 'forgotten'")


def test_connections_are_counted_by_whom(diagnose: Doctor, url: str) -> None:
    held = [psycopg.connect(url, application_name="hoarder") for _ in range(15)]
    try:
        said = diagnose(url, limits={"database_connections": 0.7})
    finally:
        for each in held:
            each.close()

    assert said.rules() == {"connections"}
    assert "15 postgres (hoarder)" in said.told("connections")


def test_a_limit_of_a_role_is_found_before_it_is_reached(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    execute("CREATE ROLE narrow LOGIN PASSWORD 'x' CONNECTION LIMIT 2")
    try:
        narrow = url.replace("postgresql://postgres:", "postgresql://narrow:x@").split("@")
        with session(f"{narrow[0]}@{narrow[-1]}"), session(f"{narrow[0]}@{narrow[-1]}"):
            said = diagnose(url)
        assert said.rules() == {"own-limit"}
        assert "narrow" in said.told("own-limit")
    finally:
        execute("DROP ROLE narrow")


def test_a_slot_that_nobody_reads_is_found(diagnose: Doctor, url: str, execute: Execute) -> None:
    execute("SELECT pg_create_physical_replication_slot('abandoned', true)")
    try:
        said = diagnose(url)
    finally:
        execute("SELECT pg_drop_replication_slot('abandoned')")

    assert said.exit == 0
    assert said.rules(red=False) == {"replication-slot"}
    assert "abandoned" in said.told("replication-slot")


def test_a_lost_slot_is_red(diagnose: Doctor, url: str, execute: Execute) -> None:
    execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    execute("SELECT pg_reload_conf()")
    execute("SELECT pg_create_physical_replication_slot('left_behind', true)")
    try:
        for _ in range(4):
            execute("SELECT pg_switch_wal()")
            execute("CREATE TABLE filler AS SELECT generate_series(1, 1000) AS a")
            execute("DROP TABLE filler")
            execute("CHECKPOINT")
        said = diagnose(url)
    finally:
        execute("SELECT pg_drop_replication_slot('left_behind')")
        execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        execute("SELECT pg_reload_conf()")

    assert said.rules() == {"replication-slot"}
    assert "left_behind is lost" in said.told("replication-slot")


def test_a_lost_replica_that_commits_wait_for_is_red(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    execute("ALTER SYSTEM SET synchronous_standby_names = 'twin'")
    execute("SELECT pg_reload_conf()")
    time.sleep(0.3)
    try:
        said = diagnose(url)
    finally:
        execute("SET synchronous_commit = local;\nALTER SYSTEM RESET synchronous_standby_names")
        execute("SELECT pg_reload_conf()")

    assert said.rules() == {"replica"}
    assert "twin" in said.told("replica")


@pytest.mark.parametrize(
    ("limit_gb", "red", "yellow"),
    [(0.001, {"database-size"}, set()), (0.0075, set(), {"database-size"})],
)
def test_a_database_near_its_size_is_found(
    diagnose: Doctor, url: str, limit_gb: float, red: set[str], yellow: set[str]
) -> None:
    said = diagnose(url, limits={"database_size_gb": limit_gb})

    assert (said.rules(), said.rules(red=False)) == (red, yellow)


def test_sequences_near_their_end_are_found(diagnose: Doctor, url: str, execute: Execute) -> None:
    execute(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, small smallserial);\n"
        "SELECT setval('t_id_seq', 2000000000);\n"
        "SELECT setval('t_small_seq', 26000);\n"
        # Its own limit is far away; that of the column it fills is not.
        "CREATE SEQUENCE wide;\nCREATE TABLE u (a int DEFAULT nextval('wide'));\n"
        "SELECT setval('wide', 2100000000);\n"
        "CREATE SEQUENCE round MAXVALUE 10 CYCLE;\nSELECT setval('round', 10)"
    )
    said = diagnose(url)

    assert said.rules() == {"sequence"}
    assert said.rules(red=False) == {"sequence"}
    told = said.told("sequence")
    assert "t_id_seq" in told
    assert "t_small_seq" in told
    assert "wide" in told
    assert "round" not in told


def test_invalid_indexes_are_found(diagnose: Doctor, url: str, execute: Execute) -> None:
    execute("CREATE TABLE t (a int);\nINSERT INTO t VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute("CREATE UNIQUE INDEX CONCURRENTLY once ON t (a)")
    said = diagnose(url)

    assert said.rules() == {"invalid-index"}
    assert "public.once" in said.told("invalid-index")


def test_dead_rows_and_a_table_without_autovacuum_are_found(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    execute(
        "CREATE TABLE t (a int) WITH (autovacuum_enabled = false);\n"
        "INSERT INTO t SELECT generate_series(1, 5000);\nDELETE FROM t WHERE a > 100;\n"
        "SELECT pg_stat_force_next_flush()"
    )
    time.sleep(0.2)
    said = diagnose(url)

    assert said.rules(red=False) == {"dead-tuples", "autovacuum-off"}
    assert "public.t: 4,900 dead" in said.told("dead-tuples")


def test_bloat_is_found(diagnose: Doctor, url: str, execute: Execute) -> None:
    execute(
        "CREATE TABLE fat (a int, b text);\n"
        "INSERT INTO fat SELECT i, repeat('x', 800) FROM generate_series(1, 100000) i;\n"
        "DELETE FROM fat WHERE a % 20 > 0;\nVACUUM (ANALYZE) fat"
    )
    said = diagnose(url)

    assert "bloat" in said.rules(red=False)
    assert "public.fat" in said.told("bloat")


def test_settings_that_bite_are_named_with_where_they_are_set(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    name = url.rpartition("/")[2]
    execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    said = diagnose(url)

    assert said.rules() == {"setting"}
    assert "alter database NAME reset default_transaction_read_only" in said.told("setting")


def test_a_server_that_may_lose_data_is_red(diagnose: Doctor, postgres: ScratchServer) -> None:
    said = diagnose(postgres.url())

    assert said.rules() == {"setting"}
    assert "fsync is off" in said.told("setting")
    assert "autovacuum is off" in said.told("setting")


def test_a_role_that_may_see_little_says_what_it_does_not_know(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    execute(
        "CREATE ROLE plain LOGIN PASSWORD 'x';\n"
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY);\nSELECT nextval('t_id_seq');\n"
        "CREATE TABLE big AS SELECT repeat('x', 900) AS a FROM generate_series(1, 10000);\n"
        "ANALYZE big"
    )
    plain = f"postgresql://plain:x@{url.rpartition('@')[2]}"
    try:
        with session(url, "SELECT 1"):
            time.sleep(0.2)
            said = diagnose(plain, limits=SOON)
    finally:
        execute("DROP ROLE plain")

    assert said.exit == 3, said.text
    assert not said.rules()
    assert said.unknowns() == {"idle-in-transaction", "long-transaction", "sequence", "bloat"}
    assert "grant pg_monitor to plain" in said.told("idle-in-transaction")
