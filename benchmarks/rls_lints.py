"""Time the catalog's lints on a wide schema, beside Supabase's advisors and pgrls.

    python benchmarks/rls_lints.py --tables 1000 --rounds 5 \
        --advisors node_modules/.bin/supabase --pgrls venv/bin/pgrls
"""
# ruff: noqa: E501 - SQL

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from opsctl.adapters import postgres
from opsctl.adapters.scratch import ScratchServer, scratch_server
from opsctl.areas.rls_smoke.lints import lint

BAR_S = 2.0


def main() -> int:
    """Return 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", choices=("embedded", "system"), default="system")
    parser.add_argument("--advisors", type=Path, help="the supabase program")
    parser.add_argument("--pgrls", type=Path, help="the pgrls program")
    options = parser.parse_args()
    with scratch_server(prefer=options.server) as server, tempfile.TemporaryDirectory() as folder:
        url = _schema(server, options.tables)
        (Path(folder) / "opsctl.yaml").write_text(
            "environments: {bench: {database: {url: 'env:BENCH_URL'}}}\n"
        )
        spent: list[float] = []
        tools: dict[str, Callable[[], int]] = {
            "all lints, in process": lambda: _lint(url, spent),
            "opsctl rls-smoke lint": lambda: _opsctl(Path(folder), url),
        }
        if options.advisors:
            tools["supabase db advisors"] = lambda: _advisors(
                options.advisors.resolve(), url, folder
            )
        if options.pgrls:
            tools["pgrls lint"] = lambda: _pgrls(options.pgrls.resolve(), url, folder)
        took: dict[str, list[float]] = {name: [] for name in tools}
        found: dict[str, int] = {}
        for _ in range(options.rounds):
            for name, tool in tools.items():
                began = time.perf_counter()
                found[name] = tool()
                took[name].append(time.perf_counter() - began)
    print(
        f"{options.tables} tables, PostgreSQL {server.provider.version}, {options.rounds} rounds\n"
    )
    print(
        "| what | median s | fastest | slowest | findings | ours to it |\n|---|---|---|---|---|---|"
    )
    medians = {name: statistics.median(times) for name, times in took.items()}
    ours = medians["opsctl rls-smoke lint"]
    for name, times in took.items():
        ratio = (
            f"{ours / medians[name]:.2f}" if name in ("supabase db advisors", "pgrls lint") else "-"
        )
        print(
            f"| `{name}` | {medians[name]:.2f} | {min(times):.2f} | {max(times):.2f} | {found[name]} | {ratio} |"
        )
    print(f"\nProcessor of all lints, ours and the server's: {statistics.median(spent):.2f} s")
    return int(options.tables <= 1000 and medians["all lints, in process"] > BAR_S)


def _schema(server: ScratchServer, tables: int) -> str:
    """Make tables with an owner, a tenant, four policies, keys, views and functions."""
    url = server.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            (importlib.resources.files("opsctl.sandbox") / "baseline.sql").read_bytes()
        )
        # What the advisors ask for the exposed schemas.
        name = url.rpartition("/")[2]
        connection.execute(f"ALTER DATABASE \"{name}\" SET pgrst.db_schemas = 'public'".encode())
        connection.execute(b"""
create table public.tenants (id uuid primary key default gen_random_uuid(), name text);
create table public.members (tenant_id uuid references public.tenants, user_id uuid references auth.users, primary key (user_id, tenant_id));
alter table public.tenants enable row level security; alter table public.members enable row level security;
create policy m on public.members for select to authenticated using (user_id = (select auth.uid()));
""")
        for number in range(tables - 2):
            t = f"public.t{number}"
            uid = "auth.uid()" if number % 5 == 0 else "(select auth.uid())"
            script = f"""
create table {t} (id bigint generated always as identity primary key, tenant_id uuid not null references public.tenants,
  user_id uuid not null references auth.users, title text, body text, amount numeric, tags text[], meta jsonb,
  created_at timestamptz default now(), updated_at timestamptz);
create index on {t} (user_id);
create policy r on {t} for select to authenticated using (exists (select 1 from public.members m where m.tenant_id = t{number}.tenant_id and m.user_id = (select auth.uid())));
create policy i on {t} for insert to authenticated with check (user_id = {uid});
create policy u on {t} for update to authenticated using (user_id = {uid}) with check (user_id = {uid});
create policy d on {t} for delete to authenticated using (user_id = {uid});
"""
            if number % 20:
                script += f"alter table {t} enable row level security;"
            if number % 3:
                script += f"create index on {t} (tenant_id);"
            if number % 10 == 0:
                script += f"create view public.v{number} {'with (security_invoker = on)' if number % 20 else ''} as select id, title from {t};"
                script += f"create function public.f{number}() returns bigint language sql stable security definer as 'select count(*) from {t}';"
            connection.execute(script.encode())
    return url


def _lint(url: str, spent: list[float]) -> int:
    """Lint in process, and note the seconds of processor that we and the server took."""
    with postgres.connect(url) as connection:
        stat = Path(f"/proc/{connection.info.backend_pid}/stat")
        before = time.process_time() + _ticks(stat)
        found = len(lint(connection, schemas=("public",)))
        spent.append(time.process_time() + _ticks(stat) - before)
    return found


def _ticks(stat: Path) -> float:
    """Return the seconds that a process has run, where Linux tells."""
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _opsctl(folder: Path, url: str) -> int:
    argv = [sys.executable, "-m", "opsctl", "rls-smoke", "lint", "--format", "json"]
    done = subprocess.run(
        argv, cwd=folder, env={**os.environ, "BENCH_URL": url}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return len(json.loads(done.stdout)["findings"])


def _advisors(program: Path, url: str, folder: str) -> int:
    argv = [
        str(program),
        "db",
        "advisors",
        f"--remote={url}",
        "--output-format",
        "json",
        "--level",
        "info",
    ]
    done = subprocess.run(
        argv, cwd=folder, env={**os.environ, "SUPABASE_TELEMETRY_DISABLED": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    document = json.loads(done.stdout)
    lists = (
        [document]
        if isinstance(document, list)
        else [v for v in document.values() if isinstance(v, list)]
    )
    return len(lists[0])


def _pgrls(program: Path, url: str, folder: str) -> int:
    argv = [str(program), "lint", "--database-url", url, "--format", "json"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    return len(json.loads(done.stdout)["violations"])


if __name__ == "__main__":
    sys.exit(main())
