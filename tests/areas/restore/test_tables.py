"""Restoring the rows of tables: counted, refused where a key forbids it, undone byte for byte."""
# ruff: noqa: E501 - SQL

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MORE = """
create table public.lines (note bigint references public.notes (id), at int, body jsonb, raw json,
  twice int generated always as (at * 2) stored, primary key (note, at));
insert into public.lines (note, at, body, raw) select n, n % 3, jsonb_build_object('n', n), '{"a":  1}'
  from generate_series(1, 100) n;
create table public.bag (a int, b text, p point);
insert into public.bag values (1, 'x', '(1,2)'), (1, 'x', '(1,2)'), (2, null, null);
create table public.tree (id int primary key, up int references public.tree);
insert into public.tree values (1, null), (2, 1), (3, 2);
create table public.parts (id int, at date, primary key (id, at)) partition by range (at);
create table public.parts_1 partition of public.parts for values from ('2026-01-01') to ('2026-06-01');
create table public.parts_2 partition of public.parts for values from ('2026-06-01') to ('2027-01-01');
insert into public.parts select n, '2026-01-01'::date + n from generate_series(1, 300) n;
create table public."Odd ""One" ("the Key" text primary key, "a,b" bytea);
insert into public."Odd ""One" values ('k', '\\x00ff'), ('l', null);
create function public.never() returns trigger language plpgsql as
  $$ begin raise exception 'the trigger fired'; end $$;
"""

SPOIL = {
    "public.tenants": "update public.tenants set name = 'spoiled' where id = 2;"
    "insert into public.tenants values (77, 'later')",
    "public.lines": "delete from public.lines where at = 1; update public.lines set body = '{}' "
    "where at = 2; insert into public.lines (note, at) values (400, 9)",
    "public.bag": "delete from public.bag where ctid = (select min(ctid) from public.bag);"
    "insert into public.bag values (2, null, null), (3, 'new', null)",
    "public.tree": "update public.tree set up = null; delete from public.tree where id = 2;"
    "insert into public.tree values (9, 3)",
    "public.parts": "delete from public.parts where id % 3 = 0; insert into public.parts "
    "values (1000, '2026-12-01')",
    'public."Odd ""One"': 'update public."Odd ""One" set "a,b" = null; insert into '
    "public.\"Odd \"\"One\" values ('later', '')",
}


@pytest.fixture
def tables(project: Any) -> Any:
    """The project with tables of every kind, backed up."""
    project.execute(MORE)
    project.backup = project.back_up()
    return project


def restore(project: Any, *words: str) -> Any:
    return project.opsctl("restore", "tables", project.backup, *words, "--yes")


@pytest.mark.parametrize("name", SPOIL)
def test_replace_makes_a_table_what_it_was_and_undo_what_it_became(tables: Any, name: str) -> None:
    before = tables.content()
    tables.execute(SPOIL[name])
    spoiled = tables.content()
    assert before != spoiled

    done = restore(tables, "--tables", name)

    assert 0 == done.exit, done.stdout
    assert before == tables.content()
    undone = tables.opsctl("runs", "undo", done.json["data"]["run"], "--yes")
    assert 0 == undone.exit, undone.stdout
    assert spoiled == tables.content()
    assert [] == tables.query("select 1 from pg_namespace where nspname like 'opsctl_restore%'")


def test_missing_adds_only_what_is_not_there(tables: Any) -> None:
    tables.execute("update public.tenants set name = 'newer' where id = 1;"
                   "delete from public.lines; delete from public.notes where tenant_id = 3;"
                   "delete from public.tenants where id = 3")  # fmt: skip

    done = restore(tables, "--tables", "tenants", "--mode", "missing")

    assert 0 == done.exit, done.stdout
    assert [(1, "newer"), (2, "tenant 2"), (3, "tenant 3")] == tables.query(
        "select * from public.tenants order by 1"
    )
    undone = tables.opsctl("runs", "undo", done.json["data"]["run"], "--yes")
    assert 0 == undone.exit, undone.stdout
    assert [(2,)] == tables.query("select count(*) from public.tenants")


def test_append_is_refused_where_a_key_is_taken(tables: Any) -> None:
    before = tables.content()

    refused = restore(tables, "--tables", "tenants", "--mode", "append")

    assert (5, "key-exists") == (refused.exit, refused.json["error"]["code"])
    assert before == tables.content()


def test_append_adds_everything_to_an_empty_table(tables: Any) -> None:
    before = tables.content()
    tables.execute("truncate public.bag")

    done = restore(tables, "--tables", "bag", "--mode", "append")

    assert 0 == done.exit, done.stdout
    assert before == tables.content()


