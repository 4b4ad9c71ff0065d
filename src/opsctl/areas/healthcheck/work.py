"""Look once at everything, write it down, and say what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.areas.healthcheck.facts import gather
from opsctl.areas.healthcheck.show import report_on
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsctl.core.call import Call
    from opsctl.core.report import Report
    from opsctl.core.sample import Sample

_DAY_S = 86400


def run_once(call: Call, *, only: tuple[str, ...], retries: int, record: bool) -> Report:
    """Return the report on an environment, its samples kept in the history."""
    verdicts = gather(call, only=only, retries=retries)
    notes: tuple[str, ...] = ()
    if record and verdicts:
        why = keep_samples(call, (verdict.sample for verdict in verdicts))
        notes = (f"Not kept in the history: {why}",) if why else ()
    limit_ms = call.environment.limits.response_ms
    return report_on(verdicts, environment=call.name, limit_ms=limit_ms, notes=notes)


def keep_samples(call: Call, samples: Iterable[Sample]) -> str:
    """Keep samples in the history; return why that failed, empty where it did not.

    A store that cannot be written is no reason to be silent about what was seen.
    """
    import time

    from opsctl.adapters.health_history import HealthHistory

    settings = call.environment.history
    today = int(time.time() // _DAY_S)
    try:
        # As `history.record` does, without what reading a history takes: it is to be quick.
        store = HealthHistory(call.state)
        store.append(call.name, samples)
        if store.compact(call.name, before=today, every_s=settings.every_s):
            store.prune(call.name, before=today - settings.retention_days)
    except OpsError as error:
        return f"{error.what}: {error.why}"
    return ""
