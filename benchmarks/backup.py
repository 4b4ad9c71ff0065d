"""Time opsctl's backups and restores beside pg_dump and pg_restore, in the same run.

    python benchmarks/backup.py [--megabytes 1000] [--rounds 3]

It makes a database of about that size in a scratch PostgreSQL (17 where it is installed, for
zstd), then runs each command in turn, and prints medians and their ratios. Each opsctl figure
is that of a whole process. Memory is the largest resident size of opsctl's own process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from opsctl.adapters.postgres_programs import choose_clients, providers
from opsctl.adapters.scratch import ScratchServer, scratch_server

ROWS_PER_MB = 5000
# ruff: noqa: E501 - SQL
SCHEMA = """
create extension if not exists pg_trgm;
create table users (id bigint primary key, email text not null, name text, created_at timestamptz,
                    settings jsonb not null);
create table orders (id bigint primary key, user_id bigint not null, state text, total numeric(12, 2),
                     note text, created_at timestamptz not null);
create table events (id bigint primary key, order_id bigint not null, kind text, payload jsonb,
                     at timestamptz not null);
"""
FILL = """
insert into users select n, 'person' || n || '@example.com', md5(n::text), '2026-01-01'::timestamptz
  + n * interval '1 s', jsonb_build_object('theme', n % 7, 'tags', array[n % 11, n % 13], 'bio', md5((n * 3)::text))
  from generate_series(1, {users}) n;
insert into orders select n, 1 + n % {users}, (array['new', 'paid', 'sent'])[1 + n % 3], n % 100000 / 7.0,
  md5(n::text) || ' ' || md5((n * 7)::text), '2026-01-01'::timestamptz + n * interval '2 s'
  from generate_series(1, {orders}) n;
insert into events select n, 1 + n % {orders}, 'kind ' || n % 20, jsonb_build_object('v', n % 1000, 'w', md5((n % 5000)::text)),
  '2026-01-01'::timestamptz + n * interval '1 s' from generate_series(1, {events}) n;
"""
FINISH = """
alter table orders add foreign key (user_id) references users;
alter table events add foreign key (order_id) references orders;
create index on users (email); create index on orders (user_id); create index on orders (created_at);
create index on events (order_id); create index on events (at);
create index on events using gin (payload jsonb_path_ops);
create index on users using gin (name gin_trgm_ops);
analyze;
"""


def main() -> None:
    """Make the database, run every round, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    major = 17 if any(each.major == 17 for each in providers()) else providers()[0].major
    with scratch_server(at_least=major, nearest=True) as server:
        url = make_database(server, given.megabytes)
        with tempfile.TemporaryDirectory(prefix="opsctl-bench-") as name:
            rounds = [one_round(server, url, Path(name) / str(n)) for n in range(given.rounds)]
        with psycopg.connect(url) as connection:
            size = connection.execute("select pg_database_size(current_database())").fetchone()
        report(rounds, size=size[0], server=server)


def make_database(server: ScratchServer, megabytes: int) -> str:
    url = server.create_database("bench")
    rows = megabytes * ROWS_PER_MB
    counts = {"users": rows // 10, "orders": rows // 3, "events": rows * 17 // 30}
    with psycopg.connect(url, autocommit=True) as connection:
        for script in (SCHEMA, FILL.format(**counts), FINISH):
            connection.execute(script)
    return url


def one_round(server: ScratchServer, url: str, folder: Path) -> dict[str, float]:
    """Return seconds by what was done, and megabytes of memory."""
    folder.mkdir()
    clients = choose_clients(at_least=server.provider.major, likes=("zstd",))
    compress = "zstd" if "zstd" not in clients.lacks else "gzip"
    dump, restore, psql = (str(clients.program(each)) for each in ("pg_dump", "pg_restore", "psql"))
    settings = folder / "opsctl.yaml"
    settings.write_text(
        "environments:\n  bench:\n    database:\n      url: env:BENCH_URL\n"
        "    limits:\n      recovery_time_s: 86400\n"
    )
    os.environ["BENCH_URL"] = url
    opsctl = [sys.executable, "-m", "opsctl"]
    took: dict[str, float] = {}

    took["pg_dump -Fd -j2 -Z zstd"], _ = timed(
        [dump, "-Fd", "-j2", "-Z", compress, "-f", str(folder / "bare"), url])  # fmt: skip
    took["create, all of it"], took["create, memory MB"] = timed(
        [*opsctl, "backup", "create", "-q", "--format", "json", "--output", "made.json"], folder)  # fmt: skip
    made = json.loads((folder / "made.json").read_text())["data"]
    took["create, the dump"] = made["dump_s"]
    took["create, the hashes"] = made["hash_s"]

    # pg_restore and opsctl into the same server, each into a new database.
    bare = server.create_database("bare")
    took["pg_restore -j2"], _ = timed([restore, "-j2", "-d", bare, str(folder / "bare")])
    server.drop_database("bare")
    took["verify, all of it"], took["verify, memory MB"] = timed(
        [*opsctl, "backup", "verify", "-q", "--format", "json", "--output", "verified.json"], folder)  # fmt: skip
    proof = json.loads((folder / "verified.json").read_text())["data"]["verifications"][0]
    took["verify, the restore"] = proof["restore_s"]
    took["restore db, all of it"], took["restore db, memory MB"] = timed(
        [*opsctl, "restore", "fill", made["backup"], "--into", "filled", "--token", "abcdef", "-q"],
        folder,
    )
    server.drop_database("filled")

    # The seed: a plain script, and psql.
    plain = folder / "plain.sql"
    subprocess.run([dump, "-f", str(plain), url], check=True)
    seed = server.create_database("seed")
    took["psql < plain"], _ = timed([psql, "-q", "-o", "/dev/null", "-f", str(plain), "-d", seed])
    server.drop_database("seed")
    shutil.rmtree(folder)
    return took


def timed(argv: list[str], cwd: Path | None = None) -> tuple[float, float]:
    """Return the seconds a program took and the megabytes it held, without its children."""
    began = time.perf_counter()
    process = subprocess.Popen(argv, cwd=cwd)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv[0]} ended with {process.returncode}")
    held = usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)
    return time.perf_counter() - began, held


def report(rounds: list[dict[str, float]], *, size: int, server: ScratchServer) -> None:
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    version = server.provider.version
    print(f"PostgreSQL {version}, {size / 1e6:.0f} MB, {len(rounds)} rounds, medians\n")
    for name, value in medians.items():
        print(f"  {name:<26} {value:8.1f}" + (" MB" if "memory" in name else " s"))
    pairs = (
        ("create, the dump", "pg_dump -Fd -j2 -Z zstd", 1.10),
        ("create, all of it", "pg_dump -Fd -j2 -Z zstd", 2.0),
        ("verify, the restore", "pg_restore -j2", 1.10),
        ("verify, all of it", "pg_restore -j2", 1.3),
    )
    print()
    for one, other, bar in pairs:
        print(f"  {one} / {other}: {medians[one] / medians[other]:.2f} (bar {bar})")
    seed = medians["psql < plain"] / medians["verify, the restore"]
    print(f"  psql < plain / verify, the restore: {seed:.2f} (bar 2 at least)")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
