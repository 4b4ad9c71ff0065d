"""A schedule that nothing holds up: frozen servers, sleep, set clocks, signals."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from opsctl.areas.healthcheck.alerts import percentile
from opsctl.areas.healthcheck.clocks import Clocks, Leap
from opsctl.areas.healthcheck.watch import Wanted, watch
from opsctl.core.call import Call
from opsctl.core.report import Report
from opsctl.core.settings import Settings

SERVER = """
import asyncio, sys

class Answer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        asyncio.get_running_loop().call_later(0.005, self.answer)

    def answer(self):
        self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nfine")
        self.transport.close()

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def process() -> Iterator[Callable[[], tuple[subprocess.Popen[str], str]]]:
    """Start a server that can be frozen: (its process, its URL)."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], str]:
        child = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None
        return child, f"http://127.0.0.1:{int(child.stdout.readline())}/"

    yield start
    for child in started:
        child.send_signal(signal.SIGCONT)
        child.kill()
        child.communicate()


@pytest.fixture
def make_call(tmp_path: Path) -> Callable[..., Call]:
    """Make a call on settings as in the file; what is said stands in `call.said`."""

    def make(said: list[str] | None = None, **environment: Any) -> Call:
        settings = Settings.model_validate_json(json.dumps({"environments": {"t": environment}}))
        lines = said if said is not None else []
        return Call(settings=settings, root=tmp_path, environment_name="t", say=lines.append)

    return make


def kept(folder: Path) -> list[tuple[str, float, float | None, str, str]]:
    """Return what the history keeps: check, due, took_ms, status, reason."""
    with closing(sqlite3.connect(folder / ".opsctl" / "state.db")) as connection:
        return connection.execute(
            "SELECT name, due_ms / 1000.0, took_ms, status, reason FROM health_sample ORDER BY 2"
        ).fetchall()


def test_a_frozen_server_shows_its_true_percentiles(
    process: Any, make_call: Any, tmp_path: Path, soak: bool
) -> None:
    """The server stands still for a quarter of the time, and the samples show just that.

    Of what is due then, the wait is spread evenly up to the whole stop. A client that waits
    for each answer before it asks again sees the stop once, and misses it.
    """
    child, url = process()
    long_s, every_s = (20.0, 0.02) if soak else (6.0, 0.02)
    frozen_s = long_s / 4

    def freeze() -> None:
        time.sleep(long_s / 4)
        child.send_signal(signal.SIGSTOP)
        time.sleep(frozen_s)
        child.send_signal(signal.SIGCONT)

    freezer = threading.Thread(target=freeze)
    freezer.start()
    call = make_call(health=[{"name": "it", "url": url, "response_ms": 60_000}])
    watch(call, Wanted(every_s=every_s, for_s=long_s))
    freezer.join()

    times = [took_ms for _, _, took_ms, status, _ in kept(tmp_path) if status == "pass"]
    count = round(long_s / every_s)
    assert count - 3 <= len(times) <= count
    found = [each for each in times if each is not None]
    usual_ms = percentile(found, 0.5) or 0
    frozen_ms = frozen_s * 1000
    assert usual_ms < frozen_ms / 4
    for share in (0.85, 0.9, 0.95, 0.99):
        # Over the share s the wait exceeds w where (1 - s) = (1 - w / frozen) / 4.
        true_ms = frozen_ms * (1 - 4 * (1 - share)) + usual_ms
        found_ms = percentile(found, share)
        assert found_ms is not None
        assert abs(found_ms - true_ms) < frozen_ms * 0.15, share

    closed = _closed_loop(child, url, long_s=3.0)
    assert (percentile(closed, 0.95) or 0) < max(closed) / 3


def _closed_loop(child: subprocess.Popen[str], url: str, *, long_s: float) -> list[float]:
    """Ask one after another, as a client does that omits what it did not ask."""
    import http.client

    port = int(url.split(":")[2].strip("/"))
    threading.Timer(long_s / 4, child.send_signal, [signal.SIGSTOP]).start()
    threading.Timer(long_s / 2, child.send_signal, [signal.SIGCONT]).start()
    times, until = [], time.monotonic() + long_s
    while time.monotonic() < until:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        connection.getresponse().read()
        connection.close()
        times.append((time.monotonic() - began) * 1000)
    return times


def test_the_next_look_is_made_while_the_last_one_hangs(
    server: Any, make_call: Any, tmp_path: Path
) -> None:
    server.pages["hang"] = lambda client: time.sleep(2)
    call = make_call(
        health=[{"name": "it", "url": f"{server.url}/hang", "timeout_s": 0.7},
                {"name": "well", "url": f"{server.url}/ok"}]
    )  # fmt: skip

    watch(call, Wanted(every_s=0.1, for_s=0.5))

    rows = kept(tmp_path)
    assert [status for name, *_, status, _ in rows if name == "well"] == ["pass"] * 5
    assert [(status, reason) for name, *_, status, reason in rows if name == "it"] == [
        ("fail", "timeout")
    ] * 5


class Fakes:
    """Clocks that are set by hand, on top of the real ones."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.wall_set = 0.0
        self.booted = True

    def clocks(self) -> Clocks:
        return Clocks(
            wall=lambda: time.time() + self.slept + self.wall_set,
            boot=lambda: time.monotonic() + self.slept if self.booted else None,
        )


