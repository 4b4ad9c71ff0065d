"""When it became slow and what happened before, on planted histories."""

from __future__ import annotations

import io
import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.snapshots import SnapshotStore
from opsctl.adapters.statements import Costs, Counts, Key, Moments, Snapshot
from opsctl.adapters.statuspage_incidents import read_incidents
from opsctl.areas.diagnose.performance_change import (
    ALPHA,
    Change,
    Course,
    best_split,
    best_stretch,
    find_changes,
)
from opsctl.cli.root import run
from opsctl.sandbox.vercel_plane import VercelPlane
from planted import DAY_S, EVERY_S, NOON, World, schedule

Level = Callable[[float], float]


def noisy(
    seed: int, level: Level, *, days: float = 14, likeness: float = 0.5, every_s: float = EVERY_S
) -> list[tuple[float, float]]:
    """Return latencies of a day's rhythm, hours that resemble their neighbours, and outliers."""
    dice, hour, found = random.Random(seed), 0.0, []
    for index, at in enumerate(schedule(NOON - days * DAY_S, NOON, every_s)):
        if index % max(1, int(3600 // every_s)) == 0:
            hour = likeness * hour + dice.gauss(0, 0.1 * math.sqrt(1 - likeness**2))
        rhythm = 1 + 0.25 * math.sin(at / DAY_S * 2 * math.pi)
        value = level(at) * rhythm * math.exp(hour) * dice.lognormvariate(0, 0.35)
        found.append((at, value * (30 if dice.random() < 0.003 else 1)))
    return found


def steps(*changes: tuple[float, float]) -> Level:
    """Return a level that begins at 100 ms and is multiplied days before NOON."""

    def level(at: float) -> float:
        return 100 * math.prod(factor for days, factor in changes if at >= NOON - days * DAY_S)

    return level


def test_where_nothing_changed_nothing_is_found(soak: bool) -> None:
    """A rhythm of the day, outliers and likeness of neighbours are no change."""
    seeds = range(100 if soak else 20)

    alarms = [seed for seed in seeds if find_changes(noisy(seed, steps())).changes]

    assert len(alarms) <= len(seeds) // 20


@pytest.mark.parametrize(("factor", "most_h"), [(1.5, 6), (2.0, 3), (0.5, 3)])
def test_a_change_is_found_at_its_time(soak: bool, factor: float, most_h: float) -> None:
    off, more = [], 0
    for seed in range(40 if soak else 8):
        changes = find_changes(noisy(seed, steps((4.7, factor)))).changes
        more += len(changes) - 1
        change = min(changes, key=lambda each: each.chance)
        assert change.slower == (factor > 1)
        assert change.factor == pytest.approx(factor, rel=0.15)
        off.append(abs(change.at - (NOON - 4.7 * DAY_S)) / 3600)

    assert sorted(off)[len(off) // 2] <= 1
    assert sorted(off)[int(len(off) * 0.95)] <= most_h
    assert max(off) <= 2 * most_h
    assert more <= len(off) // 8


def test_two_changes_are_two() -> None:
    changes = find_changes(noisy(1, steps((10, 2.0), (5, 0.5)))).changes

    assert [change.slower for change in changes] == [True, False]
    assert changes[0].after_ms == changes[1].before_ms


@pytest.mark.parametrize("level", [steps((5, 1.1)), lambda at: 3.0 if at < NOON - 5e5 else 6.0])
def test_a_change_that_is_nobodys_trouble_is_none(level: Level) -> None:
    """A tenth more, or three milliseconds."""
    assert find_changes(noisy(3, level)).changes == ()


@pytest.mark.parametrize(("days", "every_s", "enough"), [
    (2.9, EVERY_S, False), (4, EVERY_S, True), (11, 3600, False), (14, 3600, True),
])  # fmt: skip
def test_little_data_is_said_to_be_little(days: float, every_s: float, enough: bool) -> None:
    course = find_changes(noisy(3, steps((days / 2, 3.0)), days=days, every_s=every_s))

    assert course.enough == enough
    assert bool(course.changes) == enough


def test_no_data_and_constant_data_change_nothing() -> None:
    assert find_changes([]) == Course((), 0)
    assert find_changes([(5.0, 1.0)]) == Course((), 0)
    flat = find_changes([(at, 0.0) for at in schedule(NOON - 3 * DAY_S, NOON)])
    assert (flat.changes, flat.enough) == ((), True)
    assert best_split([1.0] * 50) == (0, 1.0)
    assert best_stretch([1.0] * 50) == (0, 0, 1.0)


def test_the_chance_is_wilcoxons_times_the_number_of_moments() -> None:
    """100 of 300 half a deviation higher, beside the test as it is in the books."""
    dice = random.Random(4)
    values = [dice.gauss(0, 1) for _ in range(200)] + [dice.gauss(0.8, 1) for _ in range(100)]

    at, chance = best_split(values)

    order = sorted(range(300), key=values.__getitem__)
    rank_sum = sum(order.index(index) + 1 for index in range(at))
    z = abs(rank_sum - at * 301 / 2) / math.sqrt(at * (300 - at) * 301 / 12)
    exact = math.erfc(z / math.sqrt(2)) * 300
    assert abs(at - 200) < 20
    # That neighbours happen to resemble each other may take a little off.
    assert exact <= chance * 1.000001 < exact**0.7


def test_a_stretch_in_the_middle_is_found_where_no_split_is() -> None:
    dice = random.Random(5)
    values = [dice.random() + (2 if 150 <= index < 174 else 0) for index in range(336)]

    first, last, chance = best_stretch(values)

    assert (abs(first - 150) <= 1, abs(last - 174) <= 4, chance < ALPHA) == (True, True, True)


@pytest.mark.parametrize(("minutes", "least"), [(90, 5), (240, 7)])
def test_a_change_of_the_last_hours_is_found(minutes: int, least: int) -> None:
    """A bad deployment is asked about at once, not after days."""
    level = steps((minutes / 1440, 2.0))
    newest = [find_changes(noisy(seed, level)).changes for seed in range(8)]

    hits = [
        changes for changes in newest
        if changes and changes[-1].slower and abs(changes[-1].at - NOON + minutes * 60) < 1800
    ]  # fmt: skip
    assert len(hits) >= least


@pytest.mark.parametrize("days", [1, 3])
def test_a_slowness_that_came_and_went_is_two_changes(days: float) -> None:
    changes = find_changes(noisy(6, steps((8, 2.0), (8 - days, 0.5)))).changes

    assert [change.slower for change in changes] == [True, False]


# The whole command


@contextmanager
def status_page(incidents: list[dict[str, Any]], status: int = 200) -> Iterator[str]:
    """Serve a list of incidents as Statuspage does."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"page": {}, "incidents": incidents}).encode()
            self.send_response(status if self.path == "/api/v2/incidents.json" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def opsctl(world: World, *words: str) -> tuple[int, dict[str, Any]]:
    out, err = io.StringIO(), io.StringIO()
    config = str(world.root / "opsctl.yaml")
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["diagnose", "performance", *words, "--config", config, "--format", "json"])
    return code, json.loads(out.getvalue())


def plant(world: World, check: str, change_at: float, factor: float, *, days: float = 6) -> None:
    """Keep noisy answers up to now that change at a moment."""
    now = time.time()
    dice = random.Random(check)
    world.plant(
        check,
        now - days * DAY_S,
        now,
        took_ms=lambda at: 150 * (factor if at >= change_at else 1) * dice.lognormvariate(0, 0.2),
    )


def snapshot(at: float, calls: int, mean_ms: float, *, reset_at: float = 1.0) -> Snapshot:
    """Return one statement that has been called so often, taking so long in all."""
    key: Key = (10, 4711, True)
    moments = Moments(calls, calls * mean_ms, 0.1, 900.0, mean_ms, 1.0, 1.0, 1.0)
    counts = Counts(at, {key: moments}, 0, reset_at, 0, 1.0)
    return Snapshot(counts, {key: Costs()}, "server/17", "app", 1.0)


def bundle(world: World, commit: str, size: int) -> None:
    """Record the sizes of a commit as bundle-check does."""
    folder = world.root / ".opsctl" / "bundles"
    folder.mkdir(parents=True, exist_ok=True)
    route = {"route": "/dashboard", "js": {"raw": size * 3, "gzip": size}, "css": {}}
    (folder / f"{commit}.json").write_text(json.dumps({"version": 1, "routes": [route]}))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[VercelPlane]:
    token = "-".join(["canary", "vercel", "9931"])
    monkeypatch.setenv("T_VERCEL", token)
    with VercelPlane(token=token) as plane:
        yield plane


def vercel(plane: VercelPlane, page: str) -> dict[str, str]:
    return {"project": "web", "team": "team_sandbox", "token": "env:T_VERCEL", "api": plane.url,
            "status_page": page}  # fmt: skip


def test_what_came_before_the_slowness_is_named(world: World, plane: VercelPlane) -> None:
    now = time.time()
    change = now - 2 * DAY_S
    plant(world, "selftest", change, 2.4)
    plant(world, "health", change, 1.0)
    good, bad, later = ("a" * 40, "b" * 40, "c" * 40)
    plane.add_deployment(good, at_ms=int((now - 5 * DAY_S) * 1000))
    guilty = plane.add_deployment(bad, at_ms=int((change - 600) * 1000), message="Load all\nrows")
    plane.add_deployment(later, at_ms=int((now - DAY_S) * 1000))
    plane.add_deployment("d" * 40, at_ms=int((change - 60) * 1000), state="ERROR")
    bundle(world, good, 180_000)
    bundle(world, bad, 240_000)
    store = SnapshotStore(world.root, "production")
    for hours, calls, mean in ((-9, 100, 4.0), (-1, 1100, 4.0), (1, 1200, 4.0), (9, 2200, 12.0)):
        store.write(snapshot(change + hours * 3600, calls, mean), keep=100)
    incident = {"name": "Slow builds", "impact": "minor", "shortlink": "https://stspg.io/x",
                "started_at": iso(change - 900), "created_at": iso(change - 900),
                "resolved_at": iso(change + 7200)}  # fmt: skip
    old = {**incident, "name": "Long over", "started_at": iso(now - 4 * DAY_S),
           "resolved_at": iso(now - 3.9 * DAY_S)}  # fmt: skip
    with status_page([incident, old]) as page:
        world.call(vercel=vercel(plane, page))
        code, document = opsctl(world, "--since", "6d")

    assert code == 1
    checks = {each["check"]: each for each in document["data"]["checks"]}
    assert checks["health"]["changes"] == []
    found = checks["selftest"]
    assert found["slower_since"] == pytest.approx(change, abs=1800)
    assert found["deployments"] == [guilty]
    assert found["incidents"] == ["Slow builds"]
    (query,) = found["queries"]
    assert (query["query_id"], query["before_ms"]) == (4711, pytest.approx(4.0))
    assert query["after_ms"] == pytest.approx((2200 * 12 - 1200 * 4) / 1000)
    (finding,) = (each for each in document["findings"] if each["status"] == "failed")
    assert finding["rule"] == "performance-slower"
    for said in (guilty, "Load all", "/dashboard loads 240 instead of 180 kB", "Slow builds",
                 "query 4711"):  # fmt: skip
        assert said in finding["evidence"]
    assert "rows" not in finding["evidence"]
    assert "canary" not in json.dumps(document)


def test_without_suspects_it_says_so(world: World, plane: VercelPlane) -> None:
    now = time.time()
    plant(world, "web", now - 2 * DAY_S, 2.5)
    plane.add_deployment("a" * 40, at_ms=int((now - 5 * DAY_S) * 1000))
    with status_page([]) as page:
        world.call(vercel=vercel(plane, page))
        code, document = opsctl(world, "--since", "6d")

    assert code == 1
    (finding,) = document["findings"]
    assert "nothing that was looked at happened" in finding["evidence"]
    assert "0 snapshots" in finding["evidence"]


def test_slower_within_the_objective_is_a_warning(world: World) -> None:
    world.call()
    plant(world, "web", time.time() - 2 * DAY_S, 1.35)

    code, document = opsctl(world, "--since", "6d")

    assert code == 0
    assert [each["severity"] for each in document["findings"]] == ["warning"]


def test_what_recovered_is_well(world: World) -> None:
    world.call()
    now = time.time()
    dice = random.Random(1)
    slow = (now - 4 * DAY_S, now - 2 * DAY_S)
    world.plant("web", now - 6 * DAY_S, now, took_ms=lambda at: dice.lognormvariate(4.5, 0.2)
                * (3 if slow[0] <= at < slow[1] else 1))  # fmt: skip

    code, document = opsctl(world, "--since", "6d")

    assert code == 0
    assert document["findings"][0]["title"] == "web recovered"
    assert len(document["data"]["checks"][0]["changes"]) == 2


def test_what_was_always_slow_is_told_apart(world: World) -> None:
    world.call()
    plant(world, "web", 0, 4.0)

    code, document = opsctl(world, "--since", "6d")

    assert (code, document["findings"][0]["rule"]) == (1, "performance-slow")


def test_maintenance_makes_nothing_slow(world: World) -> None:
    from opsctl.areas.healthcheck import windows

    call = world.call()
    now = time.time()
    dice = random.Random(1)
    world.plant("web", now - 5 * DAY_S, now, took_ms=lambda at: dice.lognormvariate(4.5, 0.2)
                * (5 if at > now - 0.5 * DAY_S else 1))  # fmt: skip
    assert opsctl(world, "--since", "5d")[0] == 1

    windows.add(call, begin="12h", end="now", reason="load test")

    assert opsctl(world, "--since", "5d")[0] == 0


def test_too_little_history_is_unknown(world: World) -> None:
    world.call()
    assert opsctl(world)[0] == 3
    now = time.time()
    world.plant("web", now - 2 * DAY_S, now)

    code, document = opsctl(world)

    assert code == 3
    assert document["findings"][0]["rule"] == "performance-not-enough-data"
    assert "it takes 72" in document["findings"][0]["evidence"]


def test_what_could_not_be_asked_is_unknown_and_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_VERCEL", "-".join(["canary", "vercel", "9931"]))
    world.call(vercel={"project": "web", "token": "env:T_ABSENT", "api": "http://127.0.0.1:9",
                       "status_page": "http://127.0.0.1:9"})  # fmt: skip
    plant(world, "web", time.time() - 2 * DAY_S, 2.5)

    code, document = opsctl(world, "--since", "6d")

    unknown = {each["rule"] for each in document["findings"] if each["status"] == "unknown"}
    assert (code, unknown) == (1, {"performance-deployments", "performance-provider"})


def test_statistics_that_were_reset_are_not_compared(world: World) -> None:
    world.call()
    change = time.time() - 2 * DAY_S
    plant(world, "web", change, 2.5)
    store = SnapshotStore(world.root, "production")
    for hours, reset_at in ((-9, 1.0), (-1, 2.0), (1, 2.0), (9, 2.0)):
        store.write(snapshot(change + hours * 3600, 100, 4.0, reset_at=reset_at), keep=100)

    _, document = opsctl(world, "--since", "6d")

    assert document["data"]["checks"][0]["queries"] == []
    assert "reset" in document["findings"][0]["evidence"]


@pytest.mark.parametrize(
    ("words", "code"), [(("--since", "x"), "not-a-duration"), (("--only", "x"), "no-such-check")]
)
def test_a_wrong_call_is_refused(world: World, words: tuple[str, ...], code: str) -> None:
    world.call()

    exit_code, document = opsctl(world, *words)

    assert (exit_code, document["error"]["code"]) == (2, code)


@pytest.mark.parametrize(
    "bad",
    ["{}", '{"incidents": 5}', '{"incidents": [5]}', '{"incidents": [{"name": 1}]}', "[" * 9999,
     '{"incidents": [{"created_at": "2026-01-01T00:00:00"}]}', "<html>"],
)  # fmt: skip
def test_a_status_page_that_says_something_else_is_no_traceback(bad: str) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(bad)))
            self.end_headers()
            self.wfile.write(bad.encode())

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        listed = read_incidents(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()

    assert listed.incidents == ()
    assert "no list of Statuspage's incidents" in listed.why


def test_a_change_knows_its_direction() -> None:
    assert Change(0, 100, 150, 0.0).slower
    assert Change(0, 100, 150, 0.0).factor == 1.5
    assert not Change(0, 100, 90, 0.0).slower
