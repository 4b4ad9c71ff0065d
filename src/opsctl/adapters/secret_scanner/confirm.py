"""The second look: at each place that the fast engine names, is there a secret, and which?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from opsctl.adapters.secret_scanner.randomness import surprise
from opsctl.adapters.secret_scanner.rules import Rule
from opsctl.adapters.secret_scanner.sighting import Buffer, Place, Verdict

_AHEAD = 2100
"""Bytes after the end of a shortest match that the whole match may take."""
_LONG_AHEAD = {"pem_in_base64": 6200, "jwt": 1200}
_MOST_REJECTED = 100_000
"""Rejected places that are remembered, by a hash of what stands around them."""
_STARTS = 4
"""Places tried as the start of a match that ends where the engine says."""
_FOR_TEXT = frozenset(
    """generic_password generic_secret generic_line generic_near command_password bearer
    plain_value password_value dsn pgpass kubernetes random random_letters""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Hit:
    """A confirmed secret in a piece of data."""

    rule: int
    verdict: Verdict
    start: int
    end: int
    """Of the secret; where the rule's match is longer, of the match's secret part."""
    secret: str


class _Ready:
    """A rule's expressions, compiled when they are first needed."""

    def __init__(self, rule: Rule) -> None:
        self._reach = rule.reach
        self._user = rule.user
        self._ahead = _LONG_AHEAD.get(rule.check, _AHEAD)
        self._shortest: Any
        self._whole: Any
        if rule.user:
            from opsctl.adapters.secret_scanner.user_rules import compile_user_rule

            self._shortest, self._whole = compile_user_rule(rule)
        else:
            flags = re.MULTILINE | (re.IGNORECASE if rule.ignore_case else 0)
            # \Z is where the search is told to end.
            self._shortest = re.compile(f"(?:{rule.trigger})\\Z".encode(), flags)
            self._whole = re.compile(rule.expression.encode(), flags)
        # RE2 knows groups by their numbers alone.
        groups = {str(name): at for name, at in self._whole.groupindex.items()}
        self.group = groups.get("secret") or groups["b'secret'"]

    def matches(self, data: Buffer, end: int) -> Iterable[Any]:
        """Yield the whole matches whose shortest form ends at `end`, the leftmost first."""
        low, high = max(0, end - self._reach), min(len(data), end + self._ahead)
        for _ in range(_STARTS):
            start = self._start(data, low, end)
            if start is None:
                return
            whole = self._whole.match(data, start, high)
            if whole is not None and whole.end() >= end:
                yield whole
            low = start + 1

    def _start(self, data: Buffer, low: int, end: int) -> int | None:
        """Return where the leftmost shortest match that ends at `end` begins."""
        base = 0
        if self._user:
            # For RE2 a text ends where it ends, not where the search is told to. A sign in front
            # tells beginnings of lines and words.
            base = max(0, low - 1)
            data = bytes(data[base:end])
        shortest = self._shortest.search(data, low - base, end - base)
        return None if shortest is None else int(shortest.start()) + base


class Confirmer:
    """Confirms with the rules' whole expressions, compiled when they are first needed."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._ready: list[_Ready | None] = [None] * len(rules)
        self._rejected: set[int] = set()
        self._quick = [
            _QUICK.get(rule.check or ("assigned" if rule.assigned else ""), 0) for rule in rules
        ]
        self._paths = [rule.paths for rule in rules]
        self._named = [bool(rule.assigned) or rule.check in _FOR_TEXT for rule in rules]

    def confirm(
        self,
        data: Buffer,
        ends: Iterable[tuple[int, int]],
        place: Place,
        *,
        text: bool = True,
    ) -> list[Hit]:
        """Return the secrets at the ends of shortest matches, each once, in order of place.

        Where two rules claim the same place, the first in the order of rules has it. In data
        that is no text, names and their values stand side by side by chance.
        """
        found: list[Hit] = []
        done: dict[int, int] = {}
        quick, paths, named, token = self._quick, self._paths, self._named, _TOKEN.match
        for index, end in sorted(ends):
            # Most ends are those of words, and there are many: this is asked first.
            least = quick[index]
            if least:
                value = token(data, end - least, end + 64)
                if value is not None and _is_words(value[0]):
                    continue
            if not text and named[index]:
                continue
            if end <= done.get(index, -1):
                continue
            if paths[index] and place.path and not re.search(paths[index], place.path):
                continue
            window = 0
            if least:
                # Of a file there are many versions in a history, and the same words in many files.
                window = hash((index, place.kind, bytes(data[max(0, end - 240) : end + 160])))
                if window in self._rejected:
                    continue
            for match in self._matches(index, data, end):
                hit = self._judge(index, data, match, place)
                if hit is not None:
                    found.append(hit)
                    done[index] = match.end()
                    break
            else:
                if window and len(self._rejected) < _MOST_REJECTED:
                    self._rejected.add(window)
        return _without_overlaps(found)

    def _matches(self, index: int, data: Buffer, end: int) -> Iterable[Any]:
        """Yield the whole matches whose shortest form ends at `end`, the longest first."""
        ready = self._ready[index]
        if ready is None:
            ready = self._ready[index] = _Ready(self._rules[index])
        return ready.matches(data, end)

    def _judge(self, index: int, data: Buffer, match: Any, place: Place) -> Hit | None:
        # What judges is compiled when something is left to judge: most small scans have nothing.
        from opsctl.adapters.secret_scanner.judging import judge

        ready = self._ready[index]
        span = match.span(ready.group if ready is not None else 0)
        judged = judge(self._rules[index], data, match.span(), span, place)
        if judged is None:
            return None
        verdict, secret = judged
        start, end = span if span[0] >= 0 else match.span()
        return Hit(index, verdict, start, end, secret)


_QUICK = {
    "generic_secret": 12,
    "generic_line": 7,
    "generic_password": 5,
    "generic_near": 20,
    "provider": 12,
    "random_or_uuid": 12,
    "assigned": 12,
    "random_letters": 14,
}
"""Bytes of the value that a shortest match of these checks' rules ends with, at least."""
_TOKEN = re.compile(rb"[^\s\"'`<>\\]+")
_DIGIT = re.compile(rb"[0-9]")
_WORDS_BITS = 4.3


@lru_cache(maxsize=4096)
def _is_words(value: bytes) -> bool:
    """Whether a value is made of words: most are, and a look at their signs shows it."""
    return _DIGIT.search(value) is None and surprise(value) < _WORDS_BITS


def _without_overlaps(hits: list[Hit]) -> list[Hit]:
    """Return hits of which no two share a byte; the rule that stands first wins."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: hit.rule):
        if not any(hit.start < other.end and other.start < hit.end for other in kept):
            kept.append(hit)
    return sorted(kept, key=lambda hit: hit.start)