@pytest.mark.parametrize(
    ("slept", "wall_set", "booted", "leap"),
    [
        (0, 0, True, (0, 0)),
        (3600, 0, True, (3600, 0)),
        (0, 3600, True, (0, 3600)),
        (0, -3600, True, (0, -3600)),
        (600, -7200, True, (600, -7200)),
        (3600, 0, False, (3600, 0)),
        (0, -3600, False, (0, -3600)),
        (0, 1, True, (0, 0)),
    ],
)
def test_sleep_is_told_from_a_clock_that_was_set(
    slept: float, wall_set: float, booted: bool, leap: tuple[float, float]
) -> None:
    fakes = Fakes()
    fakes.booted = booted
    clocks = fakes.clocks()
    fakes.slept, fakes.wall_set = slept, wall_set

    found = clocks.look()

    assert (round(found.slept_s), round(found.set_s)) == leap
    assert clocks.look() == Leap()


def test_after_sleep_there_is_a_gap_and_a_look_at_once(
    server: Any, make_call: Any, tmp_path: Path
) -> None:
    fakes, said = Fakes(), []
    call = make_call(said, health=[{"name": "it", "url": f"{server.url}/ok"}])
    threading.Timer(0.5, lambda: setattr(fakes, "slept", 3600.0)).start()
    threading.Timer(1.5, lambda: setattr(fakes, "wall_set", -600.0)).start()

    report = watch(call, Wanted(every_s=60, for_s=3), clocks=fakes.clocks())

    assert [(status, reason) for *_, status, reason in kept(tmp_path)] == [
        ("unknown", "asleep"), ("pass", ""), ("pass", ""),
    ]  # fmt: skip
    assert any("slept for 60 min" in line for line in said)
    assert any("set back by 10 min" in line for line in said)
    assert int(report.exit) == 0


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `opsctl healthcheck watch` in a process of its own, with these settings."""
    children: list[subprocess.Popen[str]] = []

    def start(environment: dict[str, Any], *words: str) -> subprocess.Popen[str]:
        (tmp_path / "opsctl.yaml").write_text(json.dumps({"environments": {"t": environment}}))
        children.append(
            subprocess.Popen(
                [sys.executable, "-m", "opsctl", "healthcheck", "watch", *words],
                cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={**os.environ, "TZ": "UTC"},
            )
        )  # fmt: skip
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


def wait_for_line(child: subprocess.Popen[str], part: str) -> str:
    """Read the child's stderr until a line holds `part`."""
    assert child.stderr is not None
    for line in child.stderr:
        if part in line:
            return line
    raise AssertionError(f"it never said {part}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order(
    started: Any, server: Any, tmp_path: Path, number: int, code: int
) -> None:
    child = started(
        {"health": [{"name": "it", "url": f"{server.url}/ok"}]}, "--every", "0.2s",
        "--format", "json",
    )  # fmt: skip
    wait_for_line(child, "ok")
    wait_for_line(child, "ok")

    child.send_signal(number)
    out, err = child.communicate(timeout=20)

    assert child.returncode == code
    assert "Traceback" not in err
    document = json.loads(out)
    assert document["exit_code"] == code
    assert document["data"]["checks"][0]["pass"] >= 2
    assert [status for *_, status, _ in kept(tmp_path)].count("pass") >= 2


