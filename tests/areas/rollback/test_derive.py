"""Each migration is applied and then taken back with derived SQL: the catalog is as before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from opsctl.adapters.catalog import Catalog, compare, read_catalog
from opsctl.adapters.scratch import ScratchServer, scratch_server
from opsctl.areas.rollback.derive import Derived, derive_down

ROLES = "create role anon nologin; create role authenticated nologin"

BASE = """
create table public.users (id int primary key, email text not null, age int default 3);
create table public.posts (
  id bigint primary key,
  user_id int references public.users (id),
  title varchar(40) not null,
  body text
);
create index posts_title on public.posts (title);
alter table public.posts enable row level security;
create policy own on public.posts for select to authenticated using (user_id = 1);
create view public.titles as select id, title from public.posts;
create view public.upper_titles as select id, upper(title) as title from public.titles;
create materialized view public.counts as select user_id, count(*) from public.posts group by 1;
create unique index counts_user on public.counts (user_id);
create type public.mood as enum ('sad', 'happy');
create table public.feelings (id int primary key, mood public.mood not null default 'sad',
  moods public.mood[] default '{sad}');
create function public.touch() returns trigger language plpgsql as $$ begin return new; end $$;
create function public.double(n int) returns int language sql immutable as $$ select n * 2 $$;
create trigger touched before update on public.posts
  for each row execute function public.touch();
create sequence public.tickets increment 5;
create domain public.short as text check (length(value) < 9);
create table public.events (at date not null, kind text) partition by range (at);
create table public.events_2026 partition of public.events
  for values from ('2026-01-01') to ('2027-01-01');
