"""Restoring a whole database: beside the old one, compared, swapped; undone."""

from __future__ import annotations

from typing import Any

DAMAGE = "drop table public.notes cascade; delete from public.tenants where id = 3"


def test_a_lost_table_comes_back_and_the_old_database_is_kept(project: Any) -> None:
    before = project.content()
    backup = project.back_up()
    project.execute(DAMAGE)

    done = project.opsctl("restore", "db", backup, "--confirm", "test")

    assert (0, "ok") == (done.exit, done.json["status"]), done.stdout
    assert before == project.content()
    kept = [name for name in project.databases() if "_before_" in name]
    assert 1 == len(kept)
    assert [] == project.query("select 1 from pg_class where relname = 'notes'", database=kept[0])


def test_undo_puts_the_old_database_back_with_all_its_rows(project: Any) -> None:
    backup = project.back_up()
    project.execute("insert into public.tenants values (99, 'written since')")
    damaged = project.content()
    done = project.opsctl("restore", "db", backup, "--confirm", "test")
    assert damaged != project.content()

    undone = project.opsctl("runs", "undo", done.json["data"]["run"], "--yes")

    assert 0 == undone.exit, undone.stdout
    assert damaged == project.content()
    assert {project.database} == project.databases()


def test_a_fresh_backup_is_made_of_what_is_replaced(project: Any) -> None:
    backup = project.back_up()
    project.execute("insert into public.tenants values (99, 'written since')")
    project.opsctl("restore", "db", backup, "--confirm", "test")

    listed = project.opsctl("backup", "list").json["data"]["backups"]

    assert ["before a restore", ""] == [each["label"] for each in listed]
    assert listed[0]["rows"] == listed[1]["rows"] + 1


def test_the_same_backup_is_restored_again_and_again(project: Any) -> None:
    backup = project.back_up()
    for _ in range(3):
        project.execute(DAMAGE)
        done = project.opsctl("restore", "db", backup, "--confirm", "test")
        assert 0 == done.exit, done.stdout
        kept = [name for name in project.databases() if "_before_" in name]
        project.execute(f'drop database "{kept[0]}"', database="postgres")
        assert [(500,)] == project.query("select count(*) from public.notes")


def test_what_a_restore_put_aside_is_not_restored_by_itself(project: Any) -> None:
    backup = project.back_up()
    project.execute(DAMAGE)
    done = project.opsctl("restore", "db", "--confirm", "test")
    assert 0 == project.opsctl("runs", "undo", done.json["data"]["run"], "--yes").exit

    planned = project.opsctl("restore", "db", "--dry-run").json["data"]["plan"]

    assert 2 == len(project.opsctl("backup", "list").json["data"]["backups"])
    assert backup == planned["facts"]["backup"]


def test_yes_is_not_enough_to_replace_data(project: Any) -> None:
    backup = project.back_up()
    before = project.content()

    refused = project.opsctl("restore", "db", backup, "--yes")

    assert (5, "name-required") == (refused.exit, refused.json["error"]["code"])
    assert before == project.content()


def test_an_empty_database_is_restored_without_a_name_typed(project: Any) -> None:
    before = project.content()
    backup = project.back_up()
    project.execute("truncate public.tenants, public.notes")

    done = project.opsctl("restore", "db", backup, "--yes")

    assert 0 == done.exit, done.stdout
    assert before == project.content()


def test_a_database_that_was_dropped_comes_back(project: Any) -> None:
    before = project.content()
    backup = project.back_up()
    project.execute(f'drop database "{project.database}"', database="postgres")

    done = project.opsctl("restore", "db", backup, "--yes")

    assert 0 == done.exit, done.stdout
    assert before == project.content()
    undone = project.opsctl("runs", "undo", done.json["data"]["run"], "--yes")
    assert 0 == undone.exit, undone.stdout
    assert set() == project.databases()


def test_into_leaves_the_old_one_alone(project: Any) -> None:
    backup = project.back_up()
    project.execute("insert into public.tenants values (99, 'written since')")
    before = project.content()
    name = f"{project.database}_look"

    done = project.opsctl("restore", "db", backup, "--into", name, "--yes")

    assert 0 == done.exit, done.stdout
    assert before == project.content()
    assert [(3,)] == project.query("select count(*) from public.tenants", database=name)
    again = project.opsctl("restore", "db", backup, "--into", name, "--yes")
    assert (5, "database-exists") == (again.exit, again.json["error"]["code"])


