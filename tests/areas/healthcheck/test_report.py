"""The report: what is met, what is missed, and what the samples cannot carry."""

from __future__ import annotations

import io
import json
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from opsctl.adapters.latency_sketch import LatencySketch
from opsctl.areas.healthcheck import windows
from opsctl.areas.healthcheck.history import gather
from opsctl.areas.healthcheck.objectives import chance_of, judge, least_samples
from opsctl.areas.healthcheck.report import HealthReport, describe, report
from opsctl.areas.healthcheck.words import milliseconds, percent, rate, span, sparkline
from opsctl.cli.root import run
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Report, Status
from opsctl.core.settings import Objectives
from planted import DAY_S, EVERY_S, NOON, World, schedule, took


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def states(world: World, *, days: float = 30, **settings: Any) -> dict[str, str]:
    """Return the state of each objective of the one check there is."""
    history = gather(world.call(**settings), begin=NOON - days * DAY_S, end=NOON)
    judged = judge(history.checks[0], Objectives(**settings.get("objectives", {})))
    return {each.objective: each.state for each in judged.verdicts}


def reported(world: World, *, days: float = 30, **settings: Any) -> Report:
    """Return the report on a period that ends at NOON."""
    call = world.call(**settings)
    history = gather(call, begin=NOON - days * DAY_S, end=NOON)
    objectives = call.environment.objectives
    checks = tuple(judge(each, objectives) for each in history.checks)
    return describe(HealthReport("production", history, objectives, checks))


def rules(found: Report, status: Status) -> set[str]:
    return {finding.rule for finding in found.findings if finding.status is status}


def spread(count: int, begin: float, end: float) -> list[tuple[float, float]]:
    """Return so many single failures, evenly spread over a schedule."""
    moments = schedule(begin, end)
    picked = [moments[(2 * index + 1) * len(moments) // (2 * count)] for index in range(count)]
    return [(moment, moment + 1) for moment in picked]


@pytest.mark.parametrize(("failures", "state"), [(0, "met"), (8, "met"), (9, "missed")])
def test_a_month_at_five_minutes_allows_eight_failures(
    world: World, failures: int, state: str
) -> None:
    begin = NOON - 30 * DAY_S
    down = spread(failures, begin, NOON) if failures else []
    assert world.plant("web", begin, NOON, down=down) == 8640

    assert states(world) == {"uptime": state, "error_rate": state, "p95_ms": "met"}


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (58, {"uptime": "not enough data", "error_rate": "not enough data",
              "p95_ms": "not enough data"}),
        (59, {"uptime": "not enough data", "error_rate": "not enough data", "p95_ms": "met"}),
        (999, {"uptime": "not enough data", "error_rate": "not enough data", "p95_ms": "met"}),
        (1000, {"uptime": "met", "error_rate": "met", "p95_ms": "met"}),
    ],
)  # fmt: skip
def test_a_claim_needs_the_samples_that_carry_it(
    world: World, samples: int, expected: dict[str, str]
) -> None:
    world.plant("web", NOON - samples * EVERY_S, NOON)

    assert states(world) == expected
    found = reported(world)
    assert found.exit == (Exit.OK if samples == 1000 else Exit.UNKNOWN)
    if samples < 1000:
        assert "health-not-enough-data" in rules(found, Status.UNKNOWN)
        assert "1,000" in found.findings[0].evidence


def test_a_miss_may_be_clear_from_few_samples(world: World) -> None:
    world.plant("web", NOON - 100 * EVERY_S, NOON, down=spread(2, NOON - 100 * EVERY_S, NOON))

    assert states(world)["error_rate"] == "missed"
    assert reported(world).exit is Exit.FAILED


def test_one_failure_of_a_hundred_proves_nothing(world: World) -> None:
    world.plant("web", NOON - 100 * EVERY_S, NOON, down=spread(1, NOON - 100 * EVERY_S, NOON))

    assert states(world)["error_rate"] == "not enough data"
    assert reported(world).exit is Exit.UNKNOWN


@pytest.mark.parametrize(("samples", "state"), [(2, "not enough data"), (19, "not enough data"),
                                                (20, "missed")])  # fmt: skip
