"""What a control plane can be told to do wrong, once or several times, for a drill or a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

Kind = Literal[
    "latency",
    "rate-limit",
    "error-before",
    "error-after",
    "refused",
    "empty",
    "truncated",
    "reset-before",
    "reset-after",
    "expired-token",
]
"""before: instead of the effect. after, empty, truncated: the effect is there, the answer not."""
KINDS: tuple[str, ...] = get_args(Kind)
BEFORE = frozenset({"rate-limit", "error-before", "refused", "reset-before", "expired-token"})
"""Kinds after which the request has had no effect."""


@dataclass
class Fault:
    """One thing that goes wrong with the next `times` requests that it fits."""

    kind: Kind
    path: str = ""
    """A text within the request's path; empty fits all."""
    method: str = ""
    """Empty fits all."""
    times: int = 1
    delay_s: float = 0.0
    """How long the answer takes, beside whatever else is wrong with it."""
    retry_after_s: int = 1
    """What a rate limit asks to wait."""
    status: int = field(default=0)
    """Of `error-before`, `error-after` and `refused`; 0: 500, and 403 for refused."""

    def fits(self, method: str, path: str) -> bool:
        """Whether it is the turn of this request."""
        return self.times > 0 and self.path in path and self.method in ("", method)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def fault_from_json(data: Mapping[str, Any]) -> Fault:
    """Return the fault that JSON data describes; raises ValueError naming what is wrong."""
    known = {each.name for each in fields(Fault)}
    if unknown := sorted(set(data) - known):
        raise ValueError(f"unknown: {', '.join(unknown)}")
    if data.get("kind") not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}")
    return Fault(**data)
