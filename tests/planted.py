"""Health histories planted for tests: checks whose every sample is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsctl.adapters.health_history import HealthHistory
from opsctl.core.call import Call
from opsctl.core.sample import Sample
from opsctl.core.settings import Settings

DAY_S = 86_400
EVERY_S = 300
NOON = 20_700 * DAY_S + DAY_S // 2
"""A noon of 2026, UTC: where periods of tests end."""


def took(check: str, due_at: float, took_ms: float | None, *, status: str = "pass") -> Sample:
    """Return a sample that began on time."""
    reason = {"fail": "timeout", "unknown": "offline"}.get(status, "")
    return Sample(check, due_at, due_at, took_ms, took_ms, status, reason)  # type: ignore[arg-type]


def schedule(begin: float, end: float, every_s: float = EVERY_S) -> list[float]:
    """Return the moments from `begin` until just before `end`."""
    return [begin + index * every_s for index in range(int((end - begin - 1e-6) // every_s) + 1)]


@dataclass(frozen=True)
class World:
    """A project with one environment, production, and its history."""

    root: Path

    @property
    def history(self) -> HealthHistory:
        """The store."""
        return HealthHistory(self.root / ".opsctl" / "state.db")

    def call(self, **settings: Any) -> Call:
        """Return a call for the environment, and write its settings for the front door, too."""
        document = {"environments": {"production": settings}}
        (self.root / "opsctl.yaml").write_text(json.dumps(document))
        return Call(
            Settings.model_validate_json(json.dumps(document)),
            self.root,
            "production",
            lambda line: None,
        )

    def keep(self, samples: Iterable[Sample]) -> None:
        """Keep samples as they are."""
        self.history.append("production", samples)

    def plant(
        self,
        check: str,
        begin: float,
        end: float,
        *,
        every_s: float = EVERY_S,
        took_ms: Callable[[float], float] = lambda at: 100.0,
        down: Iterable[tuple[float, float]] = (),
        blind: Iterable[tuple[float, float]] = (),
    ) -> int:
        """Keep a sample every so often, failed while `down`; none at all while `blind`."""
        down, blind = tuple(down), tuple(blind)
        samples = []
        for at in schedule(begin, end, every_s):
            if any(first <= at < last for first, last in blind):
                continue
            failed = any(first <= at < last for first, last in down)
            samples.append(took(check, at, None, status="fail") if failed
                           else took(check, at, took_ms(at)))  # fmt: skip
        self.keep(samples)
        return len(samples)