def test_the_first_minutes_prove_nothing(world: World, samples: int, state: str) -> None:
    world.plant("web", NOON - samples * EVERY_S, NOON, down=[(0, NOON)])

    assert states(world)["uptime"] == state
    (web,) = reported(world).data["checks"]
    assert (web["budget"]["left"] is None) == (state == "not enough data")


def test_few_answers_that_are_nearly_all_slow_miss_the_p95(world: World) -> None:
    world.plant("web", NOON - 20 * EVERY_S, NOON, took_ms=lambda at: 900.0)

    assert states(world)["p95_ms"] == "missed"


def test_chances_are_those_of_the_binomial_distribution() -> None:
    assert chance_of(0, 10, 0.5) == 1
    assert chance_of(10, 10, 0.5) == pytest.approx(1 / 1024)
    assert chance_of(2, 100, 0.001) == pytest.approx(0.0046, rel=0.02)
    assert chance_of(1, 100, 0.001) == pytest.approx(1 - 0.999**100)
    assert [least_samples(each) for each in (0.5, 0.95, 0.99)] == [5, 59, 299]


def test_the_monitors_own_gap_is_no_downtime_but_is_said(world: World) -> None:
    gap = (NOON - 20 * DAY_S, NOON - 12 * DAY_S)
    world.plant("web", NOON - 30 * DAY_S, NOON, blind=[gap])

    found = reported(world)

    assert (found.status, found.exit) == (Status.OK, Exit.OK)
    (uncovered,) = (each for each in found.findings if each.rule == "health-coverage")
    assert "73.3 %" in uncovered.title
    assert found.data["checks"][0]["uptime"] == 1
    assert found.text is not None
    # 13 August at noon until the 21st: seven whole days without anything, and no block for them.
    line = next(line for line in found.text.splitlines() if line.strip().startswith("✓  web"))
    assert line.count("·") == 7


def test_a_schedule_that_really_ran_hourly_is_seen(world: World) -> None:
    world.plant("web", NOON - 60 * DAY_S, NOON, every_s=3600)

    found = reported(world, days=60)

    (uncovered,) = (each for each in found.findings if each.rule == "health-coverage")
    assert "8.3 %" in uncovered.title
    assert "one sample every 60 min on average; wanted is one every 5 min" in uncovered.evidence
    assert "health-coverage" not in rules(
        reported(world, days=60, history={"every_s": 3600.0}), Status.FAILED
    )


def test_the_percentile_is_of_all_samples_not_of_days(world: World) -> None:
    """Nine days at 100 ms and one at 2 s: the average of the days' P95s would be 290 ms."""
    slow_from = NOON - DAY_S
    world.plant("web", NOON - 10 * DAY_S, NOON,
                took_ms=lambda at: 2000.0 if at >= slow_from else 100.0)  # fmt: skip

    found = reported(world, days=10)

    assert found.data["checks"][0]["p95_ms"] == pytest.approx(2000, rel=0.01)
    assert "health-p95" in rules(found, Status.FAILED)