def test_rows_that_others_need_are_not_deleted(tables: Any) -> None:
    tables.execute("insert into public.tenants values (50, 'later');"
                   "insert into public.notes (tenant_id, title) values (50, 'needs it')")  # fmt: skip
    before = tables.content()

    refused = restore(tables, "--tables", "tenants")

    assert (5, "foreign-key") == (refused.exit, refused.json["error"]["code"])
    assert "1 rows of public.notes refer to them" in refused.json["error"]["why"]
    assert before == tables.content()


def test_rows_without_a_parent_are_refused_and_come_with_it(tables: Any) -> None:
    tables.execute("delete from public.lines; delete from public.notes;"
                   "delete from public.tenants where id = 2")  # fmt: skip

    alone = restore(tables, "--tables", "notes", "--mode", "missing")
    both = restore(tables, "--tables", "lines,notes,tenants")

    assert (5, "foreign-key") == (alone.exit, alone.json["error"]["code"])
    assert 0 == both.exit, both.stdout
    assert [(3, 500, 100)] == tables.query(
        "select (select count(*) from public.tenants), (select count(*) from public.notes), "
        "(select count(*) from public.lines)"
    )


def test_triggers_stay_silent_and_keep_their_states(tables: Any) -> None:
    tables.execute(
        "delete from public.bag;"
        "create trigger loud before insert on public.bag for each row execute function public.never();"
        "create trigger asleep before insert on public.bag for each row execute function public.never();"
        "alter table public.bag disable trigger asleep;"
        "create trigger awake after delete on public.bag for each row execute function public.never();"
        "alter table public.bag enable always trigger awake"
    )  # fmt: skip

    done = restore(tables, "--tables", "bag")

    assert 0 == done.exit, done.stdout
    assert [("asleep", "D"), ("awake", "A"), ("loud", "O")] == tables.query(
        "select tgname, tgenabled::text from pg_trigger where tgrelid = 'public.bag'::regclass "
        "and not tgisinternal order by 1"
    )


def test_sequences_move_forward_and_never_back(tables: Any) -> None:
    tables.execute("delete from public.lines; delete from public.notes;"
                   "select setval('public.notes_id_seq', 7)")  # fmt: skip
    assert 0 == restore(tables, "--tables", "notes").exit

    assert [(500,)] == tables.query("select last_value from public.notes_id_seq")
    tables.execute("select setval('public.notes_id_seq', 9000)")
    tables.execute("update public.notes set title = 'x'")
    assert 0 == restore(tables, "--tables", "notes").exit
    assert [(9000,)] == tables.query("select last_value from public.notes_id_seq")


def test_columns_that_came_and_went_are_named(tables: Any) -> None:
    tables.execute("alter table public.tenants drop column name;"
                   "alter table public.tenants add column plan text default 'free';"
                   "delete from public.lines; delete from public.notes; delete from public.tenants")  # fmt: skip

    plan = tables.opsctl("restore", "tables", tables.backup, "--tables", "tenants", "--dry-run")
    done = restore(tables, "--tables", "tenants")

    notes = " ".join(plan.json["data"]["plan"]["notes"])
    assert "these columns are gone and are not restored: name" in notes
    assert "these columns take their default in new rows: plan" in notes
    assert 0 == done.exit, done.stdout
    assert [(1, "free")] == tables.query("select * from public.tenants where id = 1")


def test_a_type_that_no_longer_fits_is_said_before_anything_changes(tables: Any) -> None:
    tables.execute("delete from public.bag; alter table public.bag alter column b type int "
                   "using null")  # fmt: skip
    before = tables.content()

    failed = restore(tables, "--tables", "bag")

    assert (2, "rows-not-staged") == (failed.exit, failed.json["error"]["code"])
    assert "column b" in failed.json["error"]["why"]
    assert before == tables.content()


def test_a_constraint_of_today_is_minded(tables: Any) -> None:
    tables.execute("delete from public.bag; alter table public.bag add check (a < 2)")
    before = tables.content()

    refused = restore(tables, "--tables", "bag")

    assert (5, "check-violated") == (refused.exit, refused.json["error"]["code"])
    assert before == tables.content()


def test_a_plan_changes_nothing(tables: Any) -> None:
    tables.execute(SPOIL["public.tenants"])
    before = tables.content()

    plan = tables.opsctl("restore", "tables", tables.backup, "--tables", "tenants", "--dry-run")

    assert 0 == plan.exit
    assert {"now": 4, "insert": 0, "change": 1, "delete": 1, "same": 2} == (
        plan.json["data"]["plan"]["facts"]["counts"]["public.tenants"]
    )
    assert before == tables.content()


def test_nothing_to_do_is_said(tables: Any) -> None:
    done = restore(tables, "--tables", "tenants,notes")

    assert (0, []) == (done.exit, done.json["data"]["steps"])


