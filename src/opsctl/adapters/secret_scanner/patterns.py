"""The rules made ready: compiled once, kept in a cache of the user's, or searched by keyword.

The cache is a file by the hash of the rules, of the engine's version and of the processor; it
holds a digest of itself, and whatever does not fit is compiled anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from opsctl.adapters.hyperscan import Database, Expression, hyperscan_version
from opsctl.adapters.secret_scanner.rules import (
    Rule,
    read_rules,
    rules_from_data,
    rules_to_data,
    source_of_rules,
)
from opsctl.adapters.secret_scanner.sighting import Buffer

if TYPE_CHECKING:
    from opsctl.adapters.secret_scanner.confirm import Confirmer

_FORMAT = b"opsctl-patterns-2\n"
_CHECK = 4
"""Bytes of a CRC-32: against damage, which Hyperscan would crash on."""


class Matcher(Protocol):
    """Finds where shortest matches end."""

    def scan(self, data: Buffer) -> list[tuple[int, int]]:
        """Return (index of rule, end of match) in no certain order."""


@dataclass(frozen=True)
class Patterns:
    """Everything that scanning needs, the same in every process."""

    rules: tuple[Rule, ...]
    matcher: Matcher
    identity: str
    """A hash of the rules and of the engine; what was clean by it stays clean by it."""
    engine: str
    """`hyperscan 0.9.1`, or `keywords`."""
    warm: bool
    """Whether they came from the cache."""

    @cached_property
    def confirmer(self) -> Confirmer:
        """The second look. Its expressions take longer to compile than a small scan."""
        from opsctl.adapters.secret_scanner.confirm import Confirmer

        return Confirmer(self.rules)


def load_patterns(user_rules: Sequence[Rule] = (), *, fast: bool = True) -> Patterns:
    """Return the shipped rules and the user's, ready to scan with.

    Without Hyperscan, or with `fast` off, they are searched by keyword. Raises OpsError
    `bad-rule` (exit 2) for a user's rule that no engine takes.
    """
    source = source_of_rules()
    version = hyperscan_version() if fast else None
    identity = _identity(source, user_rules, version)
    if version is None:
        from opsctl.adapters.secret_scanner.keyword_search import KeywordSearch

        rules = (*read_rules(source), *user_rules)
        return Patterns(rules, KeywordSearch(rules), identity, "keywords", False)
    path = cache_folder() / f"patterns-{identity}.bin"
    engine = f"hyperscan {version}"
    cached = _read_cache(path)
    if cached is not None:
        rules, matcher = cached
        return Patterns(rules, matcher, identity, engine, True)
    rules = (*read_rules(source), *user_rules)
    database = Database.compile(
        [Expression(rule.id, rule.trigger, rule.ignore_case) for rule in rules]
    )
    _write_cache(path, rules, database)
    return Patterns(rules, database, identity, engine, False)


def identity_of_patterns(user_rules: Sequence[Rule] = ()) -> str:
    """Return the identity that `load_patterns` would give, without loading them."""
    return _identity(source_of_rules(), user_rules, hyperscan_version())


def _identity(source: Mapping[str, bytes], user_rules: Sequence[Rule], version: str | None) -> str:
    digest = blake2b(digest_size=20)
    for part in (
        _FORMAT, *source.values(), repr(user_rules).encode(), str(version).encode(),
        _processor().encode(), sys.implementation.cache_tag.encode() if version else b"",
        _own_code(),
    ):  # fmt: skip
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return the directory of opsctl's caches of this user."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(home) / "opsctl"


def write_privately(path: Path, data: bytes) -> None:
    """Write a cache's file atomically, for this user alone; a full disk is no error."""
    import tempfile

    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)


def _read_cache(path: Path) -> tuple[tuple[Rule, ...], Database] | None:
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            data = file.read()
    except OSError:
        return None
    head = len(_FORMAT) + _CHECK
    body = memoryview(data)[head:]
    if data[:head] != _FORMAT + _checked(body):
        return None
    size = int.from_bytes(body[:8], "big")
    rules = rules_from_data(json.loads(bytes(body[8 : 8 + size])))
    database = Database.load(bytes(body[8 + size :]))
    return None if database is None else (rules, database)


def _write_cache(path: Path, rules: tuple[Rule, ...], database: Database) -> None:
    text = json.dumps(rules_to_data(rules)).encode()
    body = len(text).to_bytes(8, "big") + text + database.dump()
    write_privately(path, _FORMAT + _checked(body) + body)


def _checked(body: bytes | memoryview) -> bytes:
    return crc32(body).to_bytes(_CHECK, "big")


def _processor() -> str:
    """Return what tells processors apart for which Hyperscan compiles differently."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a device
            head = file.read(4096).split("\n\n")[0]
            return "".join(line for line in head.splitlines() if "flags" in line or "Feat" in line)
    import platform

    return f"{platform.machine()} {platform.processor()}"


def _own_code() -> bytes:
    """Return what changes when how a rule becomes an expression changes."""
    probe = Rule("x", "x", "x", (), assigned="A", value="B{2,3}")
    return f"{probe.trigger}{probe.expression}{hash_of_fields()}".encode()


def hash_of_fields() -> str:
    """Return the names of a rule's parts, in order."""
    return ",".join(Rule.__dataclass_fields__)
