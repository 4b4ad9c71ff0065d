"""The sizes of a build's files, measured on every core and remembered by their content."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from opsctl.adapters.compression import Method, packer

LARGEST = 64 << 20
"""Bytes of a file that is measured; a script of that size is no script of a page."""
_VERSION = 2
_KEPT = 20_000
"""Files remembered; each takes about 250 bytes."""
_SETTLED_NS = 2_000_000_000
"""A file that changed so shortly before it was looked at may change again unnoticed."""
_CACHE_BYTES = 64 << 20
_Made = TypeVar("_Made")


class Look(Protocol):
    """Is shown the files, in several threads."""

    def __call__(self, file: str, data: bytes, digest: str) -> None:
        """Look at a file's content."""

    def spares(self, digest: str) -> bool:
        """Whether a file of that content need not be read again."""


@dataclass(frozen=True)
class Size:
    """One file's sizes in bytes; `packed` by the method's name."""

    name: str
    digest: str
    """Of the content; equal content, equal sizes."""
    raw: int
    packed: Mapping[str, int]

    def of(self, kind: str) -> int:
        """Return the size of a kind: raw, or the name of a method."""
        return self.raw if kind == "raw" else self.packed[kind]


@dataclass(frozen=True)
class Measured:
    """What was measured, and what could not be: (file, why)."""

    sizes: Mapping[str, Size]
    failed: tuple[tuple[str, str], ...]


@dataclass
class SizeCache:
    """Sizes known from before, in a private file. A damaged one is as good as none."""

    path: Path | None
    """None: nothing is remembered."""
    packed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Digest -> label of the method -> bytes."""
    seen: dict[str, tuple[list[int], str]] = field(default_factory=dict)
    """Absolute path -> (what the file looked like, digest)."""
    modules: dict[str, list[list[Any]]] = field(default_factory=dict)
    """Digest of a script and its source map -> (module, bytes)."""
    clean: dict[str, str] = field(default_factory=dict)
    """Digest -> identity of the rules for secrets that found nothing in it."""
    changed: bool = False

    @classmethod
    def load(cls, path: Path | None) -> SizeCache:
        """Return what is remembered in a file."""
        cache = cls(path)
        if path is None:
            return cache
        try:
            with path.open("rb") as file:
                data = json.loads(file.read(_CACHE_BYTES))
            if data["version"] == _VERSION:
                cache.packed = {
                    str(digest): {str(label): int(size) for label, size in sizes.items()}
                    for digest, sizes in data["packed"].items()
                }
                cache.seen = {
                    str(name): ([int(each) for each in look], str(digest))
                    for name, (look, digest) in data["seen"].items()
                }
                cache.modules = {
                    str(digest): [[str(name), int(size)] for name, size in rows]
                    for digest, rows in data["modules"].items()
                }
                cache.clean = {
                    str(digest): str(identity) for digest, identity in data["clean"].items()
                }
        except (OSError, ArithmeticError, ValueError, TypeError, KeyError, AttributeError,
                RecursionError):  # fmt: skip
            return cls(path)
        return cache

    def save(self) -> bool:
        """Write what is known, the newest only; whether that could be done or was not needed."""
        if self.path is None or not self.changed:
            return True
        from opsctl.adapters.stores import write_atomically

        now = time.time_ns()
        data = {
            "version": _VERSION,
            "packed": _newest(self.packed),
            "seen": _newest(
                {
                    name: (look, digest)
                    for name, (look, digest) in self.seen.items()
                    if max(look[1:3]) < now - _SETTLED_NS
                }
            ),
            "modules": _newest(self.modules),
            "clean": _newest(self.clean),
        }
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(data, separators=(",", ":")).encode())
        except OSError:
            return False
        return True


def shape_of(at: os.stat_result) -> list[int]:
    """Return what a file looks like: another content looks another, once a file has settled."""
    return [at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino]


def _newest(known: dict[str, Any]) -> dict[str, Any]:
    return dict(list(known.items())[-_KEPT:])


def measure(
    root: Path,
    names: Iterable[str],
    *,
    methods: tuple[Method, ...],
    cache: SizeCache,
    look: Look | None = None,
) -> Measured:
    """Return the sizes of files below `root`, the largest measured first.

    A file that looks as it did before is not read, unless `look` wants to see it.
    """
    packers = [(method, packer(method)) for method in methods]
    sizes: dict[str, Size] = {}
    failed: list[tuple[str, str]] = []
    todo: list[tuple[int, str, list[int]]] = []
    for name in dict.fromkeys(names):
        path = os.path.join(root, name)  # noqa: PTH118 - thousands of them
        try:
            at = os.stat(path)  # noqa: PTH116
        except OSError as error:
            failed.append((name, error.strerror or type(error).__name__))
            continue
        if not stat.S_ISREG(at.st_mode):
            failed.append((name, "it is no regular file"))
        elif at.st_size > LARGEST:
            failed.append((name, f"it is larger than {LARGEST >> 20} MB"))
        else:
            shape = shape_of(at)
            known = _known(cache, path, shape, methods)
            if known is not None and look is not None and not look.spares(known[0]):
                known = None
            if known is None:
                todo.append((at.st_size, name, shape))
            else:
                sizes[name] = Size(name, known[0], at.st_size, known[1])

    def one(name: str) -> tuple[str, int, dict[str, int]]:
        with open(os.path.join(root, name), "rb") as file:  # noqa: PTH118, PTH123
            data = file.read(LARGEST + 1)
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        if look is not None:
            look(name, data, digest)
        before = cache.packed.get(digest, {})
        packed = {
            method.label: before[method.label] if method.label in before else pack(data)
            for method, pack in packers
        }
        return digest, len(data), packed

    todo.sort(reverse=True)
    made = _on_every_core(one, [name for _, name, _ in todo])
    for (_, name, shape), found in zip(todo, made, strict=True):
        if isinstance(found, OSError):
            failed.append((name, found.strerror or type(found).__name__))
            continue
        digest, raw, packed = found
        cache.packed[digest] = {**cache.packed.pop(digest, {}), **packed}
        cache.seen[os.path.join(root, name)] = (shape, digest)  # noqa: PTH118
        cache.changed = True
        by_name = {method.name: packed[method.label] for method in methods}
        sizes[name] = Size(name, digest, raw, by_name)
    return Measured(sizes, tuple(failed))


def _on_every_core(work: Callable[[str], _Made], names: list[str]) -> list[_Made | OSError]:
    """Return what `work` made of each name, in their order, or the OSError it ended with.

    In plain threads: the library's pool takes as long to import as a small build to pack.
    """
    made: dict[int, _Made | OSError] = {}
    broken: list[BaseException] = []
    waiting = deque(enumerate(names))

    def take() -> None:
        while not broken:
            try:
                number, name = waiting.popleft()
            except IndexError:
                return
            try:
                made[number] = work(name)
            except OSError as error:
                made[number] = error
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                broken.append(error)

    others = [
        threading.Thread(target=take) for _ in range(min(os.cpu_count() or 1, len(names)) - 1)
    ]
    for each in others:
        each.start()
    take()
    for each in others:
        each.join()
    if broken:
        raise broken[0]
    return [made[number] for number in range(len(names))]


def _known(
    cache: SizeCache, path: str, shape: list[int], methods: tuple[Method, ...]
) -> tuple[str, dict[str, int]] | None:
    before = cache.seen.get(path)
    if before is None or before[0] != shape:
        return None
    packed = cache.packed.get(before[1], {})
    if any(method.label not in packed for method in methods):
        return None
    return before[1], {method.name: packed[method.label] for method in methods}
