"""slowquery on many statements, beside psql fetching the same rows and `supabase inspect`.

    python benchmarks/slowquery.py [--statements N] [--rounds N] [--supabase PROGRAM]

Each round runs every statement, then `opsctl slowquery check --since last` as a process of its
own, the peers, and the check within this process: there the processor time of our own is told
from waiting for the server. Start-up is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from opsctl.adapters.scratch import ScratchServer, scratch_server
from opsctl.areas.slowquery.checks import judge
from opsctl.areas.slowquery.facts import Asked, gather
from opsctl.core.call import Call
from opsctl.core.settings import Settings
from opsctl.render.report import render_report

BAR_MS = 300.0
SAME_ROWS = (
    "SELECT s.*, r.rolname FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid "
    "WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def main() -> int:
    """Measure and print; return 1 where the bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--statements", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--supabase", type=Path)
    words = parser.parse_args()
    with scratch_server(prefer="system") as server, tempfile.TemporaryDirectory() as folder:
        url = _database(server)
        root = Path(folder)
        settings = {"environments": {"bench": {"database": {"url": "env:BENCH_DATABASE_URL"}}}}
        os.environ["BENCH_DATABASE_URL"] = url
        (root / "opsctl.yaml").write_text(json.dumps(settings), encoding="utf-8")
        loaded = Settings.model_validate_json(json.dumps(settings))
        call = Call(loaded, root, "bench", lambda _: None)
        took = _rounds(
            call,
            url,
            words.statements,
            words.rounds,
            server.provider.program("psql"),
            words.supabase,
        )
        print(f"PostgreSQL {server.provider.version}, {words.statements:,} statements", end="")
        print(f" of one window, {words.rounds} rounds, medians in ms\n")
    print("| what | ms |\n|---|---|")
    for name, each in took.items():
        print(f"| {name} | {statistics.median(each):.0f} |")
    own, whole = (statistics.median(took[name]) for name in (_OWN, _WHOLE))
    for name in (_PSQL, _SUPABASE):
        if name in took:
            print(f"\nratio to {name}: {whole / statistics.median(took[name]):.2f}")
    print(f"\nour own: {own:.0f} ms (bar {BAR_MS:.0f})")
    return int(own > BAR_MS)


_OWN = "opsctl, processor time of our own: gather, judge, render"
_SERVER = "opsctl, waiting for the server"
_WHOLE = "`opsctl slowquery check`, the process"
_PSQL = "`psql`, the same rows, the process"
_SUPABASE = "`supabase inspect db outliers`, the process"


def _rounds(
    call: Call, url: str, count: int, rounds: int, psql: Path, supabase: Path | None
) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {_OWN: [], _SERVER: [], _WHOLE: [], _PSQL: []}
    _run(url, count)
    gather(call, Asked(since="start"))  # the snapshot that the first round begins at
    for _ in range(rounds):
        _run(url, count)
        busy = _busy_ms()
        facts = gather(call, Asked(since="last"))
        report = judge(facts, environment="bench", limits=call.environment.limits, top=20)
        render_report(report, "json")
        took[_OWN].append(_busy_ms() - busy)
        took[_SERVER].append(facts.asked_ms)
        if len(facts.window.spent) < count:
            raise SystemExit(f"only {len(facts.window.spent)} statements were in the window")
        _run(url, count)
        argv = [sys.executable, "-m", "opsctl", "slowquery", "check", "--since", "last"]
        took[_WHOLE].append(_process_ms(argv, call.root, codes=(0, 1, 3)))
        argv = [str(psql), "-XqAt", "-d", url, "-c", SAME_ROWS]
        took[_PSQL].append(_process_ms(argv, call.root))
        if supabase is not None:
            argv = [str(supabase), "inspect", "db", "outliers", f"--remote={url}"]
            argv += ["--output-format", "json"]
            took.setdefault(_SUPABASE, []).append(_process_ms(argv, call.root))
    return took


def _busy_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


def _process_ms(argv: Sequence[str], root: Path, *, codes: tuple[int, ...] = (0,)) -> float:
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    took = (time.perf_counter() - began) * 1000
    if done.returncode not in codes:
        raise SystemExit(f"{argv[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return took


def _database(server: ScratchServer) -> str:
    server.stop()
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("shared_preload_libraries = 'pg_stat_statements'\n")
        file.write("pg_stat_statements.max = 20000\n")
    server.start()
    url = server.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA extensions")
        connection.execute("CREATE EXTENSION pg_stat_statements SCHEMA extensions")
        name = url.rpartition("/")[2]
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = public, extensions'.encode())
        connection.execute("CREATE TABLE orders (id int, customer_id int, state text, note text)")
    return url


def _run(url: str, count: int) -> None:
    """Run statements of which the server tells each from the others by its constants' types."""
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(count):
            columns = ", ".join("1" if number >> bit & 1 else "'a'" for bit in range(14))
            connection.execute(
                f"SELECT {columns}, o.id, o.customer_id, o.state, o.note FROM orders AS o "
                f"WHERE o.customer_id = {number} AND o.state <> 'done' "
                f"ORDER BY o.id DESC LIMIT 20".encode()
            )


if __name__ == "__main__":
    sys.exit(main())
