"""Ways around policies that stand: each is found, and its sound twin is not accused."""
# ruff: noqa: E501 - SQL

from __future__ import annotations

import pytest

from opsctl.core.report import Status

from .conftest import MakeWorld, findings
from .designs import TENANTS

ITEMS = (
    TENANTS
    + """
create table public.items (id uuid primary key default gen_random_uuid(), tenant_id uuid not null references public.tenants (id),
  code text not null, note text);
alter table public.items enable row level security;
create policy items_all on public.items to authenticated
  using (tenant_id = (select public.my_tenant())) with check (tenant_id = (select public.my_tenant()));
create table public.parts (id uuid primary key default gen_random_uuid(), tenant_id uuid not null references public.tenants (id), name text);
alter table public.parts enable row level security;
create policy parts_all on public.parts to authenticated
  using (tenant_id = (select public.my_tenant())) with check (tenant_id = (select public.my_tenant()));
"""
)

GATHER = """create function public.gather() returns trigger language plpgsql security {how} set search_path = ''
  as $$ begin new.note := (select string_agg(note, ',') from public.items); return new; end $$;
  create trigger gather before {verb} on public.items for each row execute function public.gather()"""

HOLES = {
    "a function returns rows by id": (
        """create function public.get_item(item_id uuid) returns setof public.items language sql stable security definer set search_path = ''
           as $$ select * from public.items where id = item_id $$""",
        """create function public.get_item(item_id uuid) returns setof public.items language sql stable security invoker set search_path = ''
           as $$ select * from public.items where id = item_id $$""",
        ("function-leak", "public.get_item()"),
    ),
    "a function without arguments lists everything": (
        """create function public.export() returns table (code text) language sql stable security definer set search_path = ''
           as $$ select code from public.items $$""",
        """create function public.export() returns table (code text) language sql stable security definer set search_path = ''
           as $$ select code from public.items where tenant_id = public.my_tenant() $$""",
        ("function-leak", "public.export()"),
    ),
    "a function changes anybody's row": (
        """create function public.rename_item(p_id uuid, p_note text) returns void language plpgsql security definer set search_path = ''
           as $$ begin update public.items set note = p_note where id = p_id; end $$""",
        """create function public.rename_item(p_id uuid, p_note text) returns void language plpgsql security definer set search_path = ''
           as $$ begin update public.items set note = p_note where id = p_id and tenant_id = public.my_tenant(); end $$""",
        ("function-writes", "public.rename_item()"),
    ),
    "a function puts rows among another tenant's": (
        """create function public.add_item(tenant uuid, p_code text) returns void language sql security definer set search_path = ''
           as $$ insert into public.items (tenant_id, code) values (tenant, p_code) $$""",
        """create function public.add_item(tenant uuid, p_code text) returns void language sql security definer set search_path = ''
           as $$ insert into public.items (tenant_id, code) select tenant, p_code where tenant = public.my_tenant() $$""",
        ("function-writes", "public.add_item()"),
    ),
    "a view without the tenant's column": (
        "create view public.codes as select code from public.items",
        "create view public.codes with (security_invoker = true) as select code from public.items",
        ("view-leak", "public.codes"),
    ),
    "an update that gives back what a trigger gathers": (
        GATHER.format(how="definer", verb="update"),
        GATHER.format(how="invoker", verb="update"),
        ("returning-leak", "public.items"),
    ),
    "an insert that gives back what a trigger gathers": (
        GATHER.format(how="definer", verb="insert"),
        GATHER.format(how="invoker", verb="insert"),
        ("returning-leak", "public.items"),
    ),
    "an update that a view's trigger answers with others' rows": (
        """create view public.own_items with (security_invoker = true) as select id, note from public.items;
           create function public.swap() returns trigger language plpgsql security definer set search_path = ''
           as $$ begin new.note := (select string_agg(note, ',') from public.items); return new; end $$;
           create trigger swap instead of update on public.own_items for each row execute function public.swap()""",
        """create view public.own_items with (security_invoker = true) as select id, note from public.items;
           create function public.swap() returns trigger language plpgsql security definer set search_path = ''
           as $$ begin return new; end $$;
           create trigger swap instead of update on public.own_items for each row execute function public.swap()""",
        ("returning-leak", "public.own_items"),
    ),
    "a materialised view": (
        "create materialized view public.snapshot as select code, note from public.items",
        "create schema private; create materialized view private.snapshot as select code, note from public.items",
        ("view-leak", "public.snapshot"),
    ),
    "a key that points at another tenant's row": (
        "alter table public.parts add column item_id uuid references public.items (id)",
        """alter table public.items add unique (tenant_id, id);
           alter table public.parts add column item_id uuid, add foreign key (tenant_id, item_id) references public.items (tenant_id, id)""",
        ("tenant-foreign-key", "public.parts"),
    ),
    "a unique value across tenants": (
        "create unique index items_code on public.items (code)",
        "create unique index items_code on public.items (tenant_id, code)",
        ("tenant-unique", "public.items"),
    ),
    "a policy that compares a column with itself": (
        "alter policy items_all on public.items using (tenant_id = tenant_id)",
        "select 1",
        ("rls-more", "public.items"),
    ),
    "rows may be moved to another tenant": (
        "alter policy items_all on public.items with check (true)",
        "select 1",
        ("rls-given-away", "public.items"),
    ),
    "a member may join any tenant": (
        "create policy profiles_move on public.profiles for update to authenticated using (id = (select auth.uid()))",
        """create policy profiles_move on public.profiles for update to authenticated using (id = (select auth.uid()))
             with check (id = (select auth.uid()) and tenant_id = (select public.my_tenant()))""",
        ("rls-given-away", "public.profiles"),
    ),
    "anybody may sign up into any tenant": (
        "create policy profiles_join on public.profiles for insert to authenticated with check (id = (select auth.uid()))",
        "create policy profiles_join on public.profiles for insert to authenticated with check (id = (select auth.uid()) and false)",
        ("rls-given-away", "public.profiles"),
    ),
}


