"""The history keeps each sample once and whole: in rows, packed, merged, raced for, damaged."""

from __future__ import annotations

import random
import re
import sqlite3
import stat
import threading
from pathlib import Path

import psycopg
import pytest

from opsctl.adapters import health_history
from opsctl.adapters.health_day import (
    DAY_MS,
    Day,
    Row,
    add_up,
    merged,
    outages_of,
    pack,
    row_of,
    unpack,
    unpack_times,
)
from opsctl.adapters.health_history import HealthHistory
from opsctl.adapters.latency_sketch import LatencySketch
from opsctl.core.errors import Exit, OpsError
from opsctl.core.sample import Sample

TODAY = 20_000
DAY_S = 86_400
EVERY_S = 300.0


def sample(check: str, due_at: float, status: str = "pass", took_ms: float | None = 120) -> Sample:
    late = 0.25
    own = None if took_ms is None else took_ms - late * 1000 if took_ms > 250 else took_ms
    reason = "" if status == "pass" else "timeout"
    return Sample(check, due_at, due_at + late, took_ms, own, status, reason, 200)  # type: ignore[arg-type]


def day_of_samples(check: str, day: int, dice: random.Random) -> list[Sample]:
    found = []
    for slot in range(288):
        status = dice.choices(["pass", "warn", "fail", "unknown"], [90, 3, 4, 3])[0]
        took = None if status == "unknown" else round(dice.lognormvariate(5, 0.6), 2)
        found.append(sample(check, day * DAY_S + slot * EVERY_S, status, took))
    return found


@pytest.fixture
def history(tmp_path: Path) -> HealthHistory:
    return HealthHistory(tmp_path / ".opsctl" / "state.db")


def everything(history: HealthHistory) -> dict[tuple[str, int], list[Row]]:
    """Return all rows, whether packed or not."""
    days = {(day.check, day.day) for day in history.days("production", 0, 10**6)}
    found = history.packed("production", days)
    for key, rows in history.loose("production", 0, 10**6).items():
        found[key] = merged(found.get(key, ()), rows)
    return found


def test_there_is_no_history_before_the_first_sample(history: HealthHistory) -> None:
    assert history.days("production", 0, TODAY) == []
    assert history.loose("production", 0, TODAY) == {}
    assert history.packed("production", [("web", TODAY)]) == {}
    assert history.compact("production", before=TODAY, every_s=EVERY_S) == 0


def test_reading_makes_nothing(history: HealthHistory, tmp_path: Path) -> None:
    history.loose("production", 0, TODAY)
    assert list(tmp_path.iterdir()) == []

    history.append("production", [sample("web", 1.0)])
    before = sorted(path.name for path in (tmp_path / ".opsctl").iterdir())
    history.loose("production", 0, TODAY)

    assert sorted(path.name for path in (tmp_path / ".opsctl").iterdir()) == before


