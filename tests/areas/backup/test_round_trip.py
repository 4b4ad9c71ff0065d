"""A backup holds everything: a zoo of schemas goes out and comes back, on three versions."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters import restores
from opsctl.adapters.postgres_programs import providers
from opsctl.adapters.scratch import ScratchServer, scratch_server

ZOO = Path(__file__).with_name("zoo.sql").read_text(encoding="utf-8")
VERSIONS = sorted({each.major for each in providers()})


def statements(major: int) -> Iterator[str]:
    """Yield the zoo's statements that a server knows."""
    gathered: list[str] = []
    body = False
    for line in ZOO.splitlines():
        gathered.append(line)
        if "$body$" in line:
            body = not body
        if line.endswith(";") and not body:
            yield "\n".join(gathered)
            gathered = []
    if major < 17:  # the wheels are built without libxml
        yield "UPDATE public.everything SET page = '<a b=\"c\">&amp;</a>' WHERE id < 50"
    if major >= 18:
        yield "CREATE TABLE public.virtual (a int, b int GENERATED ALWAYS AS (a + 1) VIRTUAL)"
        yield "INSERT INTO public.virtual VALUES (1), (NULL)"


def fill(url: str, major: int) -> None:
    baseline = (importlib.resources.files("opsctl.sandbox") / "baseline.sql").read_bytes()
    columns = ", ".join(f"column_{n} int DEFAULT {n}" for n in range(100))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(baseline)
        for statement in statements(major):
            connection.execute(statement.encode())
        connection.execute(f"create table public.wide ({columns})".encode())
        connection.execute(b"insert into public.wide select from generate_series(1, 50)")


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[ScratchServer]:
    """A server of each version that is installed."""
    with scratch_server(at_least=request.param, nearest=True) as server:
        yield server


@pytest.fixture
def zoo(server: ScratchServer, tmp_path: Path, make_project: Any) -> Any:
    """A project whose database holds the zoo."""
    url = server.create_database()
    fill(url, server.provider.major)
    return make_project(tmp_path, url)


def test_the_zoo_comes_back_whole(zoo: Any, server: ScratchServer, rows_of: Any) -> None:
    before = rows_of(zoo.url)
    backup = zoo.back_up()

    proven = zoo.opsctl("backup", "verify", backup)

    assert 0 == proven.exit, proven.stdout
    result = proven.json["data"]["verifications"][0]
    assert ([], []) == (result["differences"], result["unproven"])
    manifest = zoo.manifest(backup)
    url = server.create_database()
    with zoo.opened(backup) as folder:
        complaints = restores.fill(folder, url, manifest, jobs=2, say=lambda line: None)
    assert () == complaints
    assert before == rows_of(url)


def test_a_thousand_tables_come_back(project: Any) -> None:
    project.execute(
        "do $$ begin for n in 1..1000 loop "
        "execute format('create table public.t%s (id int primary key, t text)', n);"
        "execute format('insert into public.t%s values (1, %L)', n, n); end loop; end $$"
    )

    made = project.opsctl("backup", "create", "--verify")

    assert 0 == made.exit, made.stdout[-2000:]
    assert 1000 <= made.json["data"]["tables"]


