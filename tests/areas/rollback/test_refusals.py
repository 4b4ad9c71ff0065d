"""When a rollback must not begin, or must not go on; nothing is changed then."""

from __future__ import annotations

import threading
from typing import Any

import psycopg

UP = "alter table public.notes add column stars int"
VERSION = "20260202000000"


def test_a_drifted_schema_is_refused_with_the_difference(project: Any) -> None:
    project.migrate(VERSION, UP)
    project.execute("alter table public.tenants add column by_hand text")
    before = project.content()

    refused = project.opsctl("rollback", "db", "--yes", "--format", "json")

    assert refused.exit == 5
    assert refused.json["error"]["code"] == "drift"
    assert "public.tenants.by_hand" in refused.json["error"]["why"]
    assert before == project.content()


def test_drift_that_is_accepted_stays_as_it_is(project: Any) -> None:
    before = project.content()
    project.migrate(VERSION, UP)
    project.execute("create table public.by_hand (id int primary key)")

    rolled = project.opsctl("rollback", "db", "--yes", "--accept-drift", "--format", "json")

    assert rolled.exit == 0, rolled.stdout
    after = project.content()
    assert "public.by_hand" in after.tables
    assert before.columns.keys() == {c for c in after.columns if "by_hand" not in c}


def test_an_edited_migration_is_refused(project: Any) -> None:
    project.migrate(VERSION, UP)
    path = project.root / "supabase" / "migrations" / f"{VERSION}_m0000.sql"
    path.write_text(UP.replace("stars", "points"))

    refused = project.opsctl("rollback", "db", "--yes", "--format", "json")

    assert refused.exit == 5
    assert refused.json["error"]["code"] == "migration-edited"


def test_a_migration_without_its_file_is_replayed_from_the_history(project: Any) -> None:
    before = project.content()
    project.migrate(VERSION, UP)
    (project.root / "supabase" / "migrations" / f"{VERSION}_m0000.sql").unlink()

    rolled = project.opsctl("rollback", "db", "--yes", "--format", "json")

    assert rolled.exit == 0, rolled.stdout
    assert before.digest == project.content().digest


def test_an_already_rolled_back_migration_is_not_found_again(project: Any) -> None:
    project.migrate(VERSION, UP)
    assert project.opsctl("rollback", "db", "--yes", "--format", "json").exit == 0

    again = project.opsctl("rollback", "db", "--to", VERSION, "--format", "json")

    assert again.exit == 2
    assert again.json["error"]["code"] == "no-such-target"


def test_several_steps_and_a_target_by_name(project: Any) -> None:
    before = project.content()
    project.migrate(VERSION, UP)
    one = project.content()
    project.migrate("20260203000000", "create index notes_stars on public.notes (stars)")
    project.migrate("20260204000000", "create table public.extra (id int primary key)")

    to_name = project.opsctl("rollback", "db", "--to", VERSION, "--yes", "--format", "json")
    assert to_name.exit == 0, to_name.stdout
    assert one.digest == project.content().digest
    undone = project.opsctl("runs", "undo", to_name.json["data"]["run"], "--yes")
    assert undone.exit == 0, undone.stdout
    all_three = project.opsctl("rollback", "db", "--steps", "3", "--yes", "--format", "json")

    assert all_three.exit == 0, all_three.stdout
    assert before.digest == project.content().digest
    too_many = project.opsctl("rollback", "db", "--steps", "9", "--format", "json")
    assert too_many.json["error"]["code"] == "too-many-steps"


def test_down_sql_that_misses_the_target_is_refused_with_the_difference(project: Any) -> None:
    project.migrate(VERSION, UP + "; create index notes_stars on public.notes (stars)",
                    down="drop index public.notes_stars")  # fmt: skip
    before = project.content()

    refused = project.opsctl("rollback", "db", "--yes", "--format", "json")

    assert refused.exit == 5
    assert refused.json["error"]["code"] == "down-sql-wrong"
    assert "public.notes.stars" in refused.json["error"]["why"]
    assert before == project.content()


