"""The statements of a window: what each did, who called it, and what is known of its P95; pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from opsctl.adapters.statements import Costs, Key, Session, Text, is_ours
from opsctl.areas.slowquery.p95 import Interval, Known, percentile
from opsctl.areas.slowquery.window import Window

_CONTROL = re.compile(
    r"(begin|start|commit|end|rollback|abort|savepoint|release|set|reset|show|discard|deallocate|"
    r"listen|unlisten|notify|close)\b",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?(?:\*/|$)", re.DOTALL)
_LITERAL = re.compile(
    r"""
    (?P<kept>"(?:[^"]|"")*(?:"|$))
    |(?P<comment>--[^\n]*|/\*.*?(?:\*/|$))
    |(?P<escaped>(?<![\w$])[eE]'(?:[^'\\]|''|\\.)*(?:'|$))
    |(?P<plain>'(?:[^']|'')*(?:'|$))
    |(?P<dollars>(?<![\w$])\$\$.*?(?:\$\$|$))
    |(?P<dollar>(?<![\w$])\$(?P<tag>[A-Za-z_]\w*)\$.*?(?:\$(?P=tag)\$|$))
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Statement:
    """One statement as one role sends it."""

    key: Key
    role: str
    raw: str
    """As the server keeps it; never shown."""
    calls: int
    total_ms: float
    mean_ms: float
    deviation_ms: float
    share: float
    """Of the time of all statements shown."""
    costs: Costs | None
    """None where they cannot be told apart from what was before."""
    known: Known
    callers: tuple[str, ...]
    """Applications that were seen with it."""
    nested: bool
    """Whether a function called it: its time is in that of another statement, too."""
    control: bool
    """Whether it only begins, ends or sets something."""
    torn: bool

    @cached_property
    def text(self) -> str:
        """What may be shown: literals masked, no comments, white space made single spaces."""
        return shown(self.raw)

    @cached_property
    def p95(self) -> Interval:
        """The interval that holds the 95th percentile of its calls."""
        return percentile(self.known) or Interval(0.0, 0.0)

    @property
    def method(self) -> str:
        """How its durations are known."""
        return method(self.known)

    @property
    def query_id(self) -> int:
        """The server's number of it."""
        return self.key[1]


def method(known: Known) -> str:
    """Return how durations are known: `sampled` exactly, by a `bound`, or `both`."""
    if not known.segments:
        return "sampled"
    return "both" if 2 * known.exact_calls >= known.calls else "bound"


def list_statements(
    window: Window,
    *,
    texts: Mapping[Key, Text],
    roles: Mapping[int, str],
    sessions: Iterable[Session],
    only: Collection[str] = (),
) -> tuple[Statement, ...]:
    """Return the statements of a window but our own and those to be ignored.

    `only` names the roles that are wanted; none means all.
    """
    seen: dict[int, dict[str, None]] = {}
    for session in sessions:
        if session.query_id is not None and session.application:
            seen.setdefault(session.query_id, {})[session.application] = None
    chosen = []
    for key, spent in window.spent.items():
        text = texts.get(key)
        if text is not None and (is_ours(text.text) or text.ignored):
            continue
        role = roles.get(key[0], f"role {key[0]}")
        if not only or role in only:
            chosen.append((key, spent, role, text))
    everything = sum(spent.total_ms for key, spent, _, _ in chosen if key[2]) or 1.0
    return tuple(
        Statement(
            key=key,
            role=role,
            raw=text.text if text is not None else "(its text is not kept any more)",
            calls=(calls := spent.calls),
            total_ms=spent.total_ms,
            mean_ms=spent.total_ms / calls,
            deviation_ms=spent.deviation_ms,
            share=spent.total_ms / everything,
            costs=window.costs.get(key),
            known=spent.known,
            callers=tuple(seen.get(key[1], ())),
            nested=not key[2],
            control=text is not None and is_control(text.text),
            torn=key in window.torn,
        )
        for key, spent, role, text in chosen
    )


_ORDERS: dict[str, Callable[[Statement], tuple[float, ...]]] = {
    "total": lambda each: (each.total_ms,),
    "mean": lambda each: (each.mean_ms,),
    "p95": lambda each: (each.p95.low, each.p95.high),
    "calls": lambda each: (each.calls,),
    "temp": lambda each: (_temp(each), each.total_ms),
    "wal": lambda each: (each.costs.wal_bytes if each.costs else 0, each.total_ms),
}
ORDERS = tuple(_ORDERS)


def order(listed: Sequence[Statement], by: str) -> list[Statement]:
    """Return statements, the most expensive first."""
    return sorted(listed, key=_ORDERS[by], reverse=True)


def _temp(statement: Statement) -> int:
    costs = statement.costs
    return costs.temp_read_blocks + costs.temp_written_blocks if costs is not None else 0


def all_calls(listed: Iterable[Statement]) -> Known:
    """Return what is known of the calls that count for the P95 of everything.

    Nested calls are within others. Statements that only control a transaction or a session are
    left out: thousands of them would hide what is slow.
    """
    known = Known()
    for each in listed:
        if not each.nested and not each.control:
            known.add(each.known)
    return known


def is_control(text: str) -> bool:
    """Whether a statement only begins, ends or sets something."""
    return _CONTROL.match(_COMMENT.sub(" ", text).lstrip()) is not None


def shown(text: str) -> str:
    """Return a statement's text without comments, and its literals masked.

    PostgreSQL normalises what it plans, not `ALTER ROLE ... PASSWORD '...'`.
    """

    def mask(match: re.Match[str]) -> str:
        if match.lastgroup == "kept":
            return match.group()
        return " " if match.lastgroup == "comment" else "'…'"

    return " ".join(_LITERAL.sub(mask, text).split())


def fingerprint(text: str) -> str:
    """Return what tells a statement from others where query ids cannot: in another version."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
