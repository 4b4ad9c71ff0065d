"""Rollback after rollback on a real database, each undone again.

After the rollback the catalog is what it was before the migration, and every value is still
there unless the plan announced it. After the undo the catalog, every row and every sequence
are what they were before the rollback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Case:
    """A migration, its rows, and the down SQL of the team where there is one."""

    name: str
    up: str
    rows: str = ""
    down: str | None = None
    tools: str = "supabase"


CASES = [
    Case("adds a column", "alter table public.notes add column stars int",
         "update public.notes set stars = id % 5 where id % 3 = 0"),
    Case("adds a column, recorded by both tools",
         "alter table public.notes add column stars int",
         "update public.notes set stars = 4", tools="supabase prisma"),
    Case("adds a column, recorded by prisma", "alter table public.notes add column stars int",
         "update public.notes set stars = 4", tools="prisma"),
    Case("adds a table",
         "create table public.tags (id serial primary key, note_id bigint references "
         "public.notes (id), label text); create index on public.tags (note_id)",
         "insert into public.tags (note_id, label) select n, 'tag ' || n "
         "from generate_series(1, 70) n"),
    Case("adds a table that others point at",
         "create table public.kinds (id int primary key, label text); "
         "insert into public.kinds values (1, 'one'), (2, 'two'); "
         "alter table public.notes add column kind_id int references public.kinds (id)",
         "update public.notes set kind_id = 1 + id % 2"),
    Case("drops a column", "alter table public.notes drop column body",
         down="alter table public.notes add column body text"),
    Case("renames a column", "drop view public.titles; "
         "alter table public.notes rename column title to heading; "
         "create view public.titles as select id, heading as title from public.notes",
         down="drop view public.titles; "
         "alter table public.notes rename column heading to title; "
         "create view public.titles as select id, title from public.notes"),
    Case("renames a table", "alter table public.logs rename to events",
         down="alter table public.events rename to logs"),
    Case("widens a type", "alter table public.tenants alter column id type bigint"),
    Case("narrows what was text",
         "alter table public.notes add column code text; "
         "update public.notes set code = id::text; "
         "alter table public.notes alter column code type int using code::int"),
    Case("converts a type with a loss",
         "alter table public.notes alter column price type numeric(12, 4)",
         "update public.notes set price = price + 0.0049"),
    Case("sets NOT NULL with a default",
         "alter table public.notes add column state text not null default 'new'",
         "update public.notes set state = 'old' where id < 20"),
    Case("makes a column NOT NULL",
         "update public.notes set body = '' where body is null; "
         "alter table public.notes alter column body set not null"),
    Case("adds an enum value", "alter type public.mood add value 'great'"),
    Case("adds an enum and uses it",
         "create type public.level as enum ('low', 'high'); "
         "alter table public.notes add column level public.level not null default 'low'",
         "update public.notes set level = 'high' where id % 2 = 0"),
    Case("adds an index concurrently",
         "create index concurrently notes_title on public.notes (title)"),
    Case("adds and changes policies",
         "create policy notes_write on public.notes for insert to authenticated "
         "with check (tenant_id = 2); "
         "alter policy notes_read on public.notes using (tenant_id = 1 or tenant_id = 2); "
         "alter table public.logs enable row level security"),
    Case("replaces a function",
         "create or replace function public.shout(t text) returns text language sql stable "
         "set search_path = '' as $$ select upper(t) || '!' $$; "
         "create function public.whisper(t text) returns text language plpgsql as "
         "$f$ begin return lower(t); end $f$"),
    Case("adds a trigger",
         "create function public.touch() returns trigger language plpgsql as "
         "$f$ begin new.created_at := now(); return new; end $f$; "
         "create trigger notes_touch before update on public.notes "
         "for each row execute function public.touch()"),
    Case("adds a trigger to auth.users",
         "create function public.welcome() returns trigger language plpgsql security definer as "
         "$f$ begin insert into public.logs values (now(), new.id::text); return new; end $f$; "
         "create trigger on_auth_user_created after insert on auth.users "
         "for each row execute function public.welcome()"),
    Case("changes a chain of views",
         "drop view public.titles; "
         "create view public.titles as select id, upper(title) as title from public.notes; "
         "create view public.short_titles as select left(title, 5) as t from public.titles; "
         "create materialized view public.mat as select count(*) as n from public.short_titles"),
    Case("adds foreign keys and checks",
         "alter table public.notes add constraint notes_price check (price >= 0); "
         "alter table public.tenants add constraint tenants_name unique (name); "
         "alter table public.notes add column owner_id int references public.tenants (id) "
         "on delete cascade", "update public.notes set owner_id = 2"),
    Case("adds a partition",
         "create table public.metrics (at date not null, v int, primary key (at)) "
         "partition by range (at); "
         "create table public.metrics_2026 partition of public.metrics "
         "for values from ('2026-01-01') to ('2027-01-01')",
         "insert into public.metrics select '2026-01-01'::date + n, n "
         "from generate_series(0, 90) n"),
    Case("adds a generated column",
         "alter table public.notes add column gross numeric "
         "generated always as (price * 1.2) stored"),
    Case("adds an identity column",
         "alter table public.logs add column id bigint generated always as identity"),
    Case("changes data",
         "update public.tenants set name = 'Tenant ' || id",
         down="update public.tenants set name = 'tenant ' || id"),
    Case("adds to data in a way that repeats",
         "update public.notes set price = price + 10",
         down="update public.notes set price = price - 10"),
    Case("deletes rows", "delete from public.logs where line like '%7'",
         down="insert into public.logs select '2026-01-01'::timestamptz + n * interval '1 min', "
         "'line ' || n from generate_series(1, 50) n where n % 10 = 7"),
    Case("changes grants",
         "grant insert (title, body), update (title) on public.notes to authenticated; "
         "revoke select on public.notes from anon; "
         "grant execute on function public.shout(text) to anon"),
    Case("adds an extension",
         "create extension if not exists pg_trgm; "
         "create index notes_trgm on public.notes using gin (title gin_trgm_ops)"),
    Case("adds a domain, a sequence and a comment",
         "create domain public.positive as int check (value > 0); "
         "create sequence public.ticket start 100; "
         "comment on table public.notes is 'what people write'; "
         "alter table public.tenants add column size public.positive default 1",
         "select nextval('public.ticket'); update public.tenants set size = id"),
    Case("several things at once",
         "create table public.tags (id serial primary key, label text not null); "
         "alter table public.notes add column tag_id int references public.tags (id); "
         "alter table public.notes alter column price set default 1; "
         "create index notes_tag on public.notes (tag_id); "
         "create policy tags_read on public.tags for select using (true); "
         "alter table public.tags enable row level security; "
         "drop policy notes_read on public.notes; drop function public.shout(text)",
         "insert into public.tags (label) select 'tag ' || n from generate_series(1, 5) n; "
         "update public.notes set tag_id = 1 + id % 5"),
    Case("down SQL hidden in a DO block",
         "create table public.tags (id int primary key, label text)",
         "insert into public.tags values (1, 'a'), (2, 'b')",
         down="do $$ begin execute 'drop ' || 'table public.tags cascade'; end $$"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_rollback_loses_nothing_unannounced_and_can_be_undone(project: Any, case: Case) -> None:
    before = project.content()
    project.migrate("20260202000000", case.up, down=case.down, tools=case.tools)
    if case.rows:
        project.execute(case.rows)
    migrated = project.content()

    rolled = project.opsctl("rollback", "db", "--yes", "--format", "json")

    assert rolled.exit == 0, rolled.stdout + rolled.stderr
    after = project.content()
    assert before.digest == after.digest
    assert before.history == after.history
    losses = rolled.json["data"]["losses"]
    announced = [loss["name"].partition(" as ")[0] for loss in losses]
    for name, content in migrated.columns.items():
        table = name.rpartition(".")[0]
        if after.columns.get(name) != content:
            renamed = content in after.columns.values()
            assert renamed or name in announced or table in announced or _generated(case, name), (
                f"{name} was lost unannounced: {announced}"
            )

    undone = project.opsctl("runs", "undo", rolled.json["data"]["run"], "--yes", "--format", "json")

    assert undone.exit == 0, undone.stdout + undone.stderr
    again = project.content()
    assert migrated.digest == again.digest
    assert migrated.tables == again.tables
    assert migrated.sequences == again.sequences
    assert migrated.history == again.history


def _generated(case: Case, name: str) -> bool:
    """Whether a column's values follow from others, so that nothing is lost with them."""
    return case.name == "adds a generated column" and name == "public.notes.gross"
