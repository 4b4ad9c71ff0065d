"""Ask health endpoints again and again for a while, and count what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from opsctl.adapters.http import Fetched, fetch_all
from opsctl.core.settings import HealthEndpoint


@dataclass(frozen=True)
class Ill:
    """An endpoint that failed twice in a row."""

    endpoint: HealthEndpoint
    answer: Fetched
    wrong: str


@dataclass(frozen=True)
class Watched:
    """What was seen."""

    polls: int
    failures: Mapping[str, int]
    """How often each endpoint failed, by name; those that never did are left out."""
    ill: tuple[Ill, ...]
    took_s: float

    @property
    def failed(self) -> int:
        """How many answers were wrong or missing, of all endpoints."""
        return sum(self.failures.values())


def watch(
    endpoints: Sequence[HealthEndpoint],
    *,
    seconds: float,
    pause_s: float,
    say: Callable[[str], None],
) -> Watched:
    """Watch endpoints; it ends early at the second failure in a row of one of them.

    All are asked once at least; a single failure at the end is looked into once more.
    """
    began = time.monotonic()
    in_a_row = dict.fromkeys((each.name for each in endpoints), 0)
    failures: dict[str, int] = {}
    polls = 0
    ill: list[Ill] = []
    while True:
        polls += 1
        for endpoint, answer in zip(endpoints, fetch_all(endpoints), strict=True):
            wrong = what_is_wrong(endpoint, answer)
            in_a_row[endpoint.name] = in_a_row[endpoint.name] + 1 if wrong else 0
            if wrong:
                failures[endpoint.name] = failures.get(endpoint.name, 0) + 1
                say(f"{endpoint.name}: {wrong}")
            if in_a_row[endpoint.name] >= 2:
                ill.append(Ill(endpoint, answer, wrong))
        elapsed_s = time.monotonic() - began
        if ill or (elapsed_s + pause_s > seconds and not any(in_a_row.values())):
            return Watched(polls, failures, tuple(ill), time.monotonic() - began)
        time.sleep(pause_s)


def what_is_wrong(endpoint: HealthEndpoint, answer: Fetched) -> str:
    """Return what is wrong with an answer, in words; nothing where it is well."""
    if answer.failure is not None:
        return answer.detail or answer.failure
    if answer.status != endpoint.status:
        return f"status {answer.status} instead of {endpoint.status}"
    return ""