def test_a_dropped_column_without_a_down_file_is_asked_for(project: Any) -> None:
    project.migrate(VERSION, "alter table public.notes drop column body")

    refused = project.opsctl("rollback", "db", "--yes", "--format", "json")

    assert refused.exit == 3
    assert refused.json["error"]["code"] == "no-down-sql"
    assert f"{VERSION}_m0000.down.sql" in refused.json["error"]["hint"]


def test_a_lock_held_by_another_session_stops_before_anything_changed(project: Any) -> None:
    project.migrate(VERSION, UP)
    before = project.content()
    with psycopg.connect(project.url) as other:
        other.execute("lock table public.notes in access share mode")

        stopped = project.opsctl("rollback", "db", "--yes", "--format", "json")

    assert stopped.exit == 3, stopped.stdout
    assert "lock" in stopped.json["error"]["why"]
    assert before == project.content()


def test_a_lock_that_is_freed_in_time_is_waited_for(project: Any) -> None:
    before = project.content()
    project.migrate(VERSION, UP)
    other = psycopg.connect(project.url)
    holder = threading.Event()

    def hold() -> None:
        other.execute("lock table public.notes in access share mode")
        holder.set()

    plan = project.opsctl("rollback", "db", "--dry-run", "--format", "json")
    assert plan.exit == 0
    hold()
    threading.Timer(4.0, other.rollback).start()
    settings = (project.root / "opsctl.yaml").read_text()
    (project.root / "opsctl.yaml").write_text(settings.replace("attempts: 2", "attempts: 8"))

    rolled = project.opsctl("rollback", "db", "--yes", "--format", "json")

    other.close()
    assert rolled.exit == 0, rolled.stdout
    assert before.digest == project.content().digest


def test_a_dry_run_changes_nothing_and_has_the_hash_of_the_real_run(project: Any) -> None:
    project.migrate(VERSION, UP)
    before = project.content()

    dry = project.opsctl("rollback", "db", "--dry-run", "--format", "json")

    assert dry.exit == 0
    assert before == project.content()
    assert not (project.root / ".opsctl").exists()
    real = project.opsctl("rollback", "db", "--yes", "--format", "json")
    assert dry.json["data"]["plan_hash"] == real.json["data"]["plan_hash"]


def test_without_a_terminal_nobody_is_asked(project: Any) -> None:
    project.migrate(VERSION, UP)

    refused = project.opsctl("rollback", "db", "--format", "json")

    assert refused.exit == 5
    assert refused.json["error"]["code"] == "not-confirmed"


def test_a_table_without_a_key_keeps_its_stash_after_the_undo(project: Any) -> None:
    project.migrate(VERSION, "alter table public.logs add column level text")
    project.execute("update public.logs set level = 'info'")
    rolled = project.opsctl("rollback", "db", "--yes", "--format", "json")
    loss = next(each for each in rolled.json["data"]["losses"] if each["kind"] == "column")
    assert "no primary key" in loss["kept"]

    undone = project.opsctl("runs", "undo", rolled.json["data"]["run"], "--yes")

    assert undone.exit == 0, undone.stdout
    stashes = project.opsctl("rollback", "stash", "list", "--format", "json").json["data"][
        "stashes"
    ]
    assert [f"opsctl_stash_{VERSION}_1"] == [each["stash"] for each in stashes]
    assert [(50,)] == project.query(f"select count(level) from opsctl_stash_{VERSION}_1.values_0")


def test_rows_changed_since_the_rollback_survive_the_undo(project: Any) -> None:
    project.migrate(VERSION, "update public.tenants set name = upper(name)",
                    down="update public.tenants set name = lower(name)")  # fmt: skip
    rolled = project.opsctl("rollback", "db", "--yes", "--format", "json")
    assert rolled.exit == 0, rolled.stdout
    project.execute("update public.tenants set name = 'changed since' where id = 2")

    undone = project.opsctl("runs", "undo", rolled.json["data"]["run"], "--yes")

    assert undone.exit == 0, undone.stdout
    assert [("TENANT 1",), ("changed since",), ("TENANT 3",)] == project.query(
        "select name from public.tenants order by id"
    )


