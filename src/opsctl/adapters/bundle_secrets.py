"""Secrets of every kind in what a build serves, by the scanner's rules."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from opsctl.adapters.bundle_sizes import Look, SizeCache
from opsctl.adapters.secret_scanner.patterns import identity_of_patterns, load_patterns

if TYPE_CHECKING:
    from opsctl.adapters.secret_scanner.rules import Rule
    from opsctl.adapters.secret_scanner.scanner import Found, Scanner


class RuleLookout:
    """Looks for secrets by rules in whatever passes by; may be called from several threads.

    What was clean is remembered in the cache of sizes, by its content and the rules' identity.
    """

    def __init__(self, rules: Sequence[Rule], cache: SizeCache, *, folder: str) -> None:
        self._rules = rules
        self._cache = cache
        self._folder = folder
        self._lock = threading.Lock()
        self._found: dict[str, list[Found]] = {}
        self.not_scanned: list[tuple[str, str]] = []
        """(file, why)."""

    @cached_property
    def _identity(self) -> str:
        return identity_of_patterns(self._rules)

    @cached_property
    def _scanner(self) -> Scanner:
        # Imported and loaded when something is new: it takes longer than a warm check.
        from opsctl.adapters.secret_scanner.scanner import Scanner

        return Scanner(load_patterns(self._rules))

    def spares(self, digest: str) -> bool:
        """Whether the same rules found nothing in this content before."""
        return self._cache.clean.get(digest) == self._identity

    def __call__(self, file: str, data: bytes, digest: str) -> None:
        """Look at one file."""
        from opsctl.adapters.secret_scanner.reading import NotScanned, pieces_of
        from opsctl.adapters.secret_scanner.sighting import Place

        # One at a time: the engine has one scratch space, and holds the interpreter anyway.
        with self._lock:
            if self.spares(digest):
                return
            try:
                place = Place(f"{self._folder}/{file}", client=True)
                found = self._scanner.scan(pieces_of(data), place)
            except NotScanned as error:
                self.not_scanned.append((file, str(error)))
                return
            if found:
                self._found[file] = found
            else:
                self._cache.clean.pop(digest, None)
                self._cache.clean[digest] = self._identity

    @property
    def found(self) -> tuple[Found, ...]:
        """What was seen, by file and place."""
        return tuple(found for file in sorted(self._found) for found in self._found[file])


class Lookouts:
    """Several that look at the same files."""

    def __init__(self, *each: Look) -> None:
        self._each = each

    def __call__(self, file: str, data: bytes, digest: str) -> None:
        """Let each look."""
        for one in self._each:
            one(file, data, digest)

    def spares(self, digest: str) -> bool:
        """Whether none of them needs to look."""
        return all(one.spares(digest) for one in self._each)