MUTATIONS = {
    "a row changed": "update only public.parent set name = 'q' where id = 1",
    "a row deleted": "delete from public.tree where id = 3",
    "a row doubled": "insert into public.unlogged values (1)",
    "two values swapped": "update public.sales_2025_eu set id = case id when 3 then 6 else 3 end "
    "where id in (3, 6)",
    "null made empty": "update public.everything set tags = array['', '', 'NULL'] where id = 5",
    "a sequence set back": "select setval('public.everything_id_seq', 8)",
    "a policy dropped": "drop policy read_all on public.everything",
    "a policy widened": 'alter policy "a policy" on public.everything using (true)',
    "row security off": "alter table public.everything disable row level security",
    "a function changed": "create or replace function public.odd(x text default '--') returns "
    "text language sql immutable as $$ select x $$",
    "an index dropped": "drop index public.everything_words",
    "a constraint dropped": "alter table public.ring_a drop constraint to_b",
    "a grant taken": "revoke all on public.parent from authenticated",
    "a column grant taken": "revoke select (how) on public.everything from anon",
    "a trigger dropped": "drop trigger audited on public.everything",
    "a trigger woken": "alter table public.everything enable trigger asleep",
    "a comment changed": "comment on column public.everything.how is 'other'",
    "a default dropped": "alter table public.dropped alter column c drop default",
    "not null dropped": "alter table public.sales alter column at drop not null",
    "a view changed": "create or replace view public.seen as select id, "
    "public.odd(german) as odd from public.everything",
    "an enum extended": "alter type public.mood add value 'new'",
    "a table too many": "create table public.stranger (a int)",
    "a table dropped": "drop table public.dropped",
    "a rule dropped": "drop rule no_deletes on public.parent",
    "a large object changed": "select lo_put(700001, 3, '\\x01')",
    "a large object gone": "select lo_unlink(700002)",
    "a publication shrunk": "alter publication some_tables drop table public.tree",
    "statistics dropped": "drop statistics public.linked",
    "an event trigger woken": "alter event trigger watch_ddl enable",
}


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory, postgres: Any, make_project: Any) -> Any:
    """A backup of the zoo, and a database that it was restored into."""
    url = postgres.create_database()
    fill(url, postgres.provider.major)
    project = make_project(tmp_path_factory.mktemp("restored"), url)
    project.backup = project.back_up()
    copy = postgres.create_database("zoo_restored")
    with project.opened(project.backup) as folder:
        manifest = project.manifest(project.backup)
        assert () == restores.fill(folder, copy, manifest, jobs=2, say=lambda line: None)
    return project


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_difference_is_noticed(restored: Any, postgres: ScratchServer, name: str) -> None:
    url = postgres.create_database(template="zoo_restored")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MUTATIONS[name].encode())

    with restored.opened(restored.backup) as folder:
        compared = restores.compare(
            folder, url, restored.manifest(restored.backup), jobs=2, say=lambda line: None
        )

    assert 1 <= len(compared.differences)
    assert () == compared.unproven


def test_nothing_is_noticed_where_nothing_differs(restored: Any, postgres: ScratchServer) -> None:
    url = postgres.create_database(template="zoo_restored")

    with restored.opened(restored.backup) as folder:
        compared = restores.compare(
            folder, url, restored.manifest(restored.backup), jobs=2, say=lambda line: None
        )

    assert ((), ()) == (compared.differences, compared.unproven)


def test_the_settings_own_questions_are_asked(project: Any) -> None:
    project.execute("create table public.t as select 1 as a")
    project.settings(
        "    backup:\n      checks:\n"
        "        - {name: one row, query: select count(*) from public.t, expect: '1'}\n"
        "        - {name: two rows, query: select count(*) from public.t, expect: '2'}\n"
        "        - {name: no such table, query: select 1 from public.nothing}\n"
    )

    made = project.opsctl("backup", "create", "--verify")

    assert 1 == made.exit
    titles = [each["title"] for each in made.json["findings"] if each["status"] == "failed"]
    wrong = [
        "check 'two rows' answered '1' instead of '2'",
        "check 'no such table' failed: relation \"public.nothing\" does not exist",
    ]
    assert wrong == titles


def test_a_missing_extension_is_named_and_its_columns_are_compared_as_text(
    project: Any, tmp_path: Path
) -> None:
    """The newest server here lacks pgcrypto; one that has it makes the backup."""
    having = [each for each in providers() if "pgcrypto" in each.extensions and each.major >= 17]
    lacking = [each for each in providers() if "vector" not in each.extensions]
    with scratch_server(at_least=18, nearest=True) as server:
        url = server.create_database()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                b"create extension vector; create table t (id int primary key, e vector(3));"
                b"insert into t select n, array[n, 2, 3]::real[]::vector "
                b"from generate_series(1, 9) n;"
                b"create index t_e on t using hnsw (e vector_l2_ops)"
            )
        project.url = os.environ["OPSCTL_TEST_DATABASE"] = url
        backup = project.back_up()
    manifest = project.manifest(backup)
    assert (True, True) == (bool(having), bool(lacking))
    with scratch_server(at_least=18, nearest=True) as server, project.opened(backup) as folder:
        url = server.create_database()
        missing = manifest.extensions
        complaints = restores.fill(
            folder, url, manifest, jobs=2, missing=missing, say=lambda line: None
        )
        compared = restores.compare(
            folder, url, manifest, jobs=2, complaints=complaints, missing=missing,
            say=lambda line: None,
        )  # fmt: skip

        assert () == compared.differences
        assert any("extension vector" in text for text in compared.unproven)
        assert any("t_e" in text for text in compared.unproven)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(b"update t set e = '[9,9,9]' where id = 1")
        changed = restores.compare(
            folder, url, manifest, jobs=2, complaints=complaints, missing=missing,
            say=lambda line: None,
        )  # fmt: skip
        assert ("table public.t has 9 rows, and their content differs",) == changed.differences