@pytest.mark.parametrize("name", HOLES)
def test_a_way_around_is_found_and_its_twin_is_not_accused(
    make_world: MakeWorld, name: str
) -> None:
    hole, twin, expected = HOLES[name]
    found = [(each.rule, each.location.object) for each in findings(make_world(ITEMS, hole), inferred=True)
             if each.status is Status.FAILED and each.location]  # fmt: skip
    spared = [(each.rule, each.location and each.location.object)
              for each in findings(make_world(ITEMS, twin), inferred=True)
              if each.status is Status.FAILED]  # fmt: skip

    assert expected in found
    assert [] == spared


def test_names_are_data(make_world: MakeWorld) -> None:
    world = make_world(
        """
create table public."Te""nants; drop" ("Id" bigint generated always as identity primary key, "na'me" text);
create table public."We""ird; --$opsctl$" ("Id" bigint generated always as identity primary key,
  "tenant_id" bigint not null references public."Te""nants; drop" ("Id"), "user" uuid references auth.users (id), "or'der" text);
alter table public."We""ird; --$opsctl$" enable row level security;
create policy "po""l'icy; $opsctl$" on public."We""ird; --$opsctl$" for select to authenticated using ("user" = auth.uid());
"""
    )
    found = findings(world, inferred=True)

    assert {'public.We"ird; --$opsctl$', 'public.Te"nants; drop'} == set(world.rows)
    assert 4 == len(world.rows['public.We"ird; --$opsctl$'])
    assert ("rls-more", 'public.Te"nants; drop') in {
        (each.rule, each.location.object if each.location else "") for each in found
    }


def test_what_a_check_wants_is_found_or_said(make_world: MakeWorld) -> None:
    world = make_world(
        TENANTS
        + """
create table public.shops (id uuid primary key default gen_random_uuid(), tenant_id uuid not null references public.tenants (id),
  country char(2) not null check (country = upper(country)), url text not null check (url like 'https://%'),
  phone text not null check (phone ~ '^[+][0-9]{8,15}$'), size int not null check (size between 50 and 200),
  slug varchar(8) not null unique, kind text not null check (kind in ('a', 'b')));
create table public.odd (id uuid primary key default gen_random_uuid(), tenant_id uuid not null references public.tenants (id),
  code text not null check (md5(code) = '0123456789abcdef0123456789abcdef'));
"""
    )
    found = findings(world, inferred=True)

    assert {"public.odd"} == set(world.not_made) - {"public.shops"}
    assert [("rls-unknown", "public.odd")] == [
        (each.rule, each.location.object if each.location else "")
        for each in found
        if each.status is Status.UNKNOWN and each.location and each.location.object == "public.odd"
    ]


def test_a_trigger_that_reaches_outside_is_left_out_and_named(make_world: MakeWorld) -> None:
    world = make_world(
        TENANTS
        + """
create function public.tell() returns trigger language plpgsql as $$ begin perform pg_notify('x', new.id::text); return new; end $$;
create trigger tell after insert or update on public.profiles for each row execute function public.tell();
create function public.stamp() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger stamp before update on public.profiles for each row execute function public.stamp();
"""
    )
    row = world.connection.execute(
        "SELECT array_agg(tgname::text) FROM pg_trigger WHERE tgenabled = 'D' AND NOT tgisinternal"
    ).fetchone()

    assert ("tell on public.profiles",) == world.silenced
    assert (["tell"],) == row


def test_nothing_is_left_behind(make_world: MakeWorld) -> None:
    world = make_world(ITEMS)

    def digest() -> object:
        return world.connection.execute(
            "SELECT (SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM public.items t), "
            "(SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM public.profiles t), "
            "(SELECT md5(string_agg(p::text, ',' ORDER BY p::text)) FROM pg_policy p), "
            "(SELECT count(*) FROM pg_class), current_user"
        ).fetchone()

    before = digest()
    findings(world, inferred=True)

    assert before == digest()
