"""Restoring where databases cannot be made or renamed, as on a hosted platform."""

from __future__ import annotations

import os
from typing import Any

import pytest

from opsctl.adapters import catalog

OURS = """
create function public.greet() returns trigger language plpgsql security definer as
  $$ begin insert into public.profiles (id) values (new.id) on conflict do nothing;
     return new; end $$;
create table public.profiles (id uuid primary key references auth.users (id), note text);
create trigger on_user after insert on auth.users for each row execute function public.greet();
create policy objects_own on storage.objects for select using (owner = auth.uid());
insert into auth.users (id, email) select gen_random_uuid(), n || '@example.com'
  from generate_series(1, 20) n;
"""


@pytest.fixture
def hosted(project: Any) -> Any:
    """The project as seen by a role that owns it and may not make databases."""
    role = f"owner_{project.database[-6:]}"
    secret = "pass" + "word" + "1"
    project.execute(OURS)
    project.execute(
        f"create role {role} login password '{secret}' bypassrls;"
        f'alter database "{project.database}" owner to {role};'
        f"grant all on schema auth, storage, supabase_migrations to {role};"
        f"grant all on all tables in schema auth, storage, supabase_migrations to {role};"
        f"alter table auth.users owner to {role}; alter table storage.objects owner to {role};"
        f"alter schema supabase_migrations owner to {role};"
        f"alter table supabase_migrations.schema_migrations owner to {role};"
    )
    for kind, name in project.query(
        "select case relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, "
        "relname from pg_class where relnamespace = 'public'::regnamespace and relkind in "
        "('r', 'v') order by relkind"
    ):
        project.execute(f'alter {kind} public."{name}" owner to {role}')
    project.execute(f"alter function public.greet() owner to {role}")
    os.environ["OPSCTL_TEST_DATABASE"] = project.url_as(role, secret)
    return project


def test_schemas_are_swapped_and_lost_users_come_back(hosted: Any) -> None:
    before, objects = hosted.content(), hosted.objects()
    backup = hosted.back_up()
    hosted.execute(
        "drop table public.notes cascade; delete from public.profiles;"
        "delete from auth.users where email like '1%'"
    )

    planned = hosted.opsctl("restore", "db", backup, "--dry-run")
    done = hosted.opsctl("restore", "db", backup, "--confirm", "test")

    assert 0 == done.exit, done.stdout + done.stderr
    assert {**before, "catalog": ""} == {**hosted.content(), "catalog": ""}
    lost = catalog.compare(hosted.objects(), objects)
    # Only the role itself may set them, and on the platform it is ours.
    assert {"default privileges"} == {each.kind for each in lost}
    assert "Default privileges for what postgres will make are NOT restored" in planned.stdout
    assert {hosted.database} == hosted.databases()


def test_a_difference_is_told_whatever_the_table_is_called(hosted: Any) -> None:
    hosted.execute("create table public.publications (a int); grant select on public.publications "
                   "to public; insert into public.publications values (1)")  # fmt: skip
    backup = hosted.back_up()
    assert 0 == hosted.opsctl("restore", "check", backup).exit
    hosted.execute("insert into public.publications values (2)")

    told = hosted.opsctl("restore", "check", backup)

    assert (1, "restore-differs") == (told.exit, told.json["error"]["code"])


def test_users_who_came_later_stay(hosted: Any) -> None:
    backup = hosted.back_up()
    hosted.execute(
        "insert into auth.users (id, email) values (gen_random_uuid(), 'late@x.example')"
    )

    done = hosted.opsctl("restore", "db", backup, "--confirm", "test")

    assert 0 == done.exit, done.stdout + done.stderr
    assert [(21,)] == hosted.query("select count(*) from auth.users")
    assert [(20,)] == hosted.query("select count(*) from public.profiles")


def test_the_trigger_on_users_calls_the_restored_function(hosted: Any) -> None:
    backup = hosted.back_up()
    hosted.opsctl("restore", "db", backup, "--confirm", "test")

    hosted.execute("insert into auth.users (id, email) values (gen_random_uuid(), 'new@x.example')")

    assert [(21,)] == hosted.query("select count(*) from public.profiles")


def test_undo_brings_the_old_schemas_back(hosted: Any) -> None:
    backup = hosted.back_up()
    hosted.execute("update public.notes set title = 'damaged'")
    damaged = hosted.content()
    done = hosted.opsctl("restore", "db", backup, "--confirm", "test")
    assert 0 == done.exit, done.stdout + done.stderr

    undone = hosted.opsctl("runs", "undo", done.json["data"]["run"], "--yes")

    assert 0 == undone.exit, undone.stdout
    assert damaged == hosted.content()
    hosted.execute("insert into auth.users (id, email) values (gen_random_uuid(), 'new@x.example')")
    assert [(21,)] == hosted.query("select count(*) from public.profiles")


def test_the_same_backup_is_restored_twice(hosted: Any) -> None:
    backup = hosted.back_up()
    for _ in range(2):
        hosted.execute("delete from public.notes")
        done = hosted.opsctl("restore", "db", backup, "--confirm", "test")
        assert 0 == done.exit, done.stdout + done.stderr
        assert [(500,)] == hosted.query("select count(*) from public.notes")


def test_a_failure_within_the_transaction_changes_nothing(hosted: Any) -> None:
    backup = hosted.back_up()
    hosted.execute("alter table auth.users drop column email")
    before = hosted.content()

    failed = hosted.opsctl("restore", "db", backup, "--confirm", "test")

    assert failed.exit in (3, 4), failed.stdout
    assert before == hosted.content()
