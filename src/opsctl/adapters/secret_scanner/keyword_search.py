"""The search without Hyperscan: where a rule's keyword stands, its expression is tried.

It finds what the fast engine finds, some twenty times slower.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from opsctl.adapters.secret_scanner.rules import Rule
from opsctl.adapters.secret_scanner.sighting import Buffer

_BEFORE, _AFTER = 700, 3200
"""Bytes around a keyword in which a shortest match may lie."""


class KeywordSearch:
    """Finds the ends of the rules' shortest matches, with `re` near keywords alone."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._triggers = [
            re.compile(
                rule.trigger.encode(), re.MULTILINE | (re.IGNORECASE if rule.ignore_case else 0)
            )
            for rule in rules
        ]
        self._rules_of: dict[bytes, list[int]] = {}
        for index, rule in enumerate(rules):
            for keyword in rule.keywords:
                self._rules_of.setdefault(keyword.lower().encode(), []).append(index)

    def scan(self, data: Buffer) -> list[tuple[int, int]]:
        """Return (index of rule, end of match) in no certain order."""
        raw = bytes(data)
        small = raw.lower()
        found: set[tuple[int, int]] = set()
        for keyword, indexes in self._rules_of.items():
            at = small.find(keyword)
            while at >= 0:
                low = max(0, at - _BEFORE)
                high = min(len(raw), at + _AFTER)
                for index in indexes:
                    for match in self._triggers[index].finditer(raw, low, high):
                        found.add((index, match.end()))
                at = small.find(keyword, at + len(keyword))
        return list(found)