create table public."Odd Name" ("Some Column" int, "select" text);
grant select on public.posts to anon;
grant select (email) on public.users to anon;
comment on table public.posts is 'what people write';
comment on column public.posts.title is 'its heading';
create publication everything for table public.users;
create statistics public.together on user_id, title from public.posts;
insert into public.users values (1, 'a@example.com');
insert into public.posts values (1, 1, 'one', null);
insert into public.feelings values (1), (2);
"""

UPS = {
    "a column": "alter table public.users add column nick text not null default ''",
    "a table with serial and a foreign key":
        "create table public.tags (id serial primary key, post_id bigint references public.posts "
        "(id), label text check (label <> '')); create index on public.tags (label)",
    "tables that point at each other":
        "create table public.a (id int primary key); "
        "create table public.b (id int primary key, a int references public.a (id)); "
        "alter table public.a add column b int references public.b (id)",
    "an old table pointing at a new one":
        "create table public.kinds (id int primary key); "
        "alter table public.posts add column kind int references public.kinds (id)",
    "an index": "create index on public.users (lower(email)) where age > 3",
    "an index dropped": "drop index public.posts_title",
    "an index changed": "drop index public.posts_title; "
        "create index posts_title on public.posts (title desc)",
    "a policy": "create policy p on public.posts as restrictive for update to anon, authenticated "
        "using (true) with check (user_id = 2)",
    "a policy altered": "alter policy own on public.posts to anon using (user_id = 2)",
    "a policy dropped": "drop policy own on public.posts",
    "row level security": "alter table public.users enable row level security; "
        "alter table public.users force row level security; "
        "alter table public.posts disable row level security",
    "a function body": "create or replace function public.double(n int) returns int "
        "language sql stable as $$ select n + n $$",
    "a function's return type": "drop function public.double(int); "
        "create function public.double(n int) returns bigint language sql as $$ select 2::int8 $$",
    "a function's parameter name": "drop function public.double(int); "
        "create function public.double(m int) returns int language sql as $$ select m * 2 $$",
    "a function made definer": "alter function public.double(int) security definer "
        "set search_path to ''",
    "a new function used by a default and a check":
        "create function public.three() returns int language sql immutable as $$ select 3 $$; "
        "alter table public.users alter column age set default public.three(); "
        "alter table public.users add constraint positive check (age >= public.three())",
    "a function dropped": "drop function public.double(int)",
    "a trigger": "create trigger t after insert on public.users "
        "for each row execute function public.touch()",
    "a trigger replaced": "create or replace trigger touched before update of body on public.posts "
        "for each row when (new.id > 1) execute function public.touch()",
    "a trigger disabled": "alter table public.posts disable trigger touched",
    "a trigger function": "create or replace function public.touch() returns trigger "
        "language plpgsql as $$ begin new.id := new.id; return new; end $$",
    "a trigger with its function":
        "create function public.t() returns trigger language plpgsql as "
        "$$ begin return new; end $$; create trigger t before insert on public.users "
        "for each row execute function public.t()",
    "a view chain": "drop view public.upper_titles; drop view public.titles; "
        "create view public.titles as select id, title, body from public.posts; "
        "create view public.upper_titles as select id, lower(title) as title from public.titles",
    "a view at the foot of a chain":
        "create or replace view public.titles as select id, title, body from public.posts",
    "a view option": "alter view public.titles set (security_invoker = true)",
    "a view dropped": "drop view public.upper_titles",
    "new views on old ones": "create view public.v1 as select * from public.upper_titles; "
        "create view public.v2 as select * from public.v1; grant select on public.v2 to anon",
    "a view on a new column": "alter table public.posts add column likes int; "
        "create or replace view public.titles as select id, title, likes from public.posts",
    "a materialized view": "create materialized view public.m as select 1 as one; "
        "create index on public.m (one)",
    "a materialized view changed": "drop materialized view public.counts; "
        "create materialized view public.counts as select user_id from public.posts; "
        "create unique index counts_user on public.counts (user_id)",
    "an enum with a column": "create type public.level as enum ('low', 'high'); "
        "alter table public.users add column level public.level default 'low'",
    "an enum value": "alter type public.mood add value 'great' before 'happy'",
    "NOT NULL and a default": "alter table public.posts alter column body set default 'x'; "
        "update public.posts set body = ''; "
        "alter table public.posts alter column body set not null",
    "NOT NULL taken away": "alter table public.posts alter column title drop not null; "
        "alter table public.users alter column age drop default",
    "int to bigint under a foreign key":
        "drop policy own on public.posts; drop materialized view public.counts; "
        "drop statistics public.together; "
        "alter table public.users alter column id type bigint; "
        "alter table public.posts alter column user_id type bigint; "
        "create policy own on public.posts for select to authenticated using (user_id = 1); "
        "create statistics public.together on user_id, title from public.posts; "
        "create materialized view public.counts as "
        "select user_id, count(*) from public.posts group by 1; "
        "create unique index counts_user on public.counts (user_id)",
    "varchar to text under views": "drop view public.upper_titles; drop view public.titles; "
        "drop trigger touched on public.posts; "
        "alter table public.posts alter column title type text; "
        "create view public.titles as select id, title from public.posts; "
        "create view public.upper_titles as select id, upper(title) as title from public.titles; "
        "create trigger touched before update on public.posts "
        "for each row execute function public.touch()",
    "a generated column": "alter table public.users add column loud text "
        "generated always as (upper(email)) stored",
    "an identity column": "alter table public.users add column n bigint "
        "generated always as identity",
    "identity on an old column": "alter table public.posts alter column id "
        "add generated by default as identity (start 100)",
    "a partition": "create table public.events_2027 partition of public.events "
        "for values from ('2027-01-01') to ('2028-01-01')",
    "a column on a partitioned table": "alter table public.events add column note text; "
        "create index on public.events (note)",
    "a partitioned table": "create table public.logs (id int, at date, primary key (id, at)) "
        "partition by range (at); "
        "create table public.logs_default partition of public.logs default",
    "grants": "grant insert, update on public.posts to authenticated; "
        "grant all on public.users to anon with grant option; "
        "grant usage on sequence public.tickets to anon; grant usage on schema public to anon; "
        "grant update (title) on public.posts to anon",
    "revokes": "revoke select on public.posts from anon; revoke select (email) on public.users "
        "from anon; revoke execute on function public.double(int) from public; "
        "revoke usage on type public.mood from public",
    "an extension": "create extension citext; alter table public.users add column c citext; "
        "create schema ext; create extension hstore schema ext",
    "check, unique and exclusion constraints":
        "alter table public.users add constraint adult check (age > 17) not valid; "
        "alter table public.users add unique (email); "
        "alter table public.users add exclude (age with =)",
    "a foreign key": "alter table public.feelings add constraint whose foreign key (id) "
        "references public.users (id) on delete cascade not valid",
    "a foreign key on a new key":
        "alter table public.users add constraint email_key unique (email);"
        "alter table public.posts add constraint t_fk foreign key (title) "
        "references public.users (email) not valid",
    "constraints changed and dropped":
        "alter table public.posts drop constraint posts_user_id_fkey; "
        "alter table public.posts add constraint posts_user_id_fkey foreign key (user_id) "
        "references public.users (id) on delete cascade; "
        "alter table public.feelings drop constraint feelings_pkey",
    "a key dropped that a foreign key needs":
        "alter table public.posts drop constraint posts_user_id_fkey; "
        "alter table public.users drop constraint users_pkey",
    "sequences": "create sequence public.orders; alter sequence public.tickets increment 7 cycle; "
        "alter table public.users alter column age set default nextval('public.orders')",
    "a sequence dropped": "drop sequence public.tickets",
    "a domain": "create domain public.zip as text not null check (value ~ '^[0-9]+$'); "
        "alter table public.users add column zip public.zip default '1'",
    "a composite type and a range": "create type public.pair as (a int, b text); "
        "create type public.span as range (subtype = float8); "
        "create function public.mk(p public.pair) returns public.span language sql "
        "as $$ select null::public.span $$",
    "a new schema": "create schema shop; create table shop.items (id int primary key); "
        "grant usage on schema shop to anon; grant select on shop.items to anon; "
        "create view shop.v as select * from shop.items; comment on schema shop is 'a shop'",
    "comments": "comment on table public.posts is 'other'; comment on column public.posts.title "
        "is null; comment on column public.users.email is 'it''s theirs'; "
        "comment on function public.double(int) is 'twice'; comment on type public.mood is 'm'; "
        "comment on index public.posts_title is 'i'; "
        "comment on policy own on public.posts is 'p'; "
        "comment on constraint users_pkey on public.users is 'k'; "
        "comment on trigger touched on public.posts is 't'; comment on view public.titles is 'v'; "
        "comment on schema public is 's'; comment on domain public.short is 'd'",
    "publications": "create publication few for table public.posts; "
        "alter publication everything add table public.feelings; "
        "alter publication everything drop table public.users",
    "a publication's operations": "alter publication everything set (publish = 'insert')",
    "statistics": "drop statistics public.together; "
        "create statistics public.others (ndistinct) on id, mood from public.feelings",
    "odd names": 'create index "An Index" on public."Odd Name" ("select"); '
        'alter table public."Odd Name" add column "x.y" int default 4; '
        'alter table public."Odd Name" alter column "Some Column" type bigint; '
        'create policy "It\'s a policy" on public."Odd Name" using ("Some Column" = 1); '
        'create type public."Odd Type" as enum (\'a"b\', \'it\'\'s\')',
    "storage options": "alter table public.users set (fillfactor = 70, autovacuum_enabled = off); "
        "alter table public.users replica identity full",
    "owners": "alter table public.users owner to anon; alter view public.titles owner to anon; "
        "alter function public.double(int) owner to anon; alter type public.mood owner to anon; "
        "alter sequence public.tickets owner to anon",
    "an unlogged table": "alter table public.feelings set unlogged",
    "default privileges":
        "alter default privileges in schema public grant select on tables to anon",
    "an overloaded function": "create function public.double(n text) returns text "
        "language sql as $$ select n || n $$; create procedure public.go(inout n int) "
        "language plpgsql as $$ begin n := 1; end $$; "
        "create aggregate public.total(int) (sfunc = int4pl, stype = int, initcond = '0')",
    "an event trigger and a rule":
        "create function public.ev() returns event_trigger language plpgsql as "
        "$$ begin end $$; create event trigger e on ddl_command_end execute function public.ev(); "
        "alter event trigger e disable; "
        "create rule quiet as on delete to public.users do instead nothing",
    "several at once": "create type public.status as enum ('on', 'off'); "
        "create table public.jobs (id bigserial primary key, status public.status default 'on', "
        "post_id bigint references public.posts (id)); alter table public.jobs enable row level "
        "security; create policy j on public.jobs using (public.double(1) = 2); "
        "create function public.on_jobs() returns setof public.jobs language sql "
        "as $$ select * from public.jobs $$; create view public.open_jobs as "
        "select * from public.jobs where status = 'on'; "
        "create trigger jt before insert on public.jobs for each row "
        "execute function public.touch(); alter table public.users add column job_id bigint "
        "references public.jobs (id); grant select on public.jobs, public.open_jobs to anon; "
        "comment on table public.jobs is 'work'",
}  # fmt: skip

CANNOT = {
    "a column dropped": ("alter table public.posts drop column body", "public.posts.body"),
    "a column renamed": ("alter table public.users rename column age to years", "users.age"),
    "a table dropped": ("drop table public.feelings", "public.feelings"),
    "a table renamed": ("alter table public.feelings rename to emotions", "public.feelings"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchServer]:
    with scratch_server(prefer="embedded") as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(ROLES.encode())
        with psycopg.connect(server.create_database("base"), autocommit=True) as connection:
            connection.execute(BASE.encode())
        yield server


@pytest.fixture
def connection(server: ScratchServer) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server.create_database("trial", template="base"), autocommit=True) as it:
        yield it
    server.drop_database("trial")


@pytest.mark.parametrize("up", UPS.values(), ids=UPS.keys())
def test_a_migration_is_taken_back(connection: psycopg.Connection[Any], up: str) -> None:
    before = read_catalog(connection)
    connection.execute(up.encode())
    after = read_catalog(connection)
    derived = derive_down(after, before)
    _run(connection, derived)
    found = read_catalog(connection)

    assert before.digest != after.digest
    assert () == derived.cannot
    assert [] == [str(each) for each in compare(found, before)]
    assert before.digest == found.digest
    assert not [s for s in derived.statements if "CASCADE" in s.replace("ON DELETE CASCADE", "")]
    assert not [s for s in derived.statements if "IF EXISTS" in s]


@pytest.mark.parametrize(("up", "named"), CANNOT.values(), ids=CANNOT.keys())
def test_lost_data_is_never_derived(
    connection: psycopg.Connection[Any], up: str, named: str
) -> None:
    before = read_catalog(connection)
    connection.execute(up.encode())
    derived = derive_down(read_catalog(connection), before)

    assert any(named in sentence for sentence in derived.cannot)
    assert not [s for s in derived.statements if s.startswith("CREATE TABLE")]
    assert not [s for s in derived.statements if " ADD COLUMN " in s]


def test_an_enum_value_in_use_fails_loudly(connection: psycopg.Connection[Any]) -> None:
    before = read_catalog(connection)
    connection.execute("alter type public.mood add value 'great'")
    connection.execute("update public.feelings set mood = 'great' where id = 2")
    derived = derive_down(read_catalog(connection), before)

    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="great"):
        _run(connection, derived)


def test_nothing_changed_gives_no_statements(connection: psycopg.Connection[Any]) -> None:
    here = read_catalog(connection)

    assert Derived((), ()) == derive_down(here, read_catalog(connection))


def test_the_statements_do_not_hang_on_the_order_of_reading(
    connection: psycopg.Connection[Any],
) -> None:
    before = read_catalog(connection)
    connection.execute(UPS["several at once"].encode())
    after = read_catalog(connection)
    shuffled = Catalog(dict(reversed(after.objects.items())))

    assert derive_down(after, before) == derive_down(shuffled, before)


def _run(connection: psycopg.Connection[Any], derived: Derived) -> None:
    with connection.transaction():
        for statement in derived.statements:
            connection.execute(statement.encode())
