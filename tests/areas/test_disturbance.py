"""A database under pgbench's load is not disturbed by the checks that look at it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from areas.rls_smoke.designs import TENANTS
from opsctl.adapters.postgres_programs import providers
from opsctl.adapters.scratch import ScratchServer, scratch_server
from opsctl.cli.root import run

LONGEST_S = 0.1
"""What a lock stronger than ACCESS SHARE may last; the bar of the project."""
ORDERS = """
insert into auth.users (id, email)
  select gen_random_uuid(), 'u' || n || '@example.com' from generate_series(1, 40) n;
insert into public.tenants (name) select 't' || n from generate_series(1, 4) n;
insert into public.profiles (id, tenant_id, full_name)
  select u.id, t.id, 'x' from (select id, row_number() over () as n from auth.users) u
  join (select id, row_number() over () as n from public.tenants) t on t.n = u.n % 4 + 1;
create table public.orders (id bigint primary key, tenant_id uuid not null, total int, note text);
insert into public.orders
  select n, (select id from public.tenants order by id offset n % 4 limit 1), n, repeat('x', 40)
  from generate_series(1, 20000) n;
alter table public.orders enable row level security;
create policy orders_read on public.orders for select to authenticated
  using (tenant_id = (select public.my_tenant()));
vacuum analyze;
"""
LOAD = """
\\set id random(1, 20000)
update public.orders set total = total + 1 where id = :id;
select count(*) from public.orders where total = :id;
select id from public.orders where id = :id for update;
delete from public.orders where id = -:id;
"""


@dataclass
class Watch:
    """Samples pg_locks for as long as its block lasts."""

    url: str
    held: dict[tuple[str, ...], list[float]] = field(default_factory=dict)
    """(program, transaction, table, mode) -> first and last moment, of the server's clock."""
    waited_for: set[str] = field(default_factory=set)
    """Programs for which pgbench waited."""
    looks: int = 0

    def __enter__(self) -> Watch:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        with psycopg.connect(self.url, autocommit=True, application_name="watch") as connection:
            while not self._stop.wait(0.001):
                for *key, now in connection.execute(_LOCKS.encode()):
                    self.held.setdefault(tuple(key), [now, now])[1] = now
                if self.looks % 10 == 0:
                    self.waited_for |= {row[0] for row in connection.execute(_WAITING.encode())}
                self.looks += 1

    @property
    def modes(self) -> set[str]:
        """What was held at all."""
        return {mode for *_, mode in self.held}

    @property
    def too_long(self) -> dict[tuple[str, ...], float]:
        """What was stronger than ACCESS SHARE and held for too long."""
        return {
            key: last - first
            for key, (first, last) in self.held.items()
            if key[-1] != "AccessShareLock" and last - first > LONGEST_S
        }


_LOCKS = """
SELECT a.application_name, a.pid || ' ' || a.xact_start, l.relation::regclass::text, l.mode,
  extract(epoch from clock_timestamp())::float8
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.granted AND a.application_name NOT IN ('pgbench', 'watch')
  AND a.datname = current_database() AND n.nspname IN ('public', 'auth')
"""
_WAITING = """
SELECT o.application_name FROM pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) b (pid)
JOIN pg_stat_activity o ON o.pid = b.pid
WHERE w.application_name = 'pgbench' AND o.application_name <> 'pgbench'
"""


@pytest.fixture(scope="module")
def busy_server() -> Iterator[ScratchServer]:
    """A server that keeps statistics of statements."""
    with scratch_server(extensions=["pg_stat_statements"]) as server:
        server.stop()
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("shared_preload_libraries = 'pg_stat_statements'\n")
        server.start()
        yield server


@pytest.fixture
def busy_url(busy_server: ScratchServer, tmp_path: Path, soak: bool) -> Iterator[str]:
    """A database on which two clients of pgbench work."""
    baseline = Path(__file__).parents[2] / "src/opsctl/sandbox/baseline.sql"
    url = busy_server.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create extension if not exists pg_stat_statements")
        for script in (baseline.read_text(), TENANTS, *ORDERS.split(";\n")):
            if script.strip():
                connection.execute(script.encode())
        # What made the database costs more than the load's statements, which are to be planned.
        connection.execute("select pg_stat_statements_reset()")
    (tmp_path / "load.sql").write_text(LOAD)
    program = next(p for each in providers() if (p := each.program("pgbench")).exists())
    argv = [str(program), "-n", "-c", "2", "-T", "600", "-f", str(tmp_path / "load.sql"), url]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as load:
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                while not connection.execute(
                    "select 1 from pg_stat_statements s join pg_database d on d.oid = s.dbid "
                    "where d.datname = current_database() and calls > 20 and "
                    "(query like 'update public.orders%' or query like '%for update') "
                    "having count(*) = 2"
                ).fetchall():
                    assert load.poll() is None, load.stderr and load.stderr.read()
            yield url
            assert load.poll() is None, load.stderr and load.stderr.read()
        finally:
            load.terminate()


@pytest.mark.parametrize(
    "words",
    [
        "rls-smoke check",
        "rls-smoke check --live",
        "rls-smoke check --live-writes busy",
        "slowquery check --since start --explain --top 50",
    ],
)
def test_no_strong_lock_is_held_for_long(
    busy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, soak: bool
) -> None:
    (tmp_path / "opsctl.yaml").write_text(
        "environments:\n  busy:\n    database: {url: 'env:BUSY_URL'}\n"
    )
    monkeypatch.setenv("BUSY_URL", busy_url)
    monkeypatch.chdir(tmp_path)
    with Watch(busy_url) as watch:
        for number in range(8 if soak else 1):
            out = tmp_path / f"{number}.json"
            code = run([*words.split(), "--format", "json", "--output", str(out)])
            document = json.loads(out.read_text())
            assert document["error"] is None, (code, document)

    assert {} == watch.too_long
    assert set() == watch.waited_for
    if "--explain" in words:
        # Most plans are made between two looks; so what was planned shows what was locked.
        planned = [each["plan"] for each in document["data"]["plans"] if each["plan"]]
        assert {"ModifyTable", "LockRows"} <= {each["Node Type"] for each in planned}
    else:
        assert "AccessShareLock" in watch.modes, watch.looks


def test_the_watch_sees_a_lock_that_lasts(busy_url: str) -> None:
    with (
        Watch(busy_url) as watch,
        psycopg.connect(busy_url, application_name="rude") as connection,
    ):
        connection.execute("lock table public.profiles in share mode; select pg_sleep(0.3)")

    assert [("rude", "profiles", "ShareLock")] == [
        (name, table, mode) for name, _, table, mode in watch.too_long
    ]
