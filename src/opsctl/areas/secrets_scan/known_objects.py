"""What is known of a repository's objects from scans before, by the same rules.

Objects do not change, so what one holds is looked at once. Kept are ids, and of an object that
holds secrets where it came in; no secret and no hash of one: to tell it, the object is read again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Set
from dataclasses import astuple, dataclass
from functools import cached_property
from hashlib import blake2b

from opsctl.adapters.secret_scanner.patterns import cache_folder, write_privately

_FORMAT = "opsctl-objects-3"


@dataclass(frozen=True)
class Sight:
    """An object in which something was found, and where it came in."""

    object: str
    kind: str
    """`blob`, `commit` or `tag`."""
    path: str = ""
    commit: str = ""
    """Empty for what no commit holds."""
    author: str = ""
    date: str = ""
    told: bool = True
    """Whether a report needs it: it is not where the same secret stood at the same path before."""


class KnownObjects:
    """The objects of one repository that these rules have seen."""

    def __init__(self, repository: str, identity: str) -> None:
        name = blake2b(os.fsencode(repository), digest_size=12).hexdigest()
        self._path = cache_folder() / f"objects-{name}.txt"
        self._head = f"{_FORMAT} {identity}\n".encode()
        self.store = ""
        """What `store_of` gave when they were read; empty where some could not be."""
        self.count = 0
        self.sights: tuple[Sight, ...] = ()
        self._ids = b""
        try:
            data = self._path.read_bytes()
        except OSError:
            return
        # The digest tells a torn file, which would hide objects.
        body, _, digest = data.rpartition(b"\n")
        if not body.startswith(self._head) or _digest(body) != digest:
            return
        about, _, self._ids = body[len(self._head) :].partition(b"\n")
        self.store, self.count, sights = json.loads(about)
        self.sights = tuple(Sight(*row) for row in sights)

    @cached_property
    def ids(self) -> frozenset[bytes]:
        """In hexadecimal; where nothing is new nobody asks for them."""
        return frozenset(self._ids.split())

    def keep(self, ids: Set[bytes], sights: Iterable[Sight], *, store: str) -> None:
        """Remember which objects were read, and those in which something was found."""
        rows = [astuple(sight) for sight in sights]
        about = json.dumps([store, len(ids), rows]).encode()
        body = self._head + about + b"\n" + b"\n".join(sorted(ids))
        write_privately(self._path, body + b"\n" + _digest(body))


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()
