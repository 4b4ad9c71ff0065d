"""Reading live rows as real people: what is right passes, what leaks is found, nobody waits."""
# ruff: noqa: E501 - SQL

from __future__ import annotations

import psycopg
import pytest

from opsctl.adapters import postgres as database
from opsctl.areas.rls_smoke.actors import default_file
from opsctl.areas.rls_smoke.checks import judge_live
from opsctl.areas.rls_smoke.facts import read_schema
from opsctl.areas.rls_smoke.live import LiveLook, look_live
from opsctl.areas.rls_smoke.live_writes import LiveWrites, try_live
from opsctl.areas.rls_smoke.matrix import Matrix
from opsctl.areas.rls_smoke.tenancy import infer
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Status

from .designs import TENANTS

ROWS = """
insert into auth.users (id, email) select gen_random_uuid(), 'u' || n || '@example.com' from generate_series(1, 40) n;
insert into public.tenants (name) select 't' || n from generate_series(1, 4) n;
insert into public.profiles (id, tenant_id, full_name)
  select u.id, t.id, 'x' from (select id, row_number() over (order by id) as n from auth.users) u
  join (select id, row_number() over (order by id) as n from public.tenants) t on t.n = u.n % 4 + 1;
create table public.orders (id bigint generated always as identity primary key, tenant_id uuid not null references public.tenants (id), total int);
insert into public.orders (tenant_id, total) select (select id from public.tenants order by id offset n % 4 limit 1), n from generate_series(1, 20000) n;
alter table public.orders enable row level security;
create policy orders_read on public.orders for select to authenticated using (tenant_id = (select public.my_tenant()));
create view public.totals with (security_invoker = true) as select tenant_id, total from public.orders;
create table public.empty (id int primary key, tenant_id uuid references public.tenants (id));
"""


def look(url: str) -> LiveLook:
    with database.connect(url) as connection:
        schema = read_schema(connection, schemas=("public",))
        model = infer(schema)
        file = default_file(schema, model)
        return look_live(connection, schema, model, file, schemas=("public",), inferred=True)


