"""rls-smoke beside pgTAP and two peers: probes, mutants, and planted bugs found.

    python benchmarks/rls.py [--rounds N] [--peers DIRECTORY]

pgTAP is Debian's postgresql-15-pgtap, run by psql on the same server and the same rows, with as
many assertions as opsctl has probes. DIRECTORY is a virtual environment's bin with pgrls and
rlsautotest (pip install pgrls rlsautotest); without it they are left out. A peer has found a bug
where it says something of the buggy schema that it does not say of the sound one.
"""

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
from opsctl.adapters.sql import quote_literal
from opsctl.areas.rls_smoke.actors import default_file
from opsctl.areas.rls_smoke.attacks import attack
from opsctl.areas.rls_smoke.checks import judge
from opsctl.areas.rls_smoke.matrix import look
from opsctl.areas.rls_smoke.mutants import run_mutants
from opsctl.areas.rls_smoke.policy_file import PolicyFile, load_policy_file
from opsctl.areas.rls_smoke.probes import Outcome, Probe, run_probes
from opsctl.areas.rls_smoke.script import write_script
from opsctl.areas.rls_smoke.tenancy import infer
from opsctl.areas.rls_smoke.world import Copy, World
from opsctl.core.report import Severity, Status

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "areas"))
from rls_smoke.designs import DESIGNS, TENANT_RULES, TENANTS, Design

TABLES = 30
TABLE = """
create table public.t{n} (id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references public.tenants (id), owner_id uuid references auth.users (id), body text);
alter table public.t{n} enable row level security;
create policy t{n}_read on public.t{n} for select to authenticated using (tenant_id = (select public.my_tenant()));
create policy t{n}_add on public.t{n} for insert to authenticated
  with check (tenant_id = (select public.my_tenant()) and owner_id = (select auth.uid()));
create policy t{n}_edit on public.t{n} for update to authenticated
  using (tenant_id = (select public.my_tenant()) and owner_id = (select auth.uid()))
  with check (tenant_id = (select public.my_tenant()) and owner_id = (select auth.uid()));
create policy t{n}_drop on public.t{n} for delete to authenticated
  using (tenant_id = (select public.my_tenant()) and owner_id = (select auth.uid()));
"""  # noqa: E501 - SQL
RULES = """
  public.t{n}:
    rows: {{tenant: "tenant_id in (:tenants)", mine: "tenant_id in (:tenants) and owner_id = :user"}}
    may: {{authenticated: {{select: tenant, insert: mine, update: mine, delete: mine}}, service_role: all}}
"""  # noqa: E501 - YAML


