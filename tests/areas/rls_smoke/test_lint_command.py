"""`opsctl rls-smoke lint` through the front door, and beside locks and load."""
# ruff: noqa: E501 - SQL

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from opsctl.adapters import postgres as database
from opsctl.adapters.scratch import scratch_server
from opsctl.areas.rls_smoke.lint_read import read_catalog
from opsctl.areas.rls_smoke.lint_rules import RULES
from opsctl.areas.rls_smoke.lints import judge_catalog, lint
from opsctl.core.report import Status

from .lint_schemas import OWN, OWN_READ, TEAMS

HOLE = "create policy w on public.notes for delete to authenticated using (true);"
NAMED = 'create policy "it\'s ""odd"" %s" on public.notes for update to authenticated using (true);'


def opsctl(root: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    (root / "opsctl.yaml").write_text(
        "environments:\n  test:\n    database:\n      url: env:T_DATABASE_URL\n"
    )
    argv = [sys.executable, "-m", "opsctl", "rls-smoke", "lint", *words]
    return subprocess.run(
        argv, cwd=root, capture_output=True, text=True, check=False,
        env={**os.environ, "T_DATABASE_URL": url},
    )  # fmt: skip


def prepare(url: str, *scripts: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for script in scripts:
            connection.execute(script.encode())


def test_a_hole_is_exit_1_and_its_mend_makes_it_0(
    supabase_database_url: str, tmp_path: Path
) -> None:
    prepare(supabase_database_url, OWN, OWN_READ, NAMED)
    hole = opsctl(tmp_path, supabase_database_url, "--format", "json")
    document = json.loads(hole.stdout)
    wrong = [each for each in document["data"]["lints"] if each["severity"] == "error"]
    prepare(supabase_database_url, *(s for each in wrong for s in each["mend"]))
    mended = opsctl(tmp_path, supabase_database_url, "--format", "json")

    assert 1 == hole.returncode
    assert [("rls-policy-always-true", "public.notes", "security")] == [
        (each["rule"], each["object"], each["kind"]) for each in wrong
    ]
    assert 'it\'s "odd" %s' in hole.stdout.replace('\\"', '"')
    assert 0 == mended.returncode, mended.stdout
    assert set(RULES) == set(document["data"]["rules"])


@pytest.mark.parametrize("format_", ["text", "junit", "github", "markdown", "sarif"])
def test_every_format_says_it(supabase_database_url: str, tmp_path: Path, format_: str) -> None:
    prepare(supabase_database_url, OWN, OWN_READ, HOLE)
    done = opsctl(tmp_path, supabase_database_url, "--format", format_)

    assert 1 == done.returncode, done.stderr
    assert "public.notes" in done.stdout
    if format_ == "sarif":
        run = json.loads(done.stdout)["runs"][0]
        rules = {
            rule["id"]: rule["fullDescription"]["text"] for rule in run["tool"]["driver"]["rules"]
        }
        assert RULES["rls-policy-always-true"] == rules["rls-policy-always-true"]
    if format_ == "junit":
        suite = ET.fromstring(done.stdout)
        assert "1" == (suite.get("failures") or suite.find("testsuite").get("failures"))


def test_what_is_meant_is_a_note(supabase_database_url: str, tmp_path: Path) -> None:
    prepare(supabase_database_url, OWN, OWN_READ, HOLE)

    def accepting(*meant: str) -> subprocess.CompletedProcess[str]:
        lines = "".join(f"        - {each}\n" for each in meant)
        (tmp_path / "accepting.yaml").write_text(
            "environments:\n  test:\n    database:\n      url: env:T_DATABASE_URL\n"
            f"    rls:\n      accept:\n{lines}"
        )
        return opsctl(
            tmp_path, supabase_database_url, "--config", "accepting.yaml", "--format", "json"
        )

    meant = accepting("rls-policy-always-true public.notes", "no-primary-key public.gone")
    typo = accepting("rls-policy-allways-true public.notes")
    document = json.loads(meant.stdout)

    assert 0 == meant.returncode, meant.stdout
    assert {"note"} == {
        e["severity"] for e in document["findings"] if e["rule"] == "rls-policy-always-true"
    }
    assert 2 == typo.returncode
    error = json.loads(typo.stdout)["error"]
    assert ("unknown-lint", "did you mean rls-policy-always-true?") == (
        error["code"],
        error["hint"],
    )


def test_only_one_half(supabase_database_url: str, tmp_path: Path) -> None:
    prepare(supabase_database_url, "create table public.t (a int);")
    for half, rule in (("security", "rls-disabled-in-public"), ("performance", "no-primary-key")):
        done = opsctl(tmp_path, supabase_database_url, "--only", half, "--format", "json")
        lints = json.loads(done.stdout)["data"]["lints"]

        assert {half} == {each["kind"] for each in lints}
        assert rule in {each["rule"] for each in lints}


def test_a_database_without_the_roles_is_unknown(tmp_path: Path) -> None:
    with scratch_server() as server:
        done = opsctl(tmp_path, server.url("postgres"), "--format", "json")

    assert 3 == done.returncode
    assert "no-api-roles" == json.loads(done.stdout)["error"]["code"]


def test_a_role_without_privileges_sees_the_same(supabase_database_url: str) -> None:
    """Whoever may connect may read the catalog; only the list of buckets is missing then."""
    prepare(
        supabase_database_url, TEAMS, OWN, OWN_READ, HOLE,
        "create view public.people as select id, email from auth.users;"
        "insert into storage.buckets (id, name, public) values ('a', 'a', true);"
        "create function public.f() returns void language sql security definer as 'delete from public.notes';",
    )  # fmt: skip
    found = []
    with database.connect(supabase_database_url, read_only=False) as connection:
        for role in ("postgres", "supabase_admin"):
            connection.execute(f"SET ROLE {role}".encode())
            hits = lint(connection, schemas=("public",))
            found.append({(h.rule, h.object, h.severity) for h in hits})

    assert {("storage-bucket-public", "storage.buckets")} == {h[:2] for h in found[0] - found[1]}
    assert found[1] <= found[0]


def test_an_exclusive_lock_is_not_waited_for(supabase_database_url: str) -> None:
    """The trees are read anyway; only the text of the mend is missing."""
    prepare(supabase_database_url, TEAMS, OWN, OWN_READ, HOLE)
    prepare(
        supabase_database_url,
        "create policy r on public.documents for select to authenticated using "
        "(exists (select 1 from public.members m where m.user_id = auth.uid() and m.team_id = documents.team_id));",
    )
    with psycopg.connect(supabase_database_url) as holder:
        holder.execute(
            "LOCK public.members, public.notes, public.documents IN ACCESS EXCLUSIVE MODE"
        )
        with database.connect(supabase_database_url) as connection:
            began = connection.execute("SELECT clock_timestamp()").fetchone()
            hits = lint(connection, schemas=("public",))
            took = connection.execute(
                "SELECT extract(epoch FROM clock_timestamp() - %s)", (began[0],)
            ).fetchone()
        holder.rollback()
    rules = {hit.rule for hit in hits}

    assert {"rls-policy-always-true", "auth-rls-initplan"} <= rules
    assert took[0] < 10


def test_no_lock_stronger_than_access_share_is_taken(supabase_database_url: str) -> None:
    prepare(supabase_database_url, *(OWN, OWN_READ, HOLE, TEAMS))
    modes: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        with psycopg.connect(supabase_database_url, autocommit=True) as watcher:
            while not stop.is_set():
                rows = watcher.execute(
                    "SELECT l.mode FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                    "JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace "
                    "WHERE a.application_name = 'opsctl' AND n.nspname <> 'pg_catalog'"
                ).fetchall()
                modes.update(row[0] for row in rows)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(5):
            with database.connect(supabase_database_url) as connection:
                lint(connection, schemas=("public",))
    finally:
        stop.set()
        thread.join()

    assert modes <= {"AccessShareLock"}


def test_indexes_are_unused_only_after_long_statistics(supabase_database_url: str) -> None:
    prepare(
        supabase_database_url,
        "create schema private; create table private.t (id bigint primary key, a bigint, b bigint unique);"
        "create index t_a on private.t (a);",
    )
    with database.connect(supabase_database_url) as connection:
        young = read_catalog(connection, schemas=("public",))
    table = young.by_name["private.t"]
    old = replace(
        young,
        stats_age_s=30 * 86400,
        relations={**young.relations, table.oid: replace(table, scans=5000)},
    )

    def unused(catalog: object) -> list[tuple[str, Status]]:
        return [(h.object, h.status) for h in judge_catalog(catalog) if h.rule == "unused-index"]

    assert [("statistics", Status.UNKNOWN)] == unused(young)
    assert [("private.t_a", Status.FAILED)] == unused(old)


def test_bloat_is_measured_by_the_width_of_rows(supabase_database_url: str) -> None:
    with psycopg.connect(supabase_database_url, autocommit=True) as connection:
        connection.execute(
            "create schema private; create table private.t (id bigint primary key, body text) "
            "with (autovacuum_enabled = off); create table private.full_t (like private.t including all)"
        )
        for table in ("t", "full_t"):
            connection.execute(
                f"insert into private.{table} select n, repeat('x', 200) from generate_series(1, 150000) n"
            )
        connection.execute("delete from private.t where id > 20000")
        connection.execute("analyze private.t, private.full_t")

        def bloated() -> list[str]:
            with database.connect(supabase_database_url) as own:
                hits = lint(own, schemas=("public",))
            mends.extend(s for hit in hits if hit.rule == "table-bloat" for s in hit.mend)
            return [hit.object for hit in hits if hit.rule == "table-bloat"]

        mends: list[str] = []
        assert ["private.t"] == bloated()
        for statement in mends:
            connection.execute(statement.encode())
        assert [] == bloated()


def test_an_expression_that_cannot_be_read_is_unknown(supabase_database_url: str) -> None:
    prepare(supabase_database_url, OWN, OWN_READ)
    with database.connect(supabase_database_url) as connection:
        catalog = read_catalog(connection, schemas=("public",))
    (oid, policies), *_ = catalog.policies.items()
    torn = replace(
        catalog, policies={oid: tuple(replace(p, using="{OPEXPR :args (") for p in policies)}
    )

    assert [Status.UNKNOWN] == [
        hit.status for hit in judge_catalog(torn) if hit.rule == "policy-not-understood"
    ]
