"""What is offered is safe: it hits whom it names and nobody else, is verified, and undone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from opsctl.adapters.vitals import Vitals, read_vitals
from opsctl.areas.diagnose.plan import Choices, fix_plan
from opsctl.cli.root import run
from opsctl.core.plan import Irreversible, Plan, plan_from_json
from opsctl.core.settings import Database, Limits
from opsctl.engine.perform import ask, perform

from .conftest import Doctor, in_the_background, session, signed_in_to

Execute = Callable[[str], None]
SOON = {"blocked_s": 0.1, "idle_in_transaction_s": 0.1, "transaction_s": 600}


def vitals_of(url: str) -> Vitals:
    signed_in = signed_in_to(url)
    assert signed_in.wire is not None
    try:
        return read_vitals(signed_in.wire, major=signed_in.major)
    finally:
        signed_in.wire.close()


def plan_of(url: str, monkeypatch: pytest.MonkeyPatch, *only: str) -> Plan:
    """Return the plan of now, with short limits."""
    monkeypatch.setenv("T_DATABASE", url)
    choices = Choices(
        "production", False, Database(url="env:T_DATABASE"), Limits(**SOON), tuple(only)
    )
    return fix_plan(vitals_of(url), choices)


def one(url: str, question: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    return row[0] if row else None


def test_the_culprit_is_ended_given_a_time_out_and_the_time_out_is_undone(
    diagnose: Doctor, url: str, execute: Execute, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(
        "CREATE TABLE t (a int);\nCREATE ROLE worker LOGIN PASSWORD 'x';\nGRANT ALL ON t TO worker"
    )
    execute("ALTER SYSTEM RESET ALL;\nALTER DATABASE " + url.rpartition("/")[2]
            + " SET idle_in_transaction_session_timeout = 0")  # fmt: skip
    worker = f"postgresql://worker:x@{url.rpartition('@')[2]}"
    with session(worker, "LOCK TABLE t") as culprit, in_the_background(url, "TABLE t"):
        time.sleep(0.3)
        planned = diagnose(url, "db", "--fix", "--dry-run", limits=SOON)
        assert planned.exit == 0
        assert not culprit.closed

        done = diagnose(url, "db", "--fix", "--yes", limits=SOON)

        assert done.exit == 0, done.text
        assert [each["status"] for each in done.document["findings"]] == ["ok", "ok"]
        with pytest.raises(psycopg.OperationalError):
            culprit.execute("SELECT 1")
    assert "blocked" not in diagnose(url, limits=SOON).rules()
    with psycopg.connect(worker) as fresh:
        row = fresh.execute("SHOW idle_in_transaction_session_timeout").fetchone()
        assert row == ("100ms",)

    assert run(["runs", "undo", done.document["data"]["run"], "--yes"]) == 0
    with psycopg.connect(worker) as fresh:
        assert fresh.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("0",)
    capsys.readouterr()
    execute("DROP OWNED BY worker;\nDROP ROLE worker")


def test_another_transaction_of_the_same_session_is_not_hit(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session(url, "SELECT 1") as connection:
        time.sleep(0.2)
        plan = plan_of(url, monkeypatch, "idle-in-transaction")
        connection.rollback()
        connection.execute("SELECT 2")
        step = next(each for each in plan.steps if each.id.startswith("end-"))
        assert step.action is not None
        assert step.check is not None

        assert ask(step.check, once=True)[0] == "applied"
        perform(step.action, waiting=lambda line: None)

        assert connection.execute("SELECT 3").fetchone() == (3,)


def test_another_session_that_got_the_number_is_not_hit(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the culprit had ended and its number had been given to this session."""
    with session(url, "SELECT 1") as connection:
        time.sleep(0.2)
        vitals = vitals_of(url)
        row = dict(vitals.rows("transactions")[0])
        row["backend_start"] = "2020-01-01 00:00:00+00"
        answers = {
            **vitals.answers,
            "transactions": replace(vitals.answers["transactions"], rows=(row,)),
        }
        monkeypatch.setenv("T_DATABASE", url)
        choices = Choices("production", False, Database(url="env:T_DATABASE"), Limits(**SOON))
        plan = fix_plan(replace(vitals, answers=answers), choices)
        assert row["pid"] == connection.info.backend_pid
        for step in plan.steps:
            if step.action is not None and step.id.startswith("end-"):
                perform(step.action, waiting=lambda line: None)

        assert connection.execute("SELECT 3").fetchone() == (3,)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"kind": "autovacuum worker"}, "the server's own"), ({"kind": "walsender"}, "own"),
     ({"xact_start": None}, "is hidden"), ({"application": "pg_restore"}, "looks like a backup")],
)  # fmt: skip
def test_who_is_left_alone_and_why(
    url: str, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], why: str
) -> None:
    with session(url, "SELECT 1"):
        time.sleep(0.2)
        vitals = vitals_of(url)
    row = {**vitals.rows("transactions")[0], **change}
    answers = {
        **vitals.answers,
        "transactions": replace(vitals.answers["transactions"], rows=(row,)),
    }
    monkeypatch.setenv("T_DATABASE", url)
    choices = Choices("production", False, Database(url="env:T_DATABASE"), Limits(**SOON))
    plan = fix_plan(replace(vitals, answers=answers), choices)

    assert plan.steps == ()
    assert any(each.startswith("Left alone") and why in each for each in plan.notes)