def main() -> int:
    """Measure and print; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", type=Path)
    words = parser.parse_args()
    missed = False
    with scratch_server(prefer="system") as server:
        print(f"PostgreSQL {server.provider.version}\n")
        missed |= _probes(server, words.rounds)
        missed |= _bugs(server, words.peers)
    return int(missed)


def _probes(server: ScratchServer, rounds: int) -> bool:
    tables = "".join(TABLE.format(n=n) for n in range(TABLES))
    few = "".join(TABLE.format(n=n) for n in range(7))
    url = _database(server, TENANTS + few)
    with postgres.connect(url, read_only=False) as connection:
        world = _world(
            connection, rules=TENANT_RULES + "".join(RULES.format(n=n) for n in range(7))
        )
        script = write_script(world, inferred=False)
        # What is asked as the owner, for what should be, is our own affair: not counted, but timed.
        attempts = [probe for probe in script.probes if probe.actor]
        outcomes = run_probes(connection, script.probes, schemas=("public",))
        answers = [o for p, o in zip(script.probes, outcomes, strict=True) if p.actor]
        ours, whole, theirs, our_work, their_work = [], [], [], [], []
        backend = connection.info.backend_pid
        postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
        for _ in range(rounds):
            began, busy = time.perf_counter(), _busy_ms(backend) + time.process_time() * 1000
            run_probes(connection, script.probes, schemas=("public",))
            ours.append((time.perf_counter() - began) * 1000)
            our_work.append(_busy_ms(backend) + time.process_time() * 1000 - busy)
            began = time.perf_counter()
            matrix = look(world)
            whole.append((time.perf_counter() - began) * 1000)
            busy = _busy_ms(postmaster, children=True) + _busy_ms("self", children=True)
            theirs.append(_pgtap(url, attempts, answers))
            time.sleep(0.2)  # its backend counts when it has ended
            done = _busy_ms(postmaster, children=True) + _busy_ms("self", children=True)
            their_work.append(done - busy)
        assert not any(cell.wrong for cell in matrix.cells)
    count = len(attempts)
    d, e = statistics.median(our_work), statistics.median(their_work)
    a, b, c = (statistics.median(each) for each in (ours, whole, theirs))
    print(
        f"{count} probes, {rounds} rounds, medians: {a:.0f} ms; 500 of them: "
        f"{a / count * 500:.0f} ms (bar 100); with writing and reading the matrix {b:.0f} ms"
    )
    print(f"pgTAP, {count} assertions by psql: {c:.0f} ms; ratio {a / c:.3f} (bar 0.15), "
          f"whole {b / c:.3f}")  # fmt: skip
    print(
        f"Processor time of server and client: {d:.0f} ms, {d / count * 500:.0f} for 500, and "
        f"{e:.0f} ms; ratio {d / e:.3f}\n"
    )
    url = _database(server, TENANTS + tables)
    with postgres.connect(url, read_only=False) as connection:
        rules = TENANT_RULES + "".join(RULES.format(n=n) for n in range(TABLES))
        world = _world(connection, rules=rules)
        matrix = look(world)
        backend = connection.info.backend_pid
        began, busy = time.perf_counter(), _busy_ms(backend) + time.process_time() * 1000
        tested = run_mutants(world, matrix, inferred=False)
        took = time.perf_counter() - began
        work = _busy_ms(backend) + time.process_time() * 1000 - busy
    for_500 = took / len(tested.outcomes) * 500
    print(
        f"{len(tested.outcomes)} mutants in {took:.2f} s; 500 of them: {for_500:.2f} s (bar 5); "
        f"{tested.data['noticed']} noticed, {tested.data['unnoticed']} not, "
        f"{tested.data['same']} the same"
    )
    print(f"Processor time for 500: {work / len(tested.outcomes) * 500 / 1000:.2f} s\n")
    return a / count * 500 > 100 or a / c > 0.15 or for_500 > 5


def _busy_ms(pid: int | str, *, children: bool = False) -> float:
    """Return the processor time of a process, or of its children that have ended (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    first = 13 if children else 11
    return (int(fields[first]) + int(fields[first + 1])) * 1000 / os.sysconf("SC_CLK_TCK")


def _pgtap(url: str, probes: list[Probe], outcomes: list[Outcome]) -> float:
    """Run a pgTAP assertion for each probe, as one writes them; return milliseconds.

    What goes through is undone by a savepoint; of what changes rows the number is asserted.
    """
    lines = ["BEGIN;", f"SELECT plan({len(probes)});"]
    for probe, outcome in zip(probes, outcomes, strict=True):
        lines += [
            f"SET LOCAL request.jwt.claims = {quote_literal(probe.claims)};",
            f"SET LOCAL ROLE {probe.role};",
        ]
        if probe.kind == "rows":
            ids = ", ".join(map(quote_literal, sorted(outcome.rows)))
            have = quote_literal(probe.sql.replace("array_agg(i)", "i") + " ORDER BY i")
            lines.append(f"SELECT results_eq({have}, ARRAY[{ids}]::text[]);")
        elif outcome.state:
            lines.append(f"SELECT throws_ok({quote_literal(probe.sql)}, '{outcome.state}');")
        elif outcome.count == 0:
            lines.append(f"SELECT is_empty({quote_literal(probe.sql + ' RETURNING 1')});")
        elif probe.verb in ("insert", "plant"):
            said = f"SELECT lives_ok({quote_literal(probe.sql)});"
            lines += ["SAVEPOINT s;", said, "ROLLBACK TO s;"]
        else:
            counted = f"WITH w AS ({probe.sql} RETURNING 1) SELECT count(*) FROM w"
            wanted = f"ARRAY[{outcome.count}::bigint]"
            said = f"SELECT results_eq({quote_literal(counted)}, {wanted});"
            lines += ["SAVEPOINT s;", said, "ROLLBACK TO s;"]
        lines.append("RESET ROLE;")
    lines += ["SELECT * FROM finish();", "ROLLBACK;"]
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write("\n".join(lines))
        file.flush()
        began = time.perf_counter()
        done = subprocess.run(["psql", "-qAtX", "-d", url, "-f", file.name],
                              capture_output=True, text=True, check=False)  # fmt: skip
        took = (time.perf_counter() - began) * 1000
    agreed = f"\n{done.stdout}".count("\nok ")
    if agreed < len(probes):
        raise SystemExit(f"pgTAP agrees to {agreed} of {len(probes)}:\n{done.stdout[-800:]}")
    return took


def _bugs(server: ScratchServer, peers: Path | None) -> bool:
    tools: dict[str, Callable[[str], tuple[set[str], int]]] = {}
    if peers is not None:
        tools["pgrls"] = lambda url: _pgrls(peers, url)
        tools["rlsautotest"] = lambda url: _rlsautotest(peers, url)
    found = dict.fromkeys(["opsctl", *tools], 0)
    alarms = dict.fromkeys(found, 0)
    took = dict.fromkeys(found, 0.0)
    for design in DESIGNS:
        sound = _database(server, design.sql)
        buggy = _database(server, design.sql, design.bug)
        began = time.perf_counter()
        found["opsctl"] += design.finds in _ours(sound, buggy, design, of=buggy)
        alarms["opsctl"] += len(_ours(sound, buggy, design, of=sound))
        took["opsctl"] += time.perf_counter() - began
        for name, tool in tools.items():
            sound = _database(server, design.sql)
            buggy = _database(server, design.sql, design.bug)
            began = time.perf_counter()
            (says, _), (already, errors) = tool(buggy), tool(sound)
            took[name] += time.perf_counter() - began
            found[name] += bool(says - already)
            alarms[name] += errors
    print(f"| {len(DESIGNS)} planted bugs | found | alarms on the sound ones | seconds |")
    print("|---|---|---|---|")
    for name in found:
        print(f"| {name} | {found[name]} | {alarms[name]} | {took[name]:.1f} |")
    return found["opsctl"] < len(DESIGNS) or alarms["opsctl"] > 0


def _ours(sound: str, buggy: str, design: Design, *, of: str) -> set[tuple[str, str]]:
    """Return the errors that opsctl finds, by hand-written rules."""
    name = f"copy_{time.monotonic_ns()}"
    base = of.rpartition("/")[2]
    with psycopg.connect(of.rpartition("/")[0] + "/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{base}"'.encode())
    with postgres.connect(of.rpartition("/")[0] + f"/{name}", read_only=False) as connection:
        world = _world(connection, rules=design.rules)
        matrix = look(world)
        return {
            (each.rule, each.location.object or "" if each.location else "")
            for each in judge(world, matrix, attack(world, matrix), inferred=False)
            if each.status is not Status.OK and each.severity is Severity.ERROR
        }


def _pgrls(peers: Path, url: str) -> tuple[set[str], int]:
    """Return (all it says, the number of errors)."""
    done = subprocess.run([str(peers / "pgrls"), "lint", "--database-url", url, "--format", "json"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    said = json.loads(done.stdout)["violations"]
    errors = sum(each["severity"] == "error" for each in said)
    return {f"{each['rule_id']} {each['location']} {each['message']}" for each in said}, errors


def _rlsautotest(peers: Path, url: str) -> tuple[set[str], int]:
    """Return (all it says, the number of cells that it calls failed)."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        argv = [str(peers / "rlsautotest"), "--schema", "public", "--db-url", url, "--report",
                "--report-json", str(report), "--no-fail", "--quiet"]  # fmt: skip
        subprocess.run(argv, capture_output=True, text=True, cwd=folder, check=False)
        document = json.loads(report.read_text()) if report.exists() else {"tables": []}
    failed = {
        f"{table['table']} {verb} {who}"
        for table in document["tables"] for verb, grid in table.get("idgrid", {}).items()
        for who, cell in grid.items() if cell.get("pass") is False
    }  # fmt: skip
    said = {
        f"{t['table']} {text[:60]}" for t in document["tables"] for text in t.get("footguns", ())
    }
    return failed | said, len(failed)


def _database(server: ScratchServer, *scripts: str) -> str:
    url = server.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            (importlib.resources.files("opsctl.sandbox") / "baseline.sql").read_bytes()
        )
        connection.execute(b"CREATE EXTENSION IF NOT EXISTS pgtap SCHEMA extensions")
        connection.execute(b"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA extensions TO PUBLIC")
        name = url.rpartition("/")[2]
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = public, extensions'.encode())
        for script in scripts:
            connection.execute(script.encode())
    return url


def _world(connection: postgres.Connection, *, rules: str) -> World:
    copy = Copy(connection, ("public",))
    schema = copy.schema()
    model = infer(schema)
    return copy.populate(schema, model, _file(default_file(schema, model), rules))


def _file(base: PolicyFile, rules: str) -> PolicyFile:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rls.yaml"
        actors = "\n".join(
            f"  {n}: {json.dumps(a.model_dump(mode='json'))}" for n, a in base.actors.items()
        )
        path.write_text(f"version: 1\nactors:\n{actors}\ntables:\n{rules}\n", encoding="utf-8")
        return load_policy_file(path)


if __name__ == "__main__":
    sys.exit(main())
