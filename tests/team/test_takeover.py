"""Two machines and one environment: whoever is killed, stopped or cut off, nothing is done twice.

The machines are processes, where it matters in network and time namespaces of their own. The
PostgreSQL is a real one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from opsctl.adapters.scratch import ScratchServer, scratch_server
from opsctl.adapters.team_schema import schema_sql
from team.world import DRIVER, Lost, World, wait_for_effects

AT_ONCE = 6


def strace(*options: str) -> tuple[str, ...]:
    path = shutil.which("strace")
    assert path, "these tests need strace (Debian and Ubuntu: apt install strace)"
    return (path, "-f", "-qq", *options)


@pytest.fixture(scope="module")
def sends(
    postgres: ScratchServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[bool, int]]:
    """Return the numbers of a run's messages to the server; true where one asks for the lease."""
    folder = tmp_path_factory.mktemp("sends")
    world = World(folder / "run", postgres.create_database(template=template), lease_s=30.0)
    trace = folder / "trace"
    code, said = world.drive(
        "start", "ann@laptop", prefix=strace("-o", str(trace), "-e", "trace=sendto")
    )
    assert (code, said) == (0, "")
    world.prove("the first run")
    lines = [line for line in trace.read_text().splitlines() if "sendto(" in line]
    assert len(lines) >= 30
    return [("opsctl.take_" in line, number) for number, line in enumerate(lines, start=1)]


def in_parallel(work: Callable[[int], int], numbers: list[int]) -> int:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(work, numbers))


def sample(numbers: list[int], soak: bool, few: int) -> list[int]:
    return numbers if soak else numbers[3 :: max(len(numbers) // few, 1)][:few]


def test_a_holder_that_is_killed_is_taken_over_by_another_machine(
    tmp_path: Path, team: Callable[[], str], sends: list[tuple[bool, int]], soak: bool
) -> None:
    chosen = sample([number for _, number in sends], soak, 4)
    worlds = {number: World(tmp_path / f"run{number}", team()) for number in chosen}

    def kill(number: int) -> int:
        world = worlds[number]
        options = ("-o", str(world.folder / "trace"), "-e", "trace=sendto",
                   "-e", f"inject=sendto:signal=SIGKILL:when={number}")  # fmt: skip
        code, _ = world.drive("start", "ann@laptop", prefix=strace(*options))
        world.finish()
        world.prove(f"killed at message {number}")
        return code not in (0, 4)

    killed = in_parallel(kill, chosen)

    print(f"\n{killed} kills at {len(chosen)} of {len(sends)} messages: 0 lost, 0 twice")
    assert killed >= len(chosen) - 2  # the last messages are those of the way out


def test_a_holder_that_is_stopped_notices_that_it_was_taken_over(
    tmp_path: Path, team: Callable[[], str], sends: list[tuple[bool, int]], soak: bool
) -> None:
    # Who is stopped before it holds anything begins a run of its own when it is woken.
    first = next(number for asks, number in sends if asks)
    chosen = sample([number for _, number in sends if number >= first], soak, 4)
    worlds = {number: World(tmp_path / f"run{number}", team()) for number in chosen}

    def stop(number: int) -> int:
        world = worlds[number]
        options = ("-o", str(world.folder / "trace"), "-e", "trace=sendto",
                   "-e", f"inject=sendto:signal=SIGSTOP:when={number}")  # fmt: skip
        holder = world.begin("start", "ann@laptop", prefix=strace(*options))
        stopped = wait_until_stopped(holder)
        world.finish()
        before = world.effects
        out = let_go_on(holder, stopped)
        time.sleep(0.2)
        if before != world.effects:
            raise Lost(f"stopped at {number}: it went on, {world.effects}")
        world.prove(f"stopped at message {number}")
        return out.strip() == "lease-lost"

    noticed = in_parallel(stop, chosen)

    print(f"\n{noticed} of {len(chosen)} stopped holders had lost their lease: 0 overlaps")
    assert noticed >= len(chosen) // 2


def let_go_on(tracer: subprocess.Popen[str], stopped: int | None) -> str:
    """Wake a stopped process until it ends, and return what it said.

    More than once: its other thread counts its messages, too, and may be stopped as well.
    """
    try:
        for _ in range(60):
            if stopped is not None:
                with suppress(ProcessLookupError):
                    os.kill(stopped, signal.SIGCONT)
            with suppress(subprocess.TimeoutExpired):
                return tracer.communicate(timeout=0.5)[0]
        raise AssertionError("it was woken and did not end")
    finally:
        if tracer.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(stopped or tracer.pid, signal.SIGKILL)
            tracer.wait()


def wait_until_stopped(tracer: subprocess.Popen[str]) -> int | None:
    """Return the process under strace once it is stopped, or None where it ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if tracer.poll() is not None:
            return None
        children = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children")
        with suppress(FileNotFoundError, ProcessLookupError):
            # Others than the program are strace's own, and gone in a moment.
            for child in map(int, children.read_text().split()):
                words = Path(f"/proc/{child}/cmdline").read_text()
                if DRIVER.name in words and threads_stopped(child):
                    return child
        time.sleep(0.02)
    raise AssertionError("it neither stopped nor ended")


def threads_stopped(pid: int) -> bool:
    """Whether a process stands still, and not only at one of strace's stops."""
    try:
        for _ in range(10):
            for task in Path(f"/proc/{pid}/task").iterdir():
                if (task / "stat").read_text().rpartition(")")[2].split()[0] not in "Tt":
                    return False
            time.sleep(0.03)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


def test_a_server_that_starts_anew_loses_nothing(tmp_path: Path, soak: bool) -> None:
    with scratch_server() as server:
        with psycopg.connect(server.create_database("team"), autocommit=True) as connection:
            connection.execute(schema_sql().encode())
        for number in range(6 if soak else 1):
            url = server.create_database(template="team")
            world = World(tmp_path / f"run{number}", url, lease_s=5.0)
            running = world.begin("start", "ann@laptop")
            wait_for_effects(world, 1 + number % 4)
            # What was committed is kept: this cluster is flushed by nobody, so it is asked to stop.
            server.stop(mode="fast")
            server.start()
            assert server.url("team").rpartition("/")[0] == url.rpartition("/")[0]
            out, err = running.communicate(timeout=60)

            assert (running.returncode, out) == (0, ""), err
            world.prove("the server was started anew")
