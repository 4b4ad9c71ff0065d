"""What the history says of a period is what its samples say, packed or not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from opsctl.adapters.health_day import day_of
from opsctl.areas.healthcheck import windows
from opsctl.areas.healthcheck.history import History, gather, record
from opsctl.areas.healthcheck.history_sums import BURN_SPANS_S
from opsctl.core.sample import Sample
from planted import DAY_S, EVERY_S, NOON, World, schedule, took


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def figures(history: History) -> list[object]:
    """Return everything that a history says, its sketches as bytes."""
    return [
        (each.check, each.expected_s, each.sums, each.latencies.to_bytes(), each.first_at,
         each.last_at, each.bars, each.outages, each.burns)
        for each in history.checks
    ]  # fmt: skip


def pack(world: World) -> None:
    world.history.compact("production", before=NOON // DAY_S + 1, every_s=EVERY_S)


def random_samples(dice: random.Random, check: str, begin: float, end: float) -> list[Sample]:
    """Return samples of a monitor that is late, sleeps, and asks more often now and then."""
    found, at = [], begin
    while at < end:
        status = dice.choices(["pass", "warn", "fail", "unknown"], [90, 2, 5, 3])[0]
        took_ms = None if status == "unknown" else round(dice.lognormvariate(5, 0.7), 2)
        found.append(took(check, round(at, 3), took_ms, status=status))
        at += dice.choice([10, EVERY_S, EVERY_S, EVERY_S, 420, 3600, 40_000])
    return found


@pytest.mark.parametrize("days", [0.2, 1.3, 3.7, 12, 90])
def test_packed_or_not_the_history_says_the_same(world: World, days: float) -> None:
    dice = random.Random(days)
    begin = NOON - 95 * DAY_S
    for check in ("db", "web"):
        world.keep(random_samples(dice, check, begin, NOON + DAY_S))
    call = world.call()
    windows.add(call, begin=at(NOON - 2.6 * DAY_S), end=at(NOON - 2.2 * DAY_S), reason="a")
    windows.add(call, begin=at(NOON - 9 * DAY_S), end=at(NOON - 7.5 * DAY_S), reason="b")
    loose = figures(gather(call, begin=NOON - days * DAY_S, end=NOON))

    pack(world)

    assert world.history.days("production", 0, 10**6)
    assert figures(gather(call, begin=NOON - days * DAY_S, end=NOON)) == loose


def at(moment: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(moment, UTC).isoformat()


@pytest.mark.parametrize("seed", range(6))
def test_the_sums_are_those_of_the_samples_one_by_one(world: World, seed: int) -> None:
    """The oracle knows nothing of days, bars and packing."""
    dice = random.Random(seed)
    samples = random_samples(dice, "web", NOON - 20 * DAY_S, NOON + DAY_S)
    world.keep(samples)
    pack(world)
    call = world.call()
    first, last = NOON - 5.2 * DAY_S, NOON - 4.9 * DAY_S
    windows.add(call, begin=at(first), end=at(last), reason="maintenance")
    begin = NOON - 17.3 * DAY_S
    counted = [each for each in samples
               if begin <= each.due_at < NOON and not first <= each.due_at < last]  # fmt: skip
    known = down = 0.0
    for each, following in zip(counted, [*counted[1:], None], strict=True):
        gap = EVERY_S if following is None else following.due_at - each.due_at
        speaks = gap if gap <= 1.5 * EVERY_S else EVERY_S
        known += speaks if each.status != "unknown" else 0
        down += speaks if each.status == "fail" else 0
    times = sorted(
        each.took_ms for each in counted if each.took_ms is not None and each.status != "unknown"
    )

    (web,) = gather(call, begin=begin, end=NOON).checks

    statuses = [each.status for each in counted]
    assert web.sums[:4] == tuple(map(statuses.count, ("pass", "warn", "fail", "unknown")))
    # At each of 18 midnights the oracle's sample may speak a little longer or shorter.
    assert web.sums.known_s == pytest.approx(known, abs=18 * EVERY_S / 2)
    assert web.sums.down_s == pytest.approx(down, abs=18 * EVERY_S / 2)
    assert web.expected_s == pytest.approx(17.3 * DAY_S - (last - first))
    assert (web.first_at, web.last_at) == (counted[0].due_at, counted[-1].due_at)
    for quantile in (0.5, 0.95, 0.99):
        assert web.latencies.quantile_ms(quantile) == pytest.approx(
            times[int(quantile * (len(times) - 1))], rel=0.01001
        )
    assert sum(bar.sums.judged for bar in web.bars) == web.sums.judged


def test_a_gap_is_unknown_in_every_bar_and_never_up(world: World) -> None:
    blind = (NOON - 5 * DAY_S, NOON - 2 * DAY_S)
    world.plant("web", NOON - 10 * DAY_S, NOON, blind=[blind])

    (web,) = gather(world.call(), begin=NOON - 10 * DAY_S, end=NOON).checks

    assert web.sums.uptime == 1
    assert web.coverage == pytest.approx(0.7)
    assert [bar.sums.uptime for bar in web.bars].count(None) == 2
    assert [bar.coverage for bar in web.bars] == pytest.approx(
        [1, 1, 1, 1, 1, 0.5, 0, 0, 0.5, 1, 1]
    )


def test_what_could_not_look_is_no_downtime(world: World) -> None:
    world.keep(took("web", moment, None, status="unknown")
               for moment in schedule(NOON - DAY_S, NOON - DAY_S / 2))  # fmt: skip
    world.plant("web", NOON - DAY_S / 2, NOON)

    (web,) = gather(world.call(), begin=NOON - DAY_S, end=NOON).checks

    assert (web.sums.uptime, web.coverage) == (1, pytest.approx(0.5))


def test_a_window_marked_afterwards_takes_an_outage_out_and_back(world: World) -> None:
    outage = (NOON - 3.02 * DAY_S, NOON - 3 * DAY_S)
    world.plant("web", NOON - 30 * DAY_S, NOON, down=[outage])
    pack(world)
    call = world.call()

    def uptime() -> float | None:
        return gather(call, begin=NOON - 30 * DAY_S, end=NOON).checks[0].sums.uptime

    before = uptime()
    assert before is not None
    assert before < 0.9995
    added = windows.add(call, begin=at(outage[0] - 60), end=at(outage[1] + 60), reason="moved")
    assert uptime() == 1
    windows.remove(call, added.data["window"]["id"])
    assert uptime() == before


def test_a_monthly_window_is_left_out(world: World) -> None:
    call = world.call(
        maintenance_windows=[{"name": "m", "on": "first sunday", "at": "02:00", "hours": 3.0}]
    )
    sunday = gather(call, begin=NOON - 40 * DAY_S, end=NOON).windows[-1].begins_at
    world.plant("web", NOON - 40 * DAY_S, NOON, down=[(sunday, sunday + 3 * 3600)])

    (web,) = gather(call, begin=NOON - 40 * DAY_S, end=NOON).checks

    assert web.sums.uptime == 1
    assert web.outages == ()
    assert web.coverage == pytest.approx(1, abs=0.001)


def test_the_period_holds_its_begin_and_not_its_end(world: World) -> None:
    world.keep(took("web", moment, 1.0) for moment in (99.9, 100.0, 150.0, 200.0))

    (web,) = gather(world.call(), begin=100, end=200).checks

    assert (web.sums.passed, web.first_at, web.last_at) == (2, 100, 150)


def test_an_outage_over_midnight_is_one_packed_or_not(world: World) -> None:
    midnight = NOON - DAY_S // 2
    world.plant("web", NOON - 3 * DAY_S, NOON, down=[(midnight - 900, midnight + 600)])
    for _ in range(2):
        (web,) = gather(world.call(), begin=NOON - 30 * DAY_S, end=NOON).checks
        assert [
            (each.begin_ms / 1000, each.end_ms / 1000, each.failed) for each in web.outages
        ] == [(midnight - 900, midnight + 600, 5)]
        pack(world)


def test_burn_rates_are_of_the_last_stretches(world: World) -> None:
    world.plant("web", NOON - 10 * DAY_S, NOON, down=[(NOON - 1800, NOON - 600)])
    world.plant("well", NOON - 10 * DAY_S, NOON, down=[(NOON - 9 * DAY_S, NOON - 8 * DAY_S)])
    pack(world)

    web, well = gather(world.call(), begin=NOON - 30 * DAY_S, end=NOON).checks

    assert well.burns == ()
    down = dict(zip(BURN_SPANS_S, (each.down_s for each in web.burns), strict=True))
    assert down == {300: 0, 1800: 1200, 3600: 1200, 21600: 1200, 259_200: 1200}
    known = [each.known_s for each in web.burns]
    assert known == pytest.approx(list(BURN_SPANS_S))


def test_bars_fit_the_period(world: World) -> None:
    call = world.call(health=[{"name": "web", "url": "https://www.example.com"}])
    for days, most in ((0.1, 40), (1, 30), (3, 30), (30, 32), (62, 64), (365, 54), (3650, 523)):
        (web,) = gather(call, begin=NOON - days * DAY_S, end=NOON).checks
        assert web.bars[0].begin == NOON - days * DAY_S
        assert web.bars[-1].end == NOON
        assert all(bar.end > bar.begin for bar in web.bars)
        assert len(web.bars) <= most
        assert sum(bar.expected_s for bar in web.bars) == pytest.approx(days * DAY_S)


def test_a_check_of_the_settings_without_a_sample_is_there(world: World) -> None:
    call = world.call(health=[{"name": "new", "url": "https://www.example.com"}])
    world.plant("old", NOON - DAY_S, NOON)

    checks = gather(call, begin=NOON - DAY_S, end=NOON).checks

    assert [(each.check, each.sums.judged) for each in checks] == [("new", 0), ("old", 288)]


def test_only_the_checks_asked_for_are_read(world: World) -> None:
    for check in ("a", "b", "c"):
        world.plant(check, NOON - DAY_S, NOON)

    history = gather(world.call(), begin=NOON - DAY_S, end=NOON, only=["c", "a"])

    assert [each.check for each in history.checks] == ["a", "c"]


def test_recording_packs_days_that_are_over_and_forgets_old_ones(world: World) -> None:
    import time

    now = time.time()
    call = world.call(history={"retention_days": 3})
    old = [took("web", now - days * DAY_S, 5.0) for days in range(6)]

    assert record(call, old) == 6
    assert record(call, [took("web", now + 0.01, 5.0), old[0]]) == 1

    today = day_of(round(now * 1000))
    days = {day.day for day in world.history.days("production", 0, today)}
    loose = {day for _, day in world.history.loose("production", 0, today)}
    assert days == {today - 1, today - 2, today - 3}
    assert loose == {today}