def test_a_dropped_stash_cannot_be_undone_and_dropping_it_wants_the_name(project: Any) -> None:
    project.settings("    protected: true\n")
    project.migrate(VERSION, UP)
    rolled = project.opsctl("rollback", "db", "--yes", "--format", "json")
    assert rolled.exit == 0, rolled.stdout
    name = f"opsctl_stash_{VERSION}_1"

    by_yes = project.opsctl("rollback", "stash", "drop", name, "--yes", "--format", "json")
    assert by_yes.exit == 5
    assert by_yes.json["error"]["code"] == "name-required"
    wrong = project.opsctl("rollback", "stash", "drop", name, "--confirm", "tset")
    assert wrong.exit == 5
    by_name = project.opsctl("rollback", "stash", "drop", name, "--confirm", "test")
    assert by_name.exit == 0, by_name.stdout
    undone = project.opsctl(
        "runs", "undo", rolled.json["data"]["run"], "--yes", "--confirm", "test", "--format", "json"
    )

    assert undone.exit == 5, undone.stdout
    assert "stash was dropped" in undone.stdout


def test_rolling_back_again_after_an_undo_works(project: Any) -> None:
    before = project.content()
    project.migrate(VERSION, UP)
    for _ in range(2):
        rolled = project.opsctl("rollback", "db", "--yes", "--format", "json")
        assert rolled.exit == 0, rolled.stdout
        assert before.digest == project.content().digest
        run = rolled.json["data"]["run"]
        assert project.opsctl("runs", "undo", run, "--yes").exit == 0

    again = project.opsctl("runs", "undo", run, "--yes", "--format", "json")

    assert again.json["error"]["code"] == "already-undone"


HALF = (
    "create table public.half (id int primary key);\n"
    "alter table public.notes add column half_id int references public.half (id);\n"
    "create index notes_half on public.notes (half_id);\n"
)


def _fail_half_way(project: Any, *, statements: int) -> None:
    """Leave what prisma leaves when the statement after `statements` fails."""
    project.migrate("20260202000000", "select 1", tools="prisma")
    folder = project.root / "prisma" / "migrations"
    name = "20260303000000_half"
    (folder / name).mkdir()
    (folder / name / "migration.sql").write_text(HALF)
    for statement in HALF.split(";\n")[:statements]:
        project.execute(statement)
    project.execute(
        "insert into public._prisma_migrations (id, checksum, migration_name, logs) values "
        f"('half', 'x', '{name}', 'it failed')"
    )


def test_a_half_failed_migration_says_what_took_effect(project: Any) -> None:
    _fail_half_way(project, statements=2)

    asked = project.opsctl("rollback", "db", "--yes", "--format", "json")

    assert asked.exit == 5
    assert asked.json["error"]["code"] == "half-failed"
    lines = asked.json["error"]["why"].splitlines()
    assert ["took effect", "took effect", "did not take effect"] == [
        line.partition(". ")[2].partition(":")[0] for line in lines
    ]


def test_a_half_failed_migration_can_be_cleaned_up_and_that_undone(project: Any) -> None:
    clean = project.content().digest
    _fail_half_way(project, statements=2)
    project.execute("insert into public.half values (7); update public.notes set half_id = 7")
    half = project.content()

    cleaned = project.opsctl(
        "rollback", "db", "--half-failed", "clean-up", "--yes", "--format", "json"
    )

    assert cleaned.exit == 0, cleaned.stdout
    after = project.content()
    assert clean == after.digest
    assert [(0,)] == project.query(
        "select count(*) from public._prisma_migrations where finished_at is null"
    )
    assert project.opsctl("runs", "undo", cleaned.json["data"]["run"], "--yes").exit == 0
    again = project.content()
    assert (half.digest, half.tables) == (again.digest, again.tables)


def test_a_half_failed_migration_can_be_finished(project: Any) -> None:
    _fail_half_way(project, statements=1)

    finished = project.opsctl(
        "rollback", "db", "--half-failed", "finish", "--yes", "--format", "json"
    )

    assert finished.exit == 0, finished.stdout
    assert [(1,)] == project.query("select count(*) from pg_indexes where indexname = 'notes_half'")
    status = project.opsctl("rollback", "status", "--format", "json")
    states = {each["version"]: each["state"] for each in status.json["data"]["migrations"]}
    assert states["20260303000000_half"] in ("applied", "edited")
