"""Secrets of every kind in what a build serves, by the scanner's rules."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.adapters.bundle_sizes import LARGEST, SizeCache, shape_of
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.adapters.secret_scanner.rules import Rule
    from opsctl.adapters.secret_scanner.scanner import Found


@dataclass(frozen=True)
class Searched:
    """What a search came to."""

    found: tuple[Found, ...]
    """By file and place."""
    not_scanned: tuple[tuple[str, str], ...]
    """(file, why)."""


@contextmanager
def searching(
    root: Path, names: Sequence[str], *, rules: Sequence[Rule], cache: SizeCache, folder: str
) -> Iterator[Callable[[], Searched]]:
    """Look for secrets in files below `root` beside whatever else is done; call it for the end.

    `folder` is where the build lies, for the paths of what is found. What was clean is remembered
    in the cache of sizes, by its content and the rules' identity, and not read again.
    The call raises OpsError `bad-rule` (exit 2) for a user's rule that no engine takes.
    """
    todo = _todo(root, names, rules, cache)
    if not todo:
        yield lambda: Searched((), ())
        return

    def work() -> dict[str, Any]:
        return _search(root, todo, rules, cache, folder)

    with _beside(work) as finish:
        yield lambda: _taken(finish(), todo, cache)


def _todo(
    root: Path, names: Sequence[str], rules: Sequence[Rule], cache: SizeCache
) -> tuple[str, ...]:
    """Return the files that the same rules did not find clean before, as far as a look tells."""
    distinct = tuple(dict.fromkeys(names))
    if not cache.clean:
        return distinct
    from opsctl.adapters.secret_scanner.patterns import identity_of_patterns

    identity = identity_of_patterns(rules)

    def is_clean(name: str) -> bool:
        path = os.path.join(root, name)  # noqa: PTH118 - thousands of them
        before = cache.seen.get(path)
        if before is None or cache.clean.get(before[1]) != identity:
            return False
        with suppress(OSError):
            return shape_of(os.stat(path)) == before[0]  # noqa: PTH116
        return False

    return tuple(name for name in distinct if not is_clean(name))


def _search(
    root: Path, names: Sequence[str], rules: Sequence[Rule], cache: SizeCache, folder: str
) -> dict[str, Any]:
    """Return found, not_scanned, the digests of what is clean, and the rules' identity."""
    from opsctl.adapters.secret_scanner.patterns import load_patterns
    from opsctl.adapters.secret_scanner.reading import NotScanned, pieces_of
    from opsctl.adapters.secret_scanner.scanner import Scanner
    from opsctl.adapters.secret_scanner.sighting import Place

    patterns = load_patterns(rules)
    scanner = Scanner(patterns)
    found: dict[str, list[dict[str, Any]]] = {}
    not_scanned: list[tuple[str, str]] = []
    clean: list[str] = []
    for name in names:
        try:
            with open(os.path.join(root, name), "rb") as file:  # noqa: PTH118, PTH123
                data = file.read(LARGEST + 1)
        except OSError as error:
            not_scanned.append((name, error.strerror or type(error).__name__))
            continue
        if len(data) > LARGEST:
            not_scanned.append((name, f"it is larger than {LARGEST >> 20} MB"))
            continue
        digest = ""
        if cache.path is not None:
            digest = hashlib.blake2b(data, digest_size=16).hexdigest()
            if cache.clean.get(digest) == patterns.identity:
                continue
        try:
            place = Place(f"{folder}/{name}", client=True)
            seen = scanner.scan(pieces_of(data), place)
        except NotScanned as error:
            not_scanned.append((name, str(error)))
            continue
        if seen:
            found[name] = [vars(each) for each in seen]
        else:
            clean.append(digest)
    return {
        "found": [each for name in sorted(found) for each in found[name]],
        "not_scanned": not_scanned,
        "clean": clean,
        "identity": patterns.identity,
    }


def _taken(answer: dict[str, Any] | None, names: Sequence[str], cache: SizeCache) -> Searched:
    if answer is None:
        return Searched((), tuple((name, "the search ended before its work did") for name in names))
    if cache.path is not None:
        for digest in answer["clean"]:
            cache.clean.pop(digest, None)
            cache.clean[digest] = answer["identity"]
            cache.changed = True
    found: tuple[Found, ...] = ()
    if answer["found"]:
        from opsctl.adapters.secret_scanner.scanner import Found

        found = tuple(Found(**each) for each in answer["found"])
    return Searched(found, tuple((name, why) for name, why in answer["not_scanned"]))


@contextmanager
def _beside(work: Callable[[], dict[str, Any]]) -> Iterator[Callable[[], dict[str, Any] | None]]:
    """Do a work beside this one; the call waits for it and returns what came, None if it broke.

    In a process: the engine holds the interpreter, and loading it takes as long as packing a
    small build. Where none can be forked safely it is a thread.
    """
    if sys.platform == "linux" and threading.active_count() == 1:
        with _forked(work) as finish:
            yield finish
        return
    answers: list[dict[str, Any] | OpsError] = []
    thread = threading.Thread(target=lambda: answers.append(_answer(work)), daemon=True)
    thread.start()

    def join() -> dict[str, Any] | None:
        thread.join()
        return _raised(answers[0]) if answers else None

    yield join


@contextmanager
def _forked(work: Callable[[], dict[str, Any]]) -> Iterator[Callable[[], dict[str, Any] | None]]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        # Whatever happens, nothing of what the parent is about may happen a second time.
        code = 1
        try:
            os.close(reading)
            answer = _answer(work)
            if isinstance(answer, OpsError):
                answer = {"error": [*map(str, (answer.what, answer.why, answer.hint)),
                                    answer.code, int(answer.exit)]}  # fmt: skip
            with os.fdopen(writing, "w", encoding="ascii") as pipe:
                json.dump(answer, pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    waiting = [pid]

    def finish() -> dict[str, Any] | None:
        with os.fdopen(os.dup(reading), encoding="ascii") as pipe:
            text = pipe.read()
        ended = os.waitstatus_to_exitcode(os.waitpid(waiting.pop(), 0)[1])
        if ended != 0:
            return None
        answer: dict[str, Any] = json.loads(text)
        if "error" in answer:
            what, why, hint, code, exit_code = answer["error"]
            raise OpsError(what, why=why, hint=hint, code=code, exit=Exit(exit_code))
        return answer

    try:
        yield finish
    finally:
        os.close(reading)
        if waiting:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _answer(work: Callable[[], dict[str, Any]]) -> dict[str, Any] | OpsError:
    try:
        return work()
    except OpsError as error:
        return error


def _raised(answer: dict[str, Any] | OpsError) -> dict[str, Any]:
    if isinstance(answer, OpsError):
        raise answer
    return answer