@pytest.mark.parametrize(("took_ms", "code"), [(299.0, 0), (301.0, 1)])
def test_within_the_sketchs_error_of_the_limit_the_samples_decide(
    world: World, took_ms: float, code: int
) -> None:
    now = time.time()
    world.plant("web", now - 5 * DAY_S, now - 60, took_ms=lambda at: took_ms)
    world.history.compact("production", before=int(now // DAY_S), every_s=EVERY_S)

    found = report(world.call(), since="5d", only=())

    assert int(found.exit) == code
    assert found.data["checks"][0]["objectives"]["p95_ms"]["value"] == took_ms


def test_the_budget_is_that_of_the_known_time(world: World) -> None:
    down = [(NOON - DAY_S, NOON - DAY_S + 1200)]
    world.plant("web", NOON - 30 * DAY_S, NOON, down=down)

    budget = reported(world).data["checks"][0]["budget"]

    assert budget["allowed_s"] == pytest.approx(2592)
    assert budget["spent_s"] == 1200
    assert budget["left"] == pytest.approx(1 - 1200 / 2592)


def test_a_budget_that_burns_is_told_before_the_objective_is_missed(world: World) -> None:
    world.plant("web", NOON - 30 * DAY_S, NOON, down=[(NOON - 1200, NOON)])

    found = reported(world)

    assert found.exit is Exit.OK
    (burning,) = (each for each in found.findings if each.rule == "health-burn-rate")
    assert "wake somebody" in burning.evidence
    rates = {each["long_s"]: each for each in found.data["checks"][0]["burn_rates"]}
    assert rates[3600]["long_rate"] == pytest.approx(1200 / 3600 / 0.001)
    assert rates[3600]["short_rate"] == pytest.approx(1000)
    assert rates[259_200]["long_rate"] == pytest.approx(1200 / 259_200 / 0.001)


def test_what_is_over_or_was_a_single_failure_does_not_burn(world: World) -> None:
    world.plant("over", NOON - 30 * DAY_S, NOON, down=[(NOON - 30_000, NOON - 25_000)])
    world.plant("once", NOON - 30 * DAY_S, NOON, down=[(NOON - 300, NOON)])

    assert "health-burn-rate" not in rules(reported(world), Status.FAILED)


def test_a_check_without_latencies_has_no_p95_to_miss(world: World) -> None:
    world.keep(took("state", moment, None) for moment in schedule(NOON - 5 * DAY_S, NOON))

    assert states(world, days=5) == {"uptime": "met", "error_rate": "met"}


def test_maintenance_is_left_out_and_named(world: World) -> None:
    outage = (NOON - 2 * DAY_S, NOON - 1.9 * DAY_S)
    world.plant("web", NOON - 30 * DAY_S, NOON, down=[outage])
    assert reported(world).exit is Exit.FAILED
    call = world.call()
    windows.add(call, begin="2026-01-01T00:00", end="2026-01-01T01:00", reason="elsewhere")
    document = {"begin": _iso(outage[0]), "end": _iso(outage[1]), "reason": "disk \x1b[31mswap"}
    windows.add(call, **document)

    found = reported(world)

    assert found.exit is Exit.OK
    assert any("1 window" in note and "swap" in note for note in found.notes)
    assert found.data["maintenance"][0]["afterwards"] is True


def _iso(moment: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(moment, UTC).isoformat()


def test_no_history_is_unknown_and_says_how_to_get_one(world: World) -> None:
    found = reported(world)

    assert found.exit is Exit.UNKNOWN
    assert "healthcheck watch" in found.findings[0].hint


def opsctl(world: World, *words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    config = str(world.root / "opsctl.yaml")
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["healthcheck", "report", *words, "--config", config])
    return code, out.getvalue(), err.getvalue()


HOSTILE = 'a"b\\c</title><script>alert(1)</script>\x1b[31m'


@pytest.fixture
def living(world: World) -> World:
    """A world whose history ends now: one check well, one ill, one hostile, one new."""
    now = time.time()
    world.call()
    world.plant("well", now - 5 * DAY_S, now, took_ms=lambda at: 50 + at % 97)
    world.plant("ill", now - 5 * DAY_S, now, down=[(now - DAY_S, now - DAY_S + 7200)],
                took_ms=lambda at: 350.0)  # fmt: skip
    world.plant(HOSTILE, now - 5 * DAY_S, now)
    world.plant("new", now - 3600, now)
    return world


def test_the_front_door_reports_in_every_format(living: World) -> None:
    shown = {}
    for format in ("text", "json", "markdown", "junit", "github", "html", "openmetrics"):
        code, out, err = opsctl(living, "--since", "5d", "--format", format)
        assert (code, err) == (1, ""), format
        assert "\x1b" not in out, format
        shown[format] = out

    document = json.loads(shown["json"])
    assert (document["command"], document["status"], document["exit_code"]) == (
        "healthcheck report", "failed", 1,
    )  # fmt: skip
    by_name = {each["check"]: each for each in document["data"]["checks"]}
    assert set(by_name) == {"well", "ill", "new", HOSTILE}
    assert {name: each["state"] for name, each in by_name.items()} == {
        "well": "met", "ill": "missed", "new": "not enough data", HOSTILE: "met",
    }  # fmt: skip
    assert by_name["ill"]["outages"][0]["failed"] == 24
    assert by_name["new"]["p95_ms"] is None
    assert "<script>" not in shown["html"]
    assert shown["text"].splitlines()[0].startswith("✗ failed  Health over 5 days")
    assert "ill was not up enough" in shown["text"]
    assert "| ill | missed |" in shown["markdown"]


def test_the_metrics_can_be_parsed_and_are_the_reports(living: World) -> None:
    _, out, _ = opsctl(living, "--since", "5d", "--format", "openmetrics")

    found = {
        (sample.name, sample.labels["check"], sample.labels.get("objective")
         or sample.labels.get("quantile") or sample.labels.get("window")): sample.value
        for family in text_string_to_metric_families(out) for sample in family.samples
    }  # fmt: skip

    assert found["opsctl_health_uptime_ratio", "well", None] == 1
    assert found["opsctl_health_uptime_ratio", "ill", None] == pytest.approx(1 - 2 / 120, rel=0.001)
    assert found["opsctl_health_objective_met", "ill", "uptime"] == 0
    assert found["opsctl_health_objective_met", "well", "p95_ms"] == 1
    assert found["opsctl_health_latency_seconds", "ill", "0.95"] == pytest.approx(0.35, rel=0.01)
    assert ("opsctl_health_latency_seconds", "new", "0.95") not in found
    assert found["opsctl_health_objective_met", "new", "p95_ms"] != 1
    assert any(check.startswith('a"b\\c<') for _, check, _ in found)


def test_one_check_can_be_asked_for(living: World) -> None:
    code, out, _ = opsctl(living, "--since", "5d", "--only", "well", "--format", "json")

    assert code == 0
    assert [each["check"] for each in json.loads(out)["data"]["checks"]] == ["well"]


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("--since", "soon"), 2, "not-a-duration"),
        (("--since", "0d"), 2, "not-a-duration"),
        (("--only", "other"), 2, "no-such-check"),
        (("--format", "sparkle"), 2, "is not one of opsctl healthcheck report"),
    ],
)
def test_a_wrong_call_is_refused(
    living: World, words: tuple[str, ...], code: int, error: str
) -> None:
    found, out, err = opsctl(living, *words)

    assert (found, error in out + err) == (code, True)