def test_sessions_are_disconnected_and_none_is_lost_midway(project: Any) -> None:
    import psycopg

    backup = project.back_up()
    project.execute(DAMAGE)
    idle = psycopg.connect(project.url, autocommit=True, application_name="web")
    idle.execute("select 1")

    planned = project.opsctl("restore", "db", backup, "--dry-run")
    done = project.opsctl("restore", "db", backup, "--confirm", "test")

    assert "1 of web" in planned.stdout
    assert 0 == done.exit, done.stdout
    try:
        idle.execute("select 1")
        raise AssertionError("the session is still in the old database")
    except psycopg.OperationalError:
        idle.close()
    assert [(500,)] == project.query("select count(*) from public.notes")


def test_what_is_lost_is_shown_by_counts(project: Any) -> None:
    backup = project.back_up()
    project.execute(
        "insert into public.tenants select n, 'new' from generate_series(10, 19) n;"
        "create table public.later (id int); insert into public.later values (1), (2)"
    )

    plan = project.opsctl("restore", "db", backup, "--dry-run").json["data"]["plan"]

    assert [("rows", "public.tenants", 13, 10), ("table", "public.later", 2, 2)] == [
        (each["kind"], each["name"], each["rows"], each["values"]) for each in plan["losses"]
    ]


def test_two_dry_runs_have_the_same_hash_and_change_nothing(project: Any) -> None:
    backup = project.back_up()
    before = project.content()

    one, other = (project.opsctl("restore", "db", backup, "--dry-run").json for _ in range(2))

    assert one["data"]["plan_hash"] == other["data"]["plan_hash"]
    assert before == project.content()
    assert {project.database} == project.databases()


def test_a_damaged_backup_is_refused_before_anything_is_planned(project: Any) -> None:
    backup = project.back_up()
    before = project.content()
    file = next((project.root / ".opsctl/backups/test" / backup / "data").glob("*.dat*"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    refused = project.opsctl("restore", "db", backup, "--confirm", "test")

    assert (1, "backup-damaged") == (refused.exit, refused.json["error"]["code"])
    assert before == project.content()
    assert {project.database} == project.databases()


def test_database_settings_and_rights_come_back(project: Any) -> None:
    name = project.database
    project.execute(
        f"alter database \"{name}\" set work_mem = '8MB';"
        f'alter database "{name}" set search_path = public, extensions;'
        f"alter role anon in database \"{name}\" set statement_timeout = '3s';"
        f'revoke connect on database "{name}" from public;'
        f'grant connect on database "{name}" to anon with grant option;'
        f'alter database "{name}" connection limit 40'
    )
    about = (
        "select (select array_agg(x order by x::text) from unnest(datacl) x)::text, datconnlimit, "
        "(select array_agg(c order by c) from pg_db_role_setting s, unnest(s.setconfig) c "
        "where s.setdatabase = d.oid) from pg_database d where datname = current_database()"
    )
    before = project.query(about)
    backup = project.back_up()

    done = project.opsctl("restore", "db", backup, "--confirm", "test")

    assert 0 == done.exit, done.stdout
    assert before == project.query(about)


def test_a_kept_database_is_dropped_by_name_and_nothing_else_is(project: Any) -> None:
    backup = project.back_up()
    done = project.opsctl("restore", "db", backup, "--confirm", "test")
    kept = next(name for name in project.databases() if "_before_" in name)

    wrong = project.opsctl("restore", "drop", project.database, "--confirm", "test")
    right = project.opsctl("restore", "drop", kept, "--confirm", "test")

    assert (5, "not-a-kept-database") == (wrong.exit, wrong.json["error"]["code"])
    assert 0 == right.exit, right.stdout
    assert {project.database} == project.databases()
    undo = project.opsctl("runs", "undo", done.json["data"]["run"], "--yes")
    assert 0 != undo.exit
    assert [(500,)] == project.query("select count(*) from public.notes")
