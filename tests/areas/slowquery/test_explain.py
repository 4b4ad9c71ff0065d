"""Plans without running anything, remarks on them, and indexes that are proven or reasoned."""

from __future__ import annotations

import os
from typing import Any

import psycopg
import pytest

from opsctl.adapters.explain import explain
from opsctl.adapters.postgres import connect
from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.statements import prepare_session
from opsctl.areas.slowquery.plans import candidates, remarks, walk

SHOP = (
    "create table people (id int primary key, name text, town text)",
    "insert into people select n, 'person ' || n, 'town ' || n % 50"
    " from generate_series(1, 20000) n",
    "create table orders (id int primary key, person int, state text, at timestamptz,"
    " total numeric, note text)",
    "insert into orders select n, 1 + n % 20000, case when n % 100 = 0 then 'open' else 'done' end,"
    " '2026-01-01'::timestamptz + n * interval '1 min', n, repeat('x', 50)"
    " from generate_series(1, 100000) n",
    "create index on orders (at)",
    "vacuum analyze",
)


@pytest.fixture(scope="session")
def shops() -> dict[int, str]:
    """Return the name of a filled database by its server's port: made once, then copied."""
    return {}


@pytest.fixture
def shop(server: ScratchServer, make_room: Any, shops: dict[int, str]) -> Any:
    """People and their orders; some indexes are missing."""
    if server.port not in shops:
        url = server.create_database("shop")
        make_room(url).execute("create extension pg_stat_statements", *SHOP)
        shops[server.port] = "shop"
    return make_room(server.create_database(template=shops[server.port]))


def checked(shop: Any, query: str, *more: str) -> dict[str, Any]:
    shop.report("--sample", "0.2s")
    shop.execute(query)
    document: dict[str, Any] = shop.report("--explain", *more)
    return document


@pytest.mark.parametrize(
    ("query", "create"),
    [
        ("select * from orders where person = 77", "orders (person)"),
        ("select * from orders where person = 77 and total > 5", "orders (person, total)"),
        ("select * from orders where person = 7 order by total desc limit 5",
         "orders (person, total)"),
        ("select count(*) from people p join orders o on o.person = p.id where p.id = 5",
         "orders (person)"),
        ("update orders set note = 'y' where person = 9", "orders (person)"),
        ("delete from orders where person = 19000", "orders (person)"),
        ("select * from people where name = 'person 5'", "people (name)"),
    ],
)  # fmt: skip
def test_a_missing_index_is_suggested(shop: Any, query: str, create: str) -> None:
    document = checked(shop, query)

    wanted = f"create index concurrently on public.{create};"
    found = [each["create"] for each in document["data"]["indexes"]]
    assert wanted in found, document["data"]["plans"]
    assert {False} == {each["proven"] for each in document["data"]["indexes"]}
    label = [each["title"] for each in document["findings"] if each["rule"] == "missing-index"]
    assert all("reasoned, not tried" in each for each in label)


@pytest.mark.parametrize(
    "query",
    [
        "select * from orders where id = 77",
        "select * from orders where at > '2026-03-01' order by at limit 5",
        "select * from people where town = 'x' or id = 5",
        "select * from orders",
        "select * from orders where note like '%x%'",
        "select count(*) from people p join orders o on o.id = p.id",
    ],
)
def test_no_index_is_suggested_that_exists_or_cannot_help(shop: Any, query: str) -> None:
    document = checked(shop, query)

    assert [] == document["data"]["indexes"]


def test_hypopg_proves_what_it_suggests(statistics_servers: Any, make_room: Any) -> None:
    able = [each for each in statistics_servers.values() if "hypopg" in each.provider.extensions]
    if not able:
        why = "no installed PostgreSQL has hypopg: apt install postgresql-15-hypopg"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(why)
        pytest.skip(why)
    room = make_room(able[0].create_database())
    room.execute("create extension pg_stat_statements", "create extension hypopg", *SHOP)

    document = checked(room, "select * from orders where person = 77")

    (index,) = document["data"]["indexes"]
    assert index["proven"] is True
    assert index["cost_after"] < index["cost_before"] / 10
    text = room.opsctl("check", "--since", "1h", "--explain")[1]
    assert "proven: cost" in text
    room.execute(index["create"])
    assert [] == checked(room, "select * from orders where person = 78")["data"]["indexes"]
    useless = checked(room, "select * from orders where state = 'done'")
    assert [] == useless["data"]["indexes"]


