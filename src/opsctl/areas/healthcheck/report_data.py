"""The health report as data: what `--format json` holds, and its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsctl.adapters.latency_sketch import RELATIVE_ERROR

if TYPE_CHECKING:
    from opsctl.adapters.maintenance_windows import Window
    from opsctl.areas.healthcheck.history_sums import Bar
    from opsctl.areas.healthcheck.objectives import Judged
    from opsctl.areas.healthcheck.report import HealthReport

_QUANTILES = (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99))


def data(health: HealthReport) -> dict[str, Any]:
    """Return the figures; times in seconds since the epoch, shares between 0 and 1."""
    history, objectives = health.history, health.objectives
    return {
        "begin": history.begin,
        "end": history.end,
        "every_s": history.every_s,
        "objectives": {
            "uptime": objectives.uptime,
            "p95_ms": objectives.p95_ms,
            "error_rate": objectives.error_rate,
            "coverage": objectives.coverage,
        },
        "percentile_error": RELATIVE_ERROR,
        "maintenance": [_window(window) for window in history.windows],
        "checks": [_check(each) for each in health.checks],
    }


def _check(judged: Judged) -> dict[str, Any]:
    history, sums = judged.history, judged.history.sums
    return {
        "check": history.check,
        "state": judged.state,
        "samples": {
            "passed": sums.passed,
            "warned": sums.warned,
            "failed": sums.failed,
            "unknown": sums.unknown,
        },
        "first_at": history.first_at,
        "last_at": history.last_at,
        "spacing_s": history.spacing_s,
        "expected_s": history.expected_s,
        "known_s": sums.known_s,
        "down_s": sums.down_s,
        "coverage": history.coverage,
        "uptime": sums.uptime,
        "error_rate": sums.error_rate,
        **{name: judged.quantile_ms(quantile) for name, quantile in _QUANTILES},
        "objectives": {
            each.objective: {
                "state": each.state,
                "value": each.value,
                "limit": each.limit,
                "samples": each.samples,
                "needed": each.needed,
            }
            for each in judged.verdicts
        },
        "budget": {
            "allowed_s": judged.budget.allowed_s,
            "spent_s": judged.budget.spent_s,
            "left": judged.budget.left if judged.budget_known else None,
        },
        "burn_rates": [
            {
                "long_s": burn.long_s,
                "short_s": burn.short_s,
                "threshold": burn.threshold,
                "long_rate": burn.long_rate,
                "short_rate": burn.short_rate,
                "burning": burn.burning,
            }
            for burn in judged.burns
        ],
        "outages": [
            {
                "begin": outage.begin_ms / 1000,
                "end": outage.end_ms / 1000,
                "failed": outage.failed,
                "reason": outage.reason,
            }
            for outage in history.outages
        ],
        "bars": [_bar(bar) for bar in history.bars],
    }


def _bar(bar: Bar) -> dict[str, Any]:
    return {
        "begin": bar.begin,
        "end": bar.end,
        "coverage": bar.coverage,
        "uptime": bar.sums.uptime,
        "samples": bar.sums.judged,
        "failed": bar.sums.failed,
        "p95_ms": bar.p95_ms,
    }


def _window(window: Window) -> dict[str, Any]:
    return {
        "id": window.id or None,
        "begin": window.begins_at,
        "end": window.ends_at,
        "reason": window.reason,
        "afterwards": window.afterwards,
    }