def prepare(url: str, *scripts: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for script in (TENANTS, ROWS, *scripts):
            connection.execute(script.encode())


def test_a_sound_database_passes_and_the_empty_table_is_unknown(supabase_database_url: str) -> None:
    prepare(supabase_database_url)
    seen = look(supabase_database_url)

    assert [Status.OK] == [each.status for each in judge_live(seen.world, seen.matrix)]
    assert ["Isolation of tenants is not known for public.empty"] == [e.title for e in seen.unknown]
    reads = {(c.relation, c.actor): len(c.got) for c in seen.matrix.cells}
    assert (200, 200, 0, 0) == tuple(
        reads["public.orders", name] for name in ("a", "b", "guest", "anon")
    )


@pytest.mark.parametrize(
    ("bug", "where"),
    [
        (
            "alter policy orders_read on public.orders using (tenant_id = tenant_id)",
            "public.orders",
        ),
        ("alter table public.orders disable row level security", "public.orders"),
        ("alter view public.totals reset (security_invoker)", "public.totals"),
    ],
)
def test_a_leak_is_found(supabase_database_url: str, bug: str, where: str) -> None:
    prepare(supabase_database_url, bug)
    seen = look(supabase_database_url)

    assert where in {
        each.location.object
        for each in judge_live(seen.world, seen.matrix)
        if each.rule == "rls-more" and each.location
    }


def test_one_tenant_alone_is_unknown(supabase_database_url: str) -> None:
    prepare(
        supabase_database_url,
        "delete from public.orders where tenant_id <> (select min(tenant_id::text)::uuid from public.orders)",
    )
    seen = look(supabase_database_url)

    assert "Isolation of tenants is not known for public.orders" in {e.title for e in seen.unknown}


def test_a_role_that_policies_bind_cannot_judge(supabase_database_url: str) -> None:
    prepare(
        supabase_database_url, "drop role if exists bound; create role bound login password 'x'"
    )
    url = supabase_database_url.replace("postgresql://", "").partition("@")[2]
    with pytest.raises(OpsError) as error:
        look(f"postgresql://bound:x@{url}")

    assert ("rls-oracle", Exit.UNKNOWN) == (error.value.code, error.value.exit)


def test_a_locked_table_is_not_waited_for(supabase_database_url: str) -> None:
    prepare(supabase_database_url)
    with psycopg.connect(supabase_database_url) as holder:
        holder.execute("LOCK TABLE public.orders IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(OpsError) as error:
            look(supabase_database_url)

    assert ("database-locked", Exit.UNKNOWN) == (error.value.code, error.value.exit)


def try_writes(url: str) -> tuple[LiveLook, LiveWrites]:
    with database.connect(url, read_only=False) as connection:
        schema = read_schema(connection, schemas=("public",))
        model = infer(schema)
        file = default_file(schema, model)
        seen = look_live(connection, schema, model, file, schemas=("public",), inferred=True)
        return seen, try_live(seen.world, inferred=True, hold_ms=5000)


def everything(url: str) -> list[object]:
    """Return the rows with their places, and where the sequences stand."""
    with psycopg.connect(url) as connection:
        rows = [connection.execute(f"select md5(string_agg(t.ctid::text || t.xmin::text || t::text, '' order by t.ctid)) from {name} t".encode()).fetchone()
                for name in ("public.orders", "public.profiles", "public.tenants")]  # fmt: skip
        return [
            *rows,
            connection.execute(
                "select schemaname, sequencename, last_value from pg_sequences order by 1, 2"
            ).fetchall(),
        ]


WRITES = """
create policy orders_edit on public.orders for update to authenticated
  using (tenant_id = (select public.my_tenant())) with check (tenant_id = (select public.my_tenant()));
create policy orders_add on public.orders for insert to authenticated with check (tenant_id = (select public.my_tenant()));
create policy orders_drop on public.orders for delete to authenticated using (tenant_id = (select public.my_tenant()));
"""


def test_writes_of_a_sound_database_are_undone_and_well(supabase_database_url: str) -> None:
    prepare(supabase_database_url, WRITES)
    before = everything(supabase_database_url)
    seen, tried = try_writes(supabase_database_url)

    assert before == everything(supabase_database_url)
    assert [] == [each for each in judge_live(seen.world, Matrix(tried.cells, (), tried.tries, {}))
                  if each.status is Status.FAILED]  # fmt: skip
    wrote = {
        (c.actor, c.verb): len(c.got & c.expected.rows)
        for c in tried.cells if c.relation == "public.orders" and c.expected
    }  # fmt: skip
    assert all(wrote["a", verb] >= 4 for verb in ("insert", "update", "delete")), wrote
    assert 0 == sum(wrote["anon", verb] for verb in ("insert", "update", "delete"))


@pytest.mark.parametrize(
    ("bug", "verb"),
    [
        ("alter policy orders_edit on public.orders using (true) with check (true)", "update"),
        ("alter policy orders_add on public.orders with check (true)", "insert"),
        ("alter policy orders_drop on public.orders using (true)", "delete"),
    ],
)
def test_a_write_that_only_a_blind_one_can_do_is_found(
    supabase_database_url: str, bug: str, verb: str
) -> None:
    """The rows stay out of sight: a write that names them by a column would not reach them."""
    prepare(supabase_database_url, WRITES, bug)
    before = everything(supabase_database_url)
    seen, tried = try_writes(supabase_database_url)

    assert before == everything(supabase_database_url)
    found = judge_live(seen.world, Matrix(tried.cells, (), tried.tries, {}))
    assert {("rls-more", "public.orders")} == {
        (each.rule, each.location and each.location.object)
        for each in found if each.status is Status.FAILED
    }  # fmt: skip
    assert {verb} == {cell.verb for cell in tried.cells if cell.wrong}


def test_triggers_stay_still_and_those_that_cannot_keep_a_table_out(
    supabase_database_url: str,
) -> None:
    trigger = """
    create function public.shout() returns trigger language plpgsql as $$
      begin perform nextval('public.heard'); return coalesce(new, old); end $$;
    create sequence public.heard;
    create trigger shout before insert or update or delete on public.orders for each row execute function public.shout();
    """
    prepare(supabase_database_url, WRITES, trigger)
    before = everything(supabase_database_url)
    _, tried = try_writes(supabase_database_url)

    assert before == everything(supabase_database_url)
    assert "public.orders" in {cell.relation for cell in tried.cells}

    with psycopg.connect(supabase_database_url, autocommit=True) as connection:
        connection.execute("alter table public.orders enable always trigger shout")
    _, tried = try_writes(supabase_database_url)

    assert "public.orders" not in {cell.relation for cell in tried.cells}
    assert "No write was tried on public.orders" in {each.title for each in tried.unknown}


def test_a_role_that_cannot_keep_triggers_still_leaves_tables_alone(
    supabase_database_url: str,
) -> None:
    trigger = """
    create function public.shout() returns trigger language plpgsql as $$ begin return coalesce(new, old); end $$;
    create trigger shout before update on public.profiles for each row execute function public.shout();
    drop role if exists keeper; create role keeper login bypassrls password 'x'; grant anon, authenticated to keeper;
    grant usage on schema public, auth to keeper; grant all on all tables in schema public, auth to keeper;
    """
    prepare(supabase_database_url, WRITES, trigger)
    before = everything(supabase_database_url)
    address = supabase_database_url.replace("postgresql://", "").partition("@")[2]
    _, tried = try_writes(f"postgresql://keeper:x@{address}")

    assert before == everything(supabase_database_url)
    assert (
        {"public.orders", "public.empty"}
        >= {cell.relation for cell in tried.cells}
        >= {"public.orders"}
    )
    why = {each.location and each.location.object: each.evidence for each in tried.unknown}
    assert "its triggers would fire" in why["public.profiles"]
    assert "other tables refer to it" in why["public.tenants"]


def test_a_row_that_somebody_holds_is_left_out(supabase_database_url: str) -> None:
    prepare(supabase_database_url, WRITES)
    with psycopg.connect(supabase_database_url) as holder:
        holder.execute("select 1 from public.orders for update")
        seen, tried = try_writes(supabase_database_url)

    mine = [
        c
        for c in tried.cells
        if c.relation == "public.orders" and c.verb == "delete" and c.actor == "a"
    ]
    assert [frozenset()] == [cell.expected and cell.expected.rows for cell in mine]
    assert [] == [each for each in judge_live(seen.world, Matrix(tried.cells, (), tried.tries, {}))
                  if each.status is Status.FAILED]  # fmt: skip
