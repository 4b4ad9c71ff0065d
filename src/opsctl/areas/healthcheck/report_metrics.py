"""The health report as OpenMetrics: for a textfile collector, so without time stamps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsctl.areas.healthcheck.objectives import Judged
    from opsctl.areas.healthcheck.report import HealthReport

Lines = Iterable[tuple[str, dict[str, str], float | None]]
_STATES = {"met": 1.0, "missed": 0.0, "not enough data": math.nan}
_WINDOWS = {300: "5m", 1800: "30m", 3600: "1h", 21600: "6h", 259_200: "3d"}


def metrics(health: HealthReport) -> str:
    """Return one exposition; what is not known has no line."""
    families: tuple[tuple[str, str, str, str, Callable[[Judged], Lines]], ...] = (
        ("opsctl_health_uptime_ratio", "gauge", "ratio",
         "Share of the known time that was not down.",
         lambda each: [("", {}, each.history.sums.uptime)]),
        ("opsctl_health_error_ratio", "gauge", "ratio",
         "Share of the samples that failed.",
         lambda each: [("", {}, each.history.sums.error_rate)]),
        ("opsctl_health_coverage_ratio", "gauge", "ratio",
         "Share of the time that was looked at.",
         lambda each: [("", {}, each.history.coverage)]),
        ("opsctl_health_latency_seconds", "summary", "seconds",
         "Latencies of the answers, from due to done, within 1 %.", _latency),
        ("opsctl_health_budget_left_ratio", "gauge", "ratio",
         "Share of the error budget that is left.",
         lambda each: [("", {}, each.budget.left if each.budget_known else None)]),
        ("opsctl_health_burn_rate", "gauge", "",
         "How many times as fast as allowed the error budget goes.", _burns),
        ("opsctl_health_objective_met", "gauge", "",
         "1 met, 0 missed, NaN not enough data.",
         lambda each: [("", {"objective": verdict.objective}, _STATES[verdict.state])
                       for verdict in each.verdicts]),
        ("opsctl_health_last_sample_timestamp_seconds", "gauge", "seconds",
         "When the newest sample was due.",
         lambda each: [("", {}, each.history.last_at)]),
    )  # fmt: skip
    lines = []
    for name, kind, unit, help_, look in families:
        lines.append(f"# TYPE {name} {kind}")
        if unit:
            lines.append(f"# UNIT {name} {unit}")
        lines.append(f"# HELP {name} {help_}")
        for each in health.checks:
            labels = {"environment": health.environment, "check": each.history.check}
            lines += [
                f"{name}{suffix}{_labels({**labels, **more})} {_number(value)}"
                for suffix, more, value in look(each)
                if value is not None
            ]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _latency(judged: Judged) -> Lines:
    for quantile in (0.5, 0.95, 0.99):
        value = judged.quantile_ms(quantile)
        yield "", {"quantile": f"{quantile:g}"}, None if value is None else value / 1000
    yield "_count", {}, float(judged.history.latencies.count)


def _burns(judged: Judged) -> Lines:
    rates = {}
    for burn in judged.burns:
        rates[burn.long_s], rates[burn.short_s] = burn.long_rate, burn.short_rate
    for span_s, value in sorted(rates.items()):
        yield "", {"window": _WINDOWS[int(span_s)]}, value


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    shown = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    # A carriage return or an escape would break lines or terminals further on.
    return "".join(sign if sign.isprintable() else "?" for sign in shown)


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.10g}"
