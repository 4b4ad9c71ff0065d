"""`opsctl doctor`, through the front door, against real PostgreSQL and the control planes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from first_run import Served, World, first_run_world, serve
from opsctl.adapters.tool_support import TOOLS, judge
from opsctl.cli.at_once import at_once
from opsctl.engine.store import SqliteJournal


@pytest.fixture
def world(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    with first_run_world(tmp_path, database_url, monkeypatch, capsys) as world:
        yield world


def test_at_least_twenty_checks_are_made_and_each_open_one_has_a_remedy(world: World) -> None:
    told = world.opsctl("doctor", "--env", "test")

    assert told.exit == 0, told.text
    assert len(told.checks) >= 35
    for each in told.document["findings"]:
        assert each["status"] == "ok" or each["hint"], each
    expected = {"database", "pg-dump-version", "clock", "vercel-variables", "supabase-keys"}
    expected |= {"github-secrets", "locks", "runs", "disk", "file-modes"}
    assert expected <= told.checks.keys()


def test_without_settings_the_machine_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from opsctl.cli.root import run

    monkeypatch.chdir(tmp_path)
    code = run(["doctor", "--format", "json"])
    document = json.loads(capsys.readouterr().out)

    assert code == 0
    assert len(document["findings"]) >= 20
    assert document["findings"][0]["hint"].startswith("opsctl init")
    assert not list(tmp_path.iterdir())


def test_broken_settings_are_one_finding_and_the_rest_is_looked_at(world: World) -> None:
    (world.root / "opsctl.yaml").write_text("environmants: {}\n")
    told = world.opsctl("doctor")

    assert told.exit == 1
    assert told.checks["settings"]["status"] == "failed"
    assert told.checks["python"]["status"] == "ok"


def test_an_environment_that_is_not_there_is_a_wrong_call(world: World) -> None:
    told = world.opsctl("doctor", "--env", "tset")

    assert told.exit == 2
    assert told.document["error"]["code"] == "unknown-environment"


@pytest.mark.parametrize(
    ("service", "name", "rule"),
    [("vercel", "FR_VERCEL", "vercel"), ("supabase", "FR_SUPABASE", "supabase"),
     ("github", "FR_GITHUB", "github")],
)  # fmt: skip
def test_a_token_that_is_refused_is_wrong(
    world: World, monkeypatch: pytest.MonkeyPatch, service: str, name: str, rule: str
) -> None:
    monkeypatch.setenv(name, "-".join(["some", "other", "token"]))
    told = world.opsctl("doctor", "--env", "test")

    assert told.exit == 1
    assert told.checks[rule]["status"] == "failed"
    assert "https://" in told.checks[rule]["hint"]
    assert service in told.checks[rule]["title"].lower()


def test_a_token_without_one_scope_is_named_for_what_it_lacks(world: World) -> None:
    world.github.inject("refused", "/actions/secrets", times=9)
    world.settings(github={"repository": "example/web", "token": "env:FR_GITHUB",
                           "api": world.github.url})  # fmt: skip
    told = world.opsctl("doctor", "--env", "test")

    assert told.exit == 1
    assert told.checks["github"]["status"] == "ok"
    assert told.checks["github-secrets"]["status"] == "failed"
    assert "rotate" in told.checks["github-secrets"]["evidence"]


def test_a_secret_that_is_not_there_is_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FR_VERCEL")
    told = world.opsctl("doctor", "--env", "test")

    assert told.exit == 3
    assert "env:FR_VERCEL" in told.checks["secrets"]["title"]


def test_whoever_is_not_reached_is_unknown(world: World) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    world.settings(vercel={"project": "web", "token": "env:FR_VERCEL", "api": address})
    told = world.opsctl("doctor", "--env", "test")

    assert told.exit == 3
    assert told.checks["reach-vercel"]["status"] == "unknown"
    assert told.checks["vercel"]["status"] == "unknown"
    assert told.checks["github"]["status"] == "ok"


def test_one_that_hangs_holds_up_nobody(world: World) -> None:
    world.served.hangs.clear()
    began = time.monotonic()
    told = world.opsctl("doctor", "--env", "test", "--within", "2")
    took_s = time.monotonic() - began
    world.served.hangs.set()

    assert told.exit == 3
    assert took_s < 6
    assert told.checks["reachability"]["status"] == "unknown"
    assert told.checks["database"]["status"] == "ok"


@pytest.mark.parametrize(("off_s", "status"), [(0, "ok"), (-7200, "failed"), (7200, "failed")])
def test_the_clock_is_compared_with_what_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    off_s: int,
    status: str,
) -> None:
    from opsctl.cli.root import run

    monkeypatch.chdir(tmp_path)
    with serve(Served(at=time.time() + off_s)) as address:
        Path("opsctl.yaml").write_text(
            f"environments: {{test: {{health: [{{name: app, url: '{address}'}}]}}}}\n"
        )
        code = run(["doctor", "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    clock = next(each for each in document["findings"] if each["rule"] == "clock")

    assert clock["status"] == status
    assert code == (0 if status == "ok" else 1)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other modes")
def test_a_journal_that_others_may_read_is_wrong(world: World) -> None:
    state = world.root / ".opsctl"
    state.mkdir(mode=0o700)
    (state / "state.db").touch(mode=0o600)
    assert world.opsctl("doctor", "--offline").checks["file-modes"]["status"] == "ok"
    (state / "state.db").chmod(0o644)
    told = world.opsctl("doctor", "--offline")

    assert told.exit == 1
    assert told.checks["file-modes"]["hint"].startswith("chmod go-rwx ")


def test_a_damaged_journal_is_wrong(world: World) -> None:
    state = world.root / ".opsctl"
    state.mkdir(mode=0o700)
    path = state / "state.db"
    journal = SqliteJournal(path)
    _begin(journal)
    journal.close()
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 2 + 600] = b"\xff" * 600
    path.write_bytes(data)
    told = world.opsctl("doctor", "--offline")

    assert told.exit in (1, 3)
    assert told.checks["state"]["status"] == "failed"


def test_an_unfinished_run_and_a_stale_lock_are_named_with_what_ends_them(world: World) -> None:
    journal = SqliteJournal(world.root / ".opsctl" / "state.db")
    _begin(journal)
    journal.close()
    locks = world.root / ".opsctl" / "locks"
    locks.mkdir(mode=0o700)
    gone = {"id": "ab12cd34", "actor": "anna", "pid": _dead(), "since": "2026-01-01T00:00:00+00:00",
            "run": "20260101-000000-aaaa", "command": "restore db"}  # fmt: skip
    (locks / "test.lock").write_text(json.dumps(gone))
    (locks / "test.lock").chmod(0o600)
    told = world.opsctl("doctor", "--offline")

    assert told.exit == 0
    assert "opsctl runs resume 20260101-000000-aaaa" in told.checks["runs"]["hint"]
    assert told.checks["locks"]["hint"] == "opsctl runs unlock ab12cd34 --env test"


def test_a_bad_version_of_a_tool_is_named(world: World) -> None:
    _install(world.root, "vercel", "53.2.0")
    told = world.opsctl("doctor", "--offline")

    assert told.exit == 1
    assert told.checks["tool-vercel"]["title"] == "vercel 53.2.0"
    assert "empty environment variables" in told.checks["tool-vercel"]["evidence"]


@pytest.mark.parametrize(
    ("name", "version", "fitness"),
    [
        ("vercel", "50.4.9", "doubtful"), ("vercel", "50.5.0", "unfit"),
        ("vercel", "53.9.9", "unfit"), ("vercel", "54.12.0", "unfit"),
        ("vercel", "54.13.0", "doubtful"), ("vercel", "60.1.3", "fit"),
        ("vercel", "61.0.0", "doubtful"), ("vercel", "64.0.2", "doubtful"),
        ("supabase", "2.30.4", "doubtful"), ("supabase", "3.1.0", "fit"),
        ("supabase", "4.0.0", "doubtful"), ("prisma", "5.9.0", "doubtful"),
        ("prisma", "6.19.3", "fit"), ("prisma", "7.10.1", "fit"), ("git", "2.30.2", "unfit"),
        ("git", "2.39.5", "fit"), ("node", "18.1.0", "doubtful"), ("node", "22.0.0", "fit"),
        ("gh", "2.40.0", "fit"), ("gh", "1.9.0", "doubtful"),
    ],
)  # fmt: skip
def test_versions_are_judged_by_what_is_known_of_them(
    name: str, version: str, fitness: str
) -> None:
    judged = judge(name, version)

    assert fitness == judged.fitness
    assert judged.why
    assert judged.remedy or fitness == "fit"


@pytest.mark.parametrize("room", ["doctor", "init", "status", "completion", "man"])
def test_help_imports_nothing_heavy(room: str) -> None:
    code = (
        "import sys; from opsctl.cli.root import run\n"
        f"code = run([{room!r}, '--help'])\n"
        "heavy = {'httpx', 'psycopg', 'yaml', 'sqlite3', 'rich', 'pydantic'}\n"
        "sys.stderr.write(' '.join(heavy & sys.modules.keys())); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: opsctl {room}")
    assert done.stderr == ""


def test_every_tool_can_be_judged() -> None:
    for tool in TOOLS:
        assert judge(tool.name, "999.0.0").why


def test_a_time_that_is_no_number_is_a_wrong_call(world: World) -> None:
    for command in ("doctor", "status"):
        assert world.opsctl(command, "--env", "test", "--within", "nan").exit == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other process ids")
def test_a_program_that_hangs_is_not_left_behind(tmp_path: Path) -> None:
    """The secret's command writes down who it is, and never ends."""
    script = tmp_path / "hang"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    script.chmod(0o755)
    (tmp_path / "opsctl.yaml").write_text(
        f"environments: {{a: {{vercel: {{project: web, token: 'cmd:{script}'}}}}}}\n"
    )
    argv = [sys.executable, "-m", "opsctl", "status", "--within", "2", "--format", "json"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    pid = int((tmp_path / "pid").read_text())

    assert done.returncode == 3
    assert "deployment" in json.loads(done.stdout)["data"]["unknown"]
    with pytest.raises(ProcessLookupError):
        _wait_until_gone(pid)


def _wait_until_gone(pid: int) -> None:
    """Raise ProcessLookupError once a process is gone, which takes the system a moment."""
    for _ in range(50):
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            raise ProcessLookupError
        time.sleep(0.05)


def test_a_look_that_is_late_is_told_from_one_that_failed() -> None:
    stop = threading.Event()
    answers = at_once(
        {"well": lambda: 1, "late": lambda: int(stop.wait(30)), "failed": lambda: int("x")},
        within_s=0.3,
    )
    stop.set()

    assert list(answers) == ["well", "late", "failed"]
    assert answers["well"].value == 1
    assert answers["late"].late
    assert isinstance(answers["failed"].error, ValueError)


def _begin(journal: SqliteJournal) -> None:
    """Write the record of a run that was cut off after its first intent."""
    run = "20260101-000000-aaaa"
    plan = {"command": "restore db", "environment": "test", "title": "Restore", "facts": {}}
    journal.append(run, "planned", step=None, actor="anna", data={"plan": plan, "sha256": "0" * 64})
    journal.append(run, "started", step="one", actor="anna", data={})


def _dead() -> int:
    """Return the id of a process that is gone."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def _install(root: Path, name: str, version: str) -> None:
    """Put a package with a program into the project, as npm does."""
    package = root / "node_modules" / name
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"name": name, "version": version}))
    programs = root / "node_modules" / ".bin"
    programs.mkdir()
    program = programs / name
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
