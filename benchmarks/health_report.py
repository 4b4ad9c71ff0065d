"""How long `healthcheck report` takes, beside SQLite and DuckDB working on the same samples.

    python benchmarks/health_report.py [ROUNDS] [--small] [--priority] [--keep DIR]

Two histories are planted through the store itself, with a failure in a thousand: 500 endpoints
over 30 days and 20 over a year, a sample every five minutes. Each figure is that of a whole
process; each round runs all of them. The peers compute only uptime and an exact P95 for each
endpoint: SQLite over one row a sample with an index that suits the question, DuckDB (where it is
installed) over its own columns. `--small` is for trying the benchmark itself. `--priority`
gives what is measured real-time priority (as root, on Linux), for a machine that others use.
`--keep` plants once, and measures what is there the next time.
"""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import platform
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import opsctl
from opsctl.adapters.health_history import HealthHistory
from opsctl.core.sample import Sample

DAY_S = 86_400
EVERY_S = 300
BARS_S = {"500 endpoints, 30 days": 2.0, "20 endpoints, a year": 1.0}
"""What a report may take, in seconds."""
_SQLITE = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
for name, ok, count in c.execute("SELECT name, avg(ok), count(took) FROM sample GROUP BY name"):
    c.execute("SELECT took FROM sample WHERE name = ? AND took IS NOT NULL ORDER BY took "
              "LIMIT 1 OFFSET ?", (name, count * 95 // 100)).fetchone()
"""
_DUCKDB = """
import duckdb, sys
c = duckdb.connect(sys.argv[1], read_only=True)
rows = c.execute("SELECT name, avg(ok), quantile_disc(took, 0.95) FROM sample "
                 "GROUP BY name").fetchall()
assert rows
"""


def main() -> int:
    """Plant, measure, print Markdown tables; return 1 where a report takes longer than it may."""
    words = sys.argv[1:]
    small = "--small" in words
    prefix = ["chrt", "-r", "20"] if "--priority" in words else []
    keep = Path(words[words.index("--keep") + 1]) if "--keep" in words else None
    rounds = next((int(word) for word in words if word.isdecimal()), 5)
    compileall.compile_dir(str(Path(opsctl.__file__).parent), quiet=1)
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
          f"{os.cpu_count()} cores, {rounds} rounds; medians, in seconds.\n")  # fmt: skip
    print("| history | what | wall | of which CPU | to SQLite | bar |\n|---|---|---|---|---|---|")
    late = False
    for name, endpoints, days in (("500 endpoints, 30 days", 500, 30),
                                  ("20 endpoints, a year", 20, 365)):  # fmt: skip
        if small:
            endpoints, days = endpoints // 10, days // 5
        with tempfile.TemporaryDirectory() as folder:
            root = keep / f"{endpoints}-{days}" if keep is not None else Path(folder)
            root.mkdir(parents=True, exist_ok=True)
            sizes = sizes_of(root) if (root / "done").exists() else plant(root, endpoints, days)
            late |= measure(root, name, sizes, days=days, rounds=rounds, prefix=prefix)
            samples = endpoints * days * DAY_S // EVERY_S
            files = ", ".join(f"{file} {size / 1e6:.1f} MB" for file, size in sizes.items())
            print(f"| | {samples:,} samples: {files} | | | | |", flush=True)
    return int(late)


def measure(
    root: Path, name: str, sizes: dict[str, int], *, days: int, rounds: int, prefix: list[str]
) -> bool:
    """Print the rows of one history; return whether the report took longer than it may."""
    opsctl_argv = [sys.executable, "-m", "opsctl", "healthcheck", "report", "--since", f"{days}d"]
    commands = {
        "`healthcheck report`": opsctl_argv,
        "the same as a page": [*opsctl_argv, "--format", "html"],
        "the same as JSON": [*opsctl_argv, "--format", "json"],
        "SQLite, exact": [sys.executable, "-c", _SQLITE, "plain.db"],
    }
    if "DuckDB's" in sizes:
        commands["DuckDB, exact"] = [sys.executable, "-c", _DUCKDB, "plain.duckdb"]
    times: dict[str, list[tuple[float, float]]] = {what: [] for what in commands}
    for number in range(rounds + 1):
        for what, argv in commands.items():
            took = run([*prefix, *argv], root)
            if number:  # the first round warms the caches
                times[what].append(took)
    median = {what: tuple(map(statistics.median, zip(*found, strict=True)))
              for what, found in times.items()}  # fmt: skip
    for what, (wall_s, cpu_s) in median.items():
        ratio = cpu_s / median["SQLite, exact"][1]
        bar = f"{BARS_S[name]:g}" if what == "`healthcheck report`" else "-"
        print(f"| {name} | {what} | {wall_s:.2f} | {cpu_s:.2f} | {ratio:.2f} | {bar} |")
    return median["`healthcheck report`"][0] > BARS_S[name]


def plant(root: Path, endpoints: int, days: int) -> dict[str, int]:
    """Plant the same samples in opsctl's store and for the peers; return the files' sizes."""
    (root / "opsctl.yaml").write_text(json.dumps({"environments": {"production": {}}}))
    history = HealthHistory(root / ".opsctl" / "state.db")
    plain = sqlite3.connect(root / "plain.db")
    plain.execute("CREATE TABLE sample (name TEXT, due REAL, took REAL, ok INTEGER)")
    dice = random.Random(1)
    bases = [dice.lognormvariate(4.6, 0.5) for _ in range(endpoints)]
    now = time.time() // EVERY_S * EVERY_S
    begin = now - days * DAY_S
    at = begin
    while at < now:
        end = min((at // DAY_S + 1) * DAY_S, now)
        samples = []
        for number, base in enumerate(bases):
            due = at
            while due < end:
                failed = dice.random() < 0.001
                took = None if failed else base * dice.lognormvariate(0, 0.3)
                samples.append(
                    Sample(f"endpoint {number:03}", due, due + 0.002, took, took,
                           "fail" if failed else "pass", "timeout" if failed else "", 200)
                )  # fmt: skip
                due += EVERY_S
        history.append("production", samples)
        history.compact("production", before=int(now // DAY_S), every_s=EVERY_S)
        plain.executemany("INSERT INTO sample VALUES (?, ?, ?, ?)",
                          ((each.check, each.due_at, each.took_ms, each.status == "pass")
                           for each in samples))  # fmt: skip
        at = end
    plain.execute("CREATE INDEX of_name ON sample (name, took, ok)")
    plain.commit()
    plain.close()
    if importlib.util.find_spec("duckdb"):
        import duckdb

        path = root / "plain.duckdb"
        rows = root / "rows.csv"
        with rows.open("w") as file:
            for row in sqlite3.connect(root / "plain.db").execute("SELECT * FROM sample"):
                file.write(",".join("" if value is None else str(value) for value in row) + "\n")
        with duckdb.connect(str(path)) as connection:
            connection.execute(
                f"CREATE TABLE sample AS SELECT * FROM read_csv('{rows}', header=false, columns="
                "{'name': 'VARCHAR', 'due': 'DOUBLE', 'took': 'DOUBLE', 'ok': 'INTEGER'})"
            )
        rows.unlink()
    (root / "done").touch()
    return sizes_of(root)


def sizes_of(root: Path) -> dict[str, int]:
    """Return the size of each store that is there."""
    files = {"opsctl's": root / ".opsctl" / "state.db", "plain SQLite": root / "plain.db",
             "DuckDB's": root / "plain.duckdb"}  # fmt: skip
    return {name: path.stat().st_size for name, path in files.items() if path.exists()}


def run(argv: list[str], folder: Path) -> tuple[float, float]:
    """Run a process to its end; return its wall time and its CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=folder, capture_output=True, check=False)
    wall_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        sys.exit(f"{argv} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s


if __name__ == "__main__":
    sys.exit(main())
