"""The second look: at each place that the fast engine names, is there a secret, and which?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from opsctl.adapters.secret_scanner import assignments, formats, stack
from opsctl.adapters.secret_scanner.placeholders import is_placeholder
from opsctl.adapters.secret_scanner.randomness import entropy, surprise
from opsctl.adapters.secret_scanner.rules import Rule
from opsctl.adapters.secret_scanner.sighting import Buffer, Check, Place, Sighting, Verdict

CHECKS: Mapping[str, Check] = {
    "github": formats.checked_token,
    "npm": formats.checked_token,
    "random": formats.random_token,
    "random_letters": formats.random_token,
    "random_or_uuid": formats.random_or_uuid,
    "provider": formats.provider_value,
    "slack": formats.slack,
    "slack_webhook": formats.slack_webhook,
    "discord": formats.discord,
    "google_key": formats.google_key,
    "vault_token": formats.vault_token,
    "twitter_bearer": formats.twitter_bearer,
    "pem": formats.pem,
    "pem_in_base64": formats.pem_in_base64,
    "putty": formats.putty,
    "jwk": formats.jwk,
    "kubernetes": formats.kubernetes,
    "basic_auth": formats.basic_auth,
    "generic_password": assignments.generic_password,
    "generic_secret": assignments.generic_secret,
    "generic_line": assignments.generic_line,
    "generic_near": assignments.generic_near,
    "any": formats.any_value,
    "assigned": formats.assigned_value,
    "command_password": assignments.command_password,
    "bearer": assignments.bearer,
    "plain_value": assignments.plain_value,
    "password_value": assignments.password_value,
    "supabase_secret": stack.supabase_secret,
    "jwt": stack.jwt,
    "database_url": stack.database_url,
    "url_password": stack.url_password,
    "url_token": stack.url_token,
    "dsn": stack.dsn,
    "pgpass": stack.pgpass,
}
_AHEAD = 2100
"""Bytes after the end of a shortest match that the whole match may take."""
_LONG_AHEAD = {"pem_in_base64": 6200, "jwt": 1200}
_MOST_REJECTED = 100_000
"""Rejected places that are remembered, by a hash of what stands around them."""
_STARTS = 4
"""Places tried as the start of a match that ends where the engine says."""
_WHOLE_VALUE = frozenset(
    """pem pem_in_base64 putty jwk kubernetes database_url jwt url_password basic_auth
    twitter_bearer""".split()  # noqa: SIM905
)
"""Checks that judge more than the group `secret`: neither entropy nor placeholders are asked."""

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
        rule = self._rules[index]
        ready = self._ready[index]
        start, end = match.span(ready.group if ready is not None else 0)
        if start < 0:
            start, end = match.span()
        begin, stop = match.span()
        value = str(data[start:end], "latin-1")
        own = rule.check in _WHOLE_VALUE or rule.check in ("password_value", "dsn", "pgpass")
        if not own and entropy(value) < rule.entropy:
            return None
        # A name and a form say little: what stands there must look drawn, too.
        check = rule.check or ("assigned" if rule.assigned else "any")
        seen = Sighting(rule, place, data, str(data[begin:stop], "latin-1"), value, start, begin)
        verdict = CHECKS[check](seen)
        if verdict is None:
            return None
        # Last, since it takes longest.
        if not own and is_placeholder(value, strict=rule.severity == "critical"):
            return None
        return Hit(index, verdict, start, end, verdict.value or value)


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
