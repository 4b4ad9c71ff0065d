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