def test_a_long_statement_is_cancelled_and_its_session_lives(diagnose: Doctor, url: str) -> None:
    with in_the_background(url, "SELECT pg_sleep(60)", "slow") as _:
        time.sleep(0.2)
        limits = {**SOON, "transaction_s": 0.1}
        done = diagnose(url, "db", "--fix", "--only", "long-transaction", "--yes", limits=limits)

        assert done.exit == 0, done.text
        assert "Cancel the statement" in done.document["findings"][0]["title"]
        live = one(url, "SELECT state FROM pg_stat_activity WHERE application_name = 'slow'")
        assert live == "idle"


def test_a_backup_is_left_alone(diagnose: Doctor, url: str) -> None:
    with psycopg.connect(url, application_name="pg_dump") as backup:
        backup.execute("SELECT 1")
        time.sleep(0.2)
        said = diagnose(url, "db", "--fix", "--only", "idle-in-transaction", "--yes", limits=SOON)

        assert said.exit == 1
        assert "it looks like a backup" in said.text
        assert backup.execute("SELECT 1").fetchone() == (1,)


def test_an_invalid_index_is_built_anew_and_a_leftover_dropped(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    execute("CREATE TABLE t (a int);\nINSERT INTO t VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute('CREATE UNIQUE INDEX CONCURRENTLY "Once ""quoted""" ON t (a)')
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute('REINDEX INDEX CONCURRENTLY "Once ""quoted"""')
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert one(url, invalid) == 2
    execute("DELETE FROM t WHERE ctid = '(0,1)'")

    done = diagnose(url, "db", "--fix", "--only", "invalid-index", "--yes")

    assert done.exit == 0, done.text
    assert one(url, invalid) == 0
    assert one(url, "SELECT count(*) FROM pg_indexes WHERE tablename = 't'") == 1


def test_an_index_is_built_anew_beside_a_transaction_that_takes_its_time(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    """It waits for it; were it to give up, another invalid index would be left behind."""
    execute("CREATE TABLE t (a int);\nINSERT INTO t VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute("CREATE UNIQUE INDEX CONCURRENTLY once ON t (a)")
    execute("DELETE FROM t WHERE ctid = '(0,1)'")
    with session(url, "INSERT INTO t VALUES (2)") as slow:
        ended = threading.Timer(4.0, slow.commit)
        ended.start()
        words = ("db", "--fix", "--only", "invalid-index", "--yes")
        done = diagnose(url, *words, database={"lock_timeout_s": 0.5})
        ended.join()

    assert done.exit == 0, done.text
    assert one(url, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


def test_an_index_whose_values_are_not_unique_stays_and_the_run_says_so(
    diagnose: Doctor, url: str, execute: Execute
) -> None:
    execute("CREATE TABLE t (a int);\nINSERT INTO t VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute("CREATE UNIQUE INDEX CONCURRENTLY once ON t (a)")

    done = diagnose(url, "db", "--fix", "--only", "invalid-index", "--yes")

    assert done.exit == 3, done.text
    assert "23505" in done.text


def test_vacuum_clears_dead_rows_away(diagnose: Doctor, url: str, execute: Execute) -> None:
    execute(
        "CREATE TABLE t (a int) WITH (autovacuum_enabled = false);\n"
        "INSERT INTO t SELECT generate_series(1, 5000);\nDELETE FROM t WHERE a > 100;\n"
        "SELECT pg_stat_force_next_flush()"
    )
    time.sleep(0.2)
    done = diagnose(url, "db", "--fix", "--only", "dead-tuples", "--yes")

    assert done.exit == 0, done.text
    assert one(url, "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 't'") == 0
    assert "dead-tuples" not in diagnose(url).rules(red=False)


def test_what_cannot_be_undone_on_a_protected_environment_needs_its_name(
    diagnose: Doctor, url: str
) -> None:
    with session(url, "SELECT 1") as idle:
        time.sleep(0.2)
        words = ("db", "--fix", "--only", "idle-in-transaction")
        refused = diagnose(url, *words, "--yes", limits=SOON, protected=True)
        assert refused.exit == 5
        assert idle.execute("SELECT 1").fetchone() == (1,)
        time.sleep(0.2)
        done = diagnose(url, *words, "--confirm", "production", limits=SOON, protected=True)

        assert done.exit == 0, done.text


def test_where_nothing_can_be_mended_the_report_stands(diagnose: Doctor, url: str) -> None:
    well = diagnose(url, "db", "--fix", "--yes")
    ill = diagnose(url, "db", "--fix", "--yes", limits={"database_size_gb": 0.001})
    nowhere = diagnose("postgresql://a@127.0.0.1:1/x", "db", "--fix", "--yes")

    assert (well.exit, ill.exit, nowhere.exit) == (0, 1, 1)
    assert ill.rules() == {"database-size"}


@pytest.mark.parametrize("words", [("--fix", "--only", "tcp"), ("--only", "blocked")])
def test_what_makes_no_sense_is_refused(diagnose: Doctor, url: str, words: tuple[str, ...]) -> None:
    said = diagnose(url, "db", *words)

    assert said.exit == 2
    assert said.document["error"]["code"] == "not-fixable"


def test_the_plan_survives_the_journal_and_says_what_cannot_be_undone(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opsctl.core.plan import plan_to_json

    with session(url, "SELECT 1"):
        time.sleep(0.2)
        plan = plan_of(url, monkeypatch)

    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan
    ended = [each for each in plan.steps if each.id.startswith("end-")]
    assert ended
    assert all(isinstance(each.undo, Irreversible) for each in ended)