def test_a_process_that_was_stopped_leaves_a_gap_and_blames_nobody(
    started: Any, server: Any, tmp_path: Path
) -> None:
    child = started(
        {"health": [{"name": "it", "url": f"{server.url}/ok"}]}, "--every", "0.5s", "--for", "5s"
    )
    wait_for_line(child, "ok")
    child.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    child.send_signal(signal.SIGCONT)
    child.communicate(timeout=30)

    rows = kept(tmp_path)
    assert child.returncode == 0
    assert [(status, reason) for *_, status, reason in rows].count(("unknown", "late")) == 1
    assert all(took is None or took < 1_500 for _, _, took, _, _ in rows)
    assert max(later[1] - one[1] for one, later in itertools.pairwise(rows)) > 1.5


def test_nothing_to_watch_is_said_at_once(started: Any) -> None:
    child = started({})
    _, err = child.communicate(timeout=20)

    assert child.returncode == 3
    assert "There is nothing to watch" in err


def test_a_screen_shows_how_it_stands(server: Any, make_call: Any) -> None:
    from contextlib import contextmanager
    from dataclasses import replace

    shown: list[Report] = []

    @contextmanager
    def screen() -> Iterator[Callable[[Report], None]]:
        yield shown.append

    said: list[str] = []
    call = make_call(said, health=[{"name": "it", "url": f"{server.url}/broken"}])
    watch(replace(call, screen=screen), Wanted(every_s=0.3, for_s=1))

    assert said == []
    assert shown[-1].tables[0].rows[0][:2] == ("it", "failed")
    assert str(shown[-1].status) == "failed"


def test_it_goes_on_while_the_history_cannot_be_written(
    server: Any, make_call: Any, tmp_path: Path
) -> None:
    (tmp_path / ".opsctl").write_text("in the way")
    said: list[str] = []
    call = make_call(said, health=[{"name": "it", "url": f"{server.url}/ok"}])

    report = watch(call, Wanted(every_s=0.5, for_s=2))

    assert int(report.exit) == 0
    assert len([line for line in said if " ok " in line]) == 4
    assert len([line for line in said if "could not be written" in line]) == 1


def test_what_is_being_written_at_the_end_is_kept(
    server: Any, make_call: Any, tmp_path: Path
) -> None:
    """The store is locked by somebody else while the watch ends."""
    call = make_call(health=[{"name": "it", "url": f"{server.url}/ok"}])
    watch(call, Wanted(every_s=1, for_s=0.5))
    blocker = sqlite3.connect(
        tmp_path / ".opsctl" / "state.db", isolation_level=None, check_same_thread=False
    )
    blocker.execute("BEGIN IMMEDIATE")
    threading.Timer(2.5, blocker.execute, ["COMMIT"]).start()

    watch(call, Wanted(every_s=0.5, for_s=1.2))

    with closing(blocker):
        assert len(kept(tmp_path)) == 4


def test_a_watch_that_is_started_again_tells_nothing_twice_and_the_end(
    process: Any, make_call: Any
) -> None:
    child, url = process()
    rule = {"name": "down", "metric": "failure", "above": 0.0, "for_s": 0.0, "repeat_s": 3600.0}

    def told(expected: int) -> list[str]:
        said: list[str] = []
        call = make_call(said, health=[{"name": "it", "url": url, "status": expected}],
                         alerts=[rule])  # fmt: skip
        watch(call, Wanted(every_s=0.2, for_s=0.7))
        return [line for line in said if "down" in line]

    first, again, mended, well = told(500), told(500), told(200), told(200)

    assert child.poll() is None
    assert (1, 0, 1, 0) == tuple(map(len, (first, again, mended, well))), (first, again, mended)