def test_nothing_is_run_and_nothing_stays(room: Any) -> None:
    room.execute("create table t (n int)", "create sequence s",
                 "create function f() returns int language sql volatile as "
                 "$$ insert into t values (1) returning n $$")  # fmt: skip
    with connect(room.url) as connection:
        prepare_session(connection)
        for text in ("select f()", "insert into t values ($1)", "select nextval($1)",
                     "with w as (insert into t values (3) returning n) select * from w",
                     "delete from t where n = $1", "merge into t using t u on t.n = u.n "
                     "when matched then delete"):  # fmt: skip
            found = explain(connection, text, role="postgres", cut=False)
            assert found.plan is not None, (text, found.refused)
        prepared = connection.execute("select count(*) from pg_prepared_statements").fetchone()
    with psycopg.connect(room.url) as connection:
        row = connection.execute("select (select count(*) from t), is_called from s").fetchone()

    assert (0, False) == row
    assert (0,) == prepared


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("create table t (n int)", "CREATE is a statement without a plan"),
        ("alter role x password 'y'", "ALTER is a statement without a plan"),
        ("-- nothing", "nothing is a statement without a plan"),
        ("select 1; drop table kept", "multiple commands"),
        ("select 'a\\'; drop table kept; --'", "multiple commands"),
        ("select * from never_made", "never_made"),
        ("select $1 +", "syntax error"),
        ("select 1 -- and so on", ""),
        ("select 1 /* and so on */", ""),
        ("select now() - interval $1", ""),
        ("values ($1::int)", ""),
        ("table kept", ""),
    ],
)
def test_what_cannot_be_planned_is_said(room: Any, text: str, why: str) -> None:
    room.execute("create table kept (n int)")
    with connect(room.url) as connection:
        prepare_session(connection)
        found = explain(connection, text, role="postgres", cut=False)
        again = explain(connection, "select * from kept", role="nobody-here", cut=False)

    assert why in found.refused
    assert (found.plan is None) == bool(why)
    assert again.plan is not None
    assert "too long" in explain(connection, "select 1", role="", cut=True).refused


def test_it_is_planned_as_the_role_that_sends_it(room: Any) -> None:
    room.execute(
        "create schema app", "create table app.notes (n int, who text)",
        "insert into app.notes select n, 'x' from generate_series(1, 10) n",
        "alter table app.notes enable row level security",
        "create policy own on app.notes using (who = current_user)",
        "drop owned by clerk" if role_exists(room, "clerk") else "create role clerk",
        "grant usage on schema app to clerk", "grant select on app.notes to clerk",
        "alter role clerk set search_path = app",
    )  # fmt: skip
    room.report("--sample", "0.2s")
    room.execute("set role clerk; set search_path = app; select * from notes; reset role")

    document = room.report("--explain", "--role", "clerk")

    plan = next(each for each in document["data"]["plans"] if each["plan"] is not None)
    assert ("clerk", "app") == (plan["role"], plan["search_path"])
    assert "CURRENT_USER" in str(plan["plan"])
    room.execute("drop owned by clerk", "drop role clerk")


def role_exists(room: Any, name: str) -> bool:
    with psycopg.connect(room.url) as connection:
        return connection.execute("select from pg_roles where rolname = %s", (name,)).rowcount > 0


def test_what_stands_out_is_said(shop: Any) -> None:
    document = checked(shop, "select * from orders where person = 77")

    said = next(each["evidence"] for each in document["findings"] if each["rule"] == "plan")
    assert "reads all 100,000 rows of public.orders" in said


def test_a_misestimate_and_a_sort_on_disk_are_said(shop: Any) -> None:
    with connect(shop.url) as connection:
        prepare_session(connection)
        found = explain(connection, "select * from orders order by note, total", role="", cut=False)

    assert found.plan is not None
    said = remarks(found.plan, tables={}, work_mem_bytes=100_000, rows_per_call=5.0)
    assert any("goes to disk" in each for each in said)
    assert any("a call returned 5" in each for each in said)
    assert () == candidates(found.plan, tables={})
    assert "Seq Scan" in {node["Node Type"] for node, _ in walk(found.plan)}