def test_a_write_in_between_makes_the_plan_void(tables: Any) -> None:
    tables.execute(SPOIL["public.tenants"])
    other = "insert into public.tenants values (78, 'in between')"
    tables.execute(
        "create function public.on_stage() returns event_trigger language plpgsql as $$ begin "
        f"if not exists (select from public.tenants where id = 78) then {other}; end if; end $$;"
        "create event trigger in_between on ddl_command_end when tag in ('CREATE SCHEMA') "
        "execute function public.on_stage()"
    )

    failed = restore(tables, "--tables", "tenants")

    assert 4 == failed.exit, failed.stdout
    assert "not as counted" in failed.stdout
    assert [("spoiled",)] == tables.query("select name from public.tenants where id = 2")


def test_tables_that_are_not_there_are_named(tables: Any) -> None:
    for words in (("--tables", "nothing"), ("--tables", "auth.nothing")):
        failed = restore(tables, *words)
        assert (2, "no-such-table") == (failed.exit, failed.json["error"]["code"])
    tables.execute("create table public.later (a int)")
    failed = restore(tables, "--tables", "later")
    assert (2, "no-such-table") == (failed.exit, failed.json["error"]["code"])


CSV = {
    "no header": (b"", "line 1: there is no header"),
    "an unknown column": (b"id,nom\n1,x\n", "line 1: the table tenants has no column 'nom'"),
    "a missing column": (b"id\n60\n", "line 1: the column name is missing"),
    "a column twice": (b"id,name,name\n1,x,y\n", "line 1: the column 'name' is there twice"),
    "a nameless column": (b"id,,name\n1,x,y\n", "line 1: a column has no name"),
    "too few fields": (b"id,name\n60,x\n61\n", "line 3: it has 1 fields instead of 2"),
    "too many fields": (b"id,name\n60,x\n61,y,z\n", "line 3: it has 3 fields instead of 2"),
    "an empty line": (b"id,name\n60,x\n\n61,y\n", "line 3: it is empty"),
    "two wrong lines": (b"id,name\n1\n2\n", "line 2: it has 1 fields instead of 2; line 3: it"),
    "after a quoted newline": (b'id,name\n60,"a\nb"\n61\n', "line 4: it has 1 fields"),
    "a wrong number": (b"id,name\n60,x\nsixty,y\n", "line 3, column id: '\"sixty\"'"),
    "too large a number": (b"id,name\n99999999999,x\n", "line 2, column id"),
    "an empty value": (b"id,name\n60,\n", "line 2"),
    "a key twice": (b"id,name\n60,x\n60,y\n", "2 of them have the key"),
    "utf-16": ("id,name\n60,x\n".encode("utf-16"), "line 1: it is UTF-16"),
    "latin-1": (b"id,name\n60,x\n61,caf\xe9\n", "line 3: byte 0xe9 is not UTF-8"),
    "cut within a character": (b"id,name\n60,caf\xc3", "it ends within a character"),
    "a NUL byte": (b"id,name\n60,a\x00b\n", "line 2"),
    "an open quote": (b'id,name\n60,"open\n', "unexpected end of data"),
    "text after a quote": (b'id,name\n60,"a"b\n', "line 2"),
    "a long wrong value": (b"id,name\n" + b"x" * 500 + b",y\n", "..."),
}


@pytest.mark.parametrize("name", CSV)
def test_a_csv_file_that_is_wrong_is_refused_by_line(
    project: Any, tmp_path: Path, name: str
) -> None:
    data, wanted = CSV[name]
    (tmp_path / "rows.csv").write_bytes(data)
    before = project.content()

    failed = project.opsctl("restore", "tables", "--csv", "tenants=rows.csv", "--yes")

    assert 2 == failed.exit, failed.stdout
    assert wanted in failed.json["error"]["why"]
    assert before == project.content()


@pytest.mark.parametrize(
    "data",
    [
        b'id,name\n60,sixty\n61,"a, b"\n',
        b'\xef\xbb\xbfname;id\r\nsixty;60\r\n"a, b";61\r\n',
        b'name\tid\nsixty\t60\n"a, b"\t61\n',
    ],
    ids=["commas", "semicolons, mark, CRLF", "tabs"],
)
def test_a_csv_file_is_added_and_undone(project: Any, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "rows.csv").write_bytes(data)
    before = project.content()

    done = project.opsctl("restore", "tables", "--csv", "tenants=rows.csv", "--yes")

    assert 0 == done.exit, done.stdout
    assert [(60, "sixty"), (61, "a, b")] == project.query(
        "select * from public.tenants where id >= 60 order by 1"
    )
    undone = project.opsctl("runs", "undo", done.json["data"]["run"], "--yes")
    assert 0 == undone.exit, undone.stdout
    assert before == project.content()


def test_a_csv_file_and_tables_exclude_each_other(project: Any) -> None:
    for words in ((), ("--csv", "tenants=x.csv", "--tables", "tenants")):
        failed = project.opsctl("restore", "tables", *words)
        assert 2 == failed.exit