def test_a_sum_that_was_tampered_with_is_no_traceback(living: World) -> None:
    import sqlite3

    living.history.compact("production", before=int(time.time() // DAY_S), every_s=EVERY_S)
    connection = sqlite3.connect(living.root / ".opsctl" / "state.db")
    with connection:
        connection.execute("UPDATE health_day SET sketch = x'ff'")
    connection.close()

    with pytest.raises(OpsError) as caught:
        report(living.call(), since="5d", only=())

    assert (caught.value.code, caught.value.exit) == ("history-damaged", Exit.UNKNOWN)


def test_figures_are_never_rounded_in_ones_own_favour() -> None:
    assert [percent(each) for each in (1, 0.999999, 0.99949, 0.5, None, -0.86)] == [
        "100 %", "99.999 %", "99.949 %", "50 %", "-", "-86 %",
    ]  # fmt: skip
    assert [rate(each) for each in (0, 0.00012, 0.001, 0.0567, None)] == [
        "0 %", "0.012 %", "0.1 %", "5.7 %", "-",
    ]  # fmt: skip
    assert [milliseconds(each) for each in (0.42, 3.14, 243.2, 1240, None)] == [
        "0.42 ms", "3.1 ms", "243 ms", "1,240 ms", "-",
    ]  # fmt: skip
    assert [span(each) for each in (45, 1500, 11_100, 7200, 2_592_000, 2_583_000)] == [
        "45 s", "25 min", "3 h 5 min", "2 h", "30 days", "29.9 days",
    ]  # fmt: skip


def test_a_sparkline_has_a_dot_where_nothing_is_known() -> None:
    assert sparkline([0, 50, 100, None, 300], 100) == "▁▅█·█"
    assert sparkline([None, None], 0) == "··"


def test_two_environments_in_one_file_do_not_mix(world: World) -> None:
    world.plant("web", NOON - DAY_S, NOON)
    world.history.append("staging", [took("web", NOON - 100, 1.0, status="fail")])

    (web,) = gather(world.call(), begin=NOON - DAY_S, end=NOON).checks

    assert web.sums.failed == 0
    assert isinstance(web.latencies, LatencySketch)