def test_the_file_is_its_owners_alone(history: HealthHistory, tmp_path: Path) -> None:
    history.append("production", [sample("web", 1.0)])

    assert stat.S_IMODE((tmp_path / ".opsctl" / "state.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / ".opsctl").stat().st_mode) == 0o700


def test_a_sample_is_kept_once_and_the_first_one_holds(history: HealthHistory) -> None:
    first = sample("web", TODAY * DAY_S, "fail")

    assert history.append("production", [first, sample("web", TODAY * DAY_S + 300)]) == 2
    assert history.append("production", [sample("web", TODAY * DAY_S, "pass")]) == 0
    assert history.append("staging", [first]) == 1
    assert everything(history)["web", TODAY][0] == row_of(first)


def test_all_samples_are_kept_or_none(history: HealthHistory) -> None:
    bad = Sample("web", 2.0, 2.0, None, None, None)  # type: ignore[arg-type]

    with pytest.raises(OpsError) as caught:
        history.append("production", [sample("web", 1.0), bad])

    assert (caught.value.code, caught.value.exit) == ("state-unusable", Exit.UNKNOWN)
    assert everything(history) == {}


def test_packing_loses_nothing_and_leaves_today_alone(history: HealthHistory) -> None:
    dice = random.Random(1)
    samples = [each for day in (TODAY - 2, TODAY - 1, TODAY) for check in ("db", "web")
               for each in day_of_samples(check, day, dice)]  # fmt: skip
    history.append("production", samples)
    before = everything(history)

    assert history.compact("production", before=TODAY, every_s=EVERY_S) == 4
    assert history.compact("production", before=TODAY, every_s=EVERY_S) == 0

    assert everything(history) == before
    assert [(day.check, day.day) for day in history.days("production", 0, TODAY)] == [
        ("db", TODAY - 2), ("web", TODAY - 2), ("db", TODAY - 1), ("web", TODAY - 1),
    ]  # fmt: skip
    assert {day for _, day in history.loose("production", 0, TODAY)} == {TODAY}
    for day in history.days("production", 0, TODAY):
        assert day == add_up(day.check, day.day, before[day.check, day.day], every_s=EVERY_S)


def test_a_late_sample_joins_its_packed_day(history: HealthHistory) -> None:
    start = (TODAY - 1) * DAY_S
    history.append("production", [sample("web", start), sample("web", start + 600)])
    history.compact("production", before=TODAY, every_s=EVERY_S)
    late = [sample("web", start + 300, "fail"), sample("web", start + 600, "fail")]
    history.append("production", late)

    assert [row.status for row in everything(history)["web", TODAY - 1]] == ["pass", "fail", "pass"]
    assert history.compact("production", before=TODAY, every_s=EVERY_S) == 1

    assert [row.status for row in everything(history)["web", TODAY - 1]] == ["pass", "fail", "pass"]
    assert [day[2:6] for day in history.days("production", 0, TODAY)] == [(2, 0, 1, 0)]


def test_four_writers_that_pack_lose_nothing(history: HealthHistory, tmp_path: Path) -> None:
    path = tmp_path / ".opsctl" / "state.db"
    errors: list[BaseException] = []

    def write(worker: int) -> None:
        try:
            mine = HealthHistory(path)
            for turn in range(10):
                due = (TODAY - 1) * DAY_S + (turn * 4 + worker) * 300
                mine.append("production", [sample("web", due), sample("db", due)])
                mine.compact("production", before=TODAY, every_s=EVERY_S)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.compact("production", before=TODAY, every_s=EVERY_S)

    assert errors == []
    assert {key: len(rows) for key, rows in everything(history).items()} == {
        ("web", TODAY - 1): 40, ("db", TODAY - 1): 40,
    }  # fmt: skip
    assert [day.passed for day in history.days("production", 0, TODAY)] == [40, 40]


def test_prune_removes_what_is_older_and_nothing_else(history: HealthHistory) -> None:
    history.append(
        "production", [sample("web", day * DAY_S) for day in range(TODAY - 5, TODAY + 1)]
    )
    history.append("staging", [sample("web", (TODAY - 5) * DAY_S)])
    history.compact("production", before=TODAY - 1, every_s=EVERY_S)

    assert history.prune("production", before=TODAY) == 5

    assert list(everything(history)) == [("web", TODAY)]
    assert list(history.loose("staging", 0, TODAY)) == [("web", TODAY - 5)]


def test_a_damaged_day_is_named(history: HealthHistory, tmp_path: Path) -> None:
    history.append("production", [sample("web", 0.0)])
    history.compact("production", before=1, every_s=EVERY_S)
    with sqlite3.connect(tmp_path / ".opsctl" / "state.db") as connection:
        connection.execute("UPDATE health_day SET samples = x'0102'")
    connection.close()

    with pytest.raises(OpsError) as caught:
        history.packed("production", [("web", 0)])

    assert (caught.value.code, caught.value.exit) == ("history-damaged", Exit.UNKNOWN)
    assert "web" in caught.value.why


def test_a_file_that_is_no_database_is_named(history: HealthHistory, tmp_path: Path) -> None:
    (tmp_path / ".opsctl").mkdir()
    (tmp_path / ".opsctl" / "state.db").write_bytes(b"not a database" * 1000)

    for use in (lambda: history.days("production", 0, 1),
                lambda: history.append("production", [sample("web", 1.0)])):  # fmt: skip
        with pytest.raises(OpsError) as caught:
            use()  # type: ignore[no-untyped-call]
        assert caught.value.code == "state-unusable"
        assert str(tmp_path) in caught.value.what


def test_packing_keeps_every_value(soak: bool) -> None:
    dice = random.Random(3)
    for _ in range(400 if soak else 40):
        due, rows = TODAY * DAY_MS, []
        for _ in range(dice.randrange(1, 60)):
            due += dice.choice([1, 999, 300_000, 300_001])
            took = dice.choice([None, 0.0, 0.01, 30_000.0, round(dice.random() * 10**6, 2)])
            own = dice.choice([None, took, round(dice.random() * 1000, 2)])
            rows.append(
                Row(due, due + dice.choice([0, 3, 7000, -4000]), took, own,
                    dice.choice(["pass", "warn", "fail", "unknown"]),
                    dice.choice(["", "timeout", "tls-expired", 'od"d\n']),
                    dice.choice([None, 200, 503, 599]))
            )  # fmt: skip

        packed = pack(rows, TODAY)
        assert unpack(packed, TODAY) == rows
        assert unpack_times(packed) == [
            row.took_ms for row in rows if row.took_ms is not None and row.status != "unknown"
        ]


def test_packed_bytes_that_were_changed_are_refused_or_read_never_a_traceback() -> None:
    data = pack([row_of(each) for each in day_of_samples("web", TODAY, random.Random(5))], TODAY)
    dice = random.Random(6)
    for _ in range(300):
        broken = bytearray(data[: dice.randrange(1, len(data) + 1)])
        broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
        try:
            unpack(bytes(broken), TODAY)
        except ValueError:
            continue


def spans(*moments: tuple[float, str]) -> Day:
    rows = [row_of(sample("web", due, status)) for due, status in moments]
    return add_up("web", 0, rows, every_s=EVERY_S)


def test_a_sample_speaks_until_the_next_one() -> None:
    day = spans((0, "pass"), (300, "fail"), (600, "pass"))

    assert (day.known_s, day.down_s) == (900, 300)


def test_a_minute_sampled_densely_weighs_no_more_than_another() -> None:
    dense = [(float(at), "fail") for at in range(300, 600, 10)]
    day = spans((0, "pass"), *dense, (600, "pass"))

    assert (day.known_s, day.down_s) == (900, 300)
    assert day.failed == 30


def test_a_gap_is_neither_up_nor_down() -> None:
    day = spans((0, "pass"), (300, "fail"), (7200, "pass"))

    assert (day.known_s, day.down_s) == (900, 300)


def test_a_little_lateness_is_no_gap() -> None:
    assert spans((0, "pass"), (420, "pass")).known_s == 720


def test_what_could_not_look_is_neither_up_nor_down() -> None:
    day = spans((0, "pass"), (300, "unknown"), (600, "unknown"), (900, "fail"))

    assert (day.known_s, day.down_s, day.sums.judged, day.unknown) == (600, 300, 2, 2)


def test_only_those_that_could_look_and_got_an_answer_are_timed() -> None:
    given = [("pass", 100.0), ("fail", None), ("fail", 900.0), ("unknown", 5.0)]
    rows = [row_of(sample("web", at * 300, *each)) for at, each in enumerate(given)]
    day = add_up("web", 0, rows, every_s=EVERY_S)

    assert LatencySketch.from_bytes(day.sketch).count == 2


def test_the_same_sql_runs_in_postgresql(database_url: str) -> None:
    """A team's state store would be PostgreSQL; placeholders and one type are named otherwise."""

    def pg(statement: str) -> bytes:
        return re.sub(r"\bBLOB\b", "BYTEA", statement).replace("?", "%s").encode()

    rows = [row_of(each) for each in day_of_samples("web", TODAY - 1, random.Random(2))]
    sums = add_up("web", TODAY - 1, rows, every_s=EVERY_S)
    with psycopg.connect(database_url) as connection:
        for statement in health_history.SCHEMA:
            connection.execute(pg(statement))
        for row in (*rows, rows[0]):
            connection.execute(pg(health_history._INSERT), ("production", "web", *row))
        span = ((TODAY - 1) * DAY_MS, TODAY * DAY_MS)
        checks = connection.execute(pg(health_history._LOOSE_CHECKS), ("production",)).fetchall()
        assert checks == [("web",)]
        days = connection.execute(
            pg(health_history._LOOSE_DAYS), ("production", TODAY * DAY_MS)
        ).fetchall()
        assert days == [("web", TODAY - 1)]
        of_check = connection.execute(
            pg(health_history._LOOSE_OF_CHECK), ("production", "web", *span)
        ).fetchall()
        assert list(map(Row._make, of_check)) == rows
        days_of_check = connection.execute(
            pg(health_history._DAYS_OF_CHECK), ("production", "web", *span)
        ).fetchall()
        assert days_of_check == [(TODAY - 1,)]
        gone = connection.execute(pg(health_history._DELETE_LOOSE), ("production", "web", *span))
        assert gone.rowcount == len(rows)
        connection.execute(
            pg(health_history._INSERT_DAY), ("production", *sums, pack(rows, TODAY - 1))
        )
        found = connection.execute(
            pg(health_history._DAYS), ("production", TODAY - 1, TODAY)
        ).fetchall()
        assert list(map(Day._make, found)) == [sums]
        packed = connection.execute(
            pg(health_history._PACKED), ("production", TODAY - 1, "web")
        ).fetchone()
        assert packed is not None
        assert unpack(packed[0], TODAY - 1) == rows
        for statement, limit in zip(health_history._PRUNE, (TODAY * DAY_MS, TODAY), strict=True):
            connection.execute(pg(statement), ("production", limit))
        assert connection.execute("SELECT count(*) FROM health_day").fetchone() == (0,)


def outages(*moments: tuple[float, str]) -> list[tuple[int, ...]]:
    return [outage[:3] for outage in outages_of([spans(*moments)])]


def test_an_outage_is_a_run_of_failures() -> None:
    found = outages((0, "pass"), (300, "fail"), (600, "fail"), (900, "pass"), (1200, "fail"))

    assert found == [(300_000, 900_000, 2), (1_200_000, 1_500_000, 1)]


def test_a_gap_ends_an_outage_and_what_could_not_look_does_not() -> None:
    assert outages((0, "fail"), (300, "unknown"), (600, "fail"), (900, "warn")) == [(0, 900_000, 2)]
    assert outages((0, "fail"), (7200, "fail")) == [
        (0, 300_000, 1), (7_200_000, 7_500_000, 1),
    ]  # fmt: skip


def test_an_outage_over_midnight_is_one() -> None:
    midnight = float(DAY_S)
    days = [spans((midnight - 300, "fail")), spans((midnight, "fail"), (midnight + 300, "pass"))]

    assert [each[:3] for each in outages_of(days)] == [
        (DAY_MS - 300_000, DAY_MS + 300_000, 2),
    ]  # fmt: skip
