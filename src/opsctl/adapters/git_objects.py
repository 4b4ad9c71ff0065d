"""Git's objects and lists of files, as bytes and in bulk, through the git program.

It only reads: no lock is taken, no hook or other program that a repository names is started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import IO, TypeVar

from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import Piped, find_program, piped_program

_ENV = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C",
}
_HARMLESS = (
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.quotePath=false"),
    # A third of git's own bounds takes no longer, and its memory a sixth.
    *("-c", "core.packedGitWindowSize=1m"),
    *("-c", "core.packedGitLimit=16m"),
    *("-c", "core.deltaBaseCacheLimit=16m"),
)

_MANY_COMMITS = 2000
"""Commits that one git looks through sooner than two start."""
_Made = TypeVar("_Made")


class GitFailed(Exception):
    """Git ended with an error; the message is its last line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as git lists it."""

    id: bytes
    """In hexadecimal."""
    kind: bytes
    size: int


def list_files(folder: str) -> list[tuple[str, bool]]:
    """Return (path within the folder, whether it is tracked), untracked but ignored left out.

    Another repository within is a path that ends in a slash. Raises GitFailed.
    """
    words = ("ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard", "--deduplicate")
    found = []
    for record in _records(folder, *words):
        name = os.fsdecode(record[2:])
        found.append((name, record[:1] != b"?"))
    return found


def repository_of(folder: str) -> tuple[str, bool]:
    """Return the absolute path of the common git directory, and whether the clone is shallow.

    A shallow one lacks the older part of its history. Raises GitFailed.
    """
    words = ("--is-shallow-repository", "--path-format=absolute", "--git-common-dir")
    shallow, _, directory = _output(folder, "rev-parse", *words).partition(b"\n")
    return os.fsdecode(directory.rstrip(b"\n")), shallow == b"true"


def top_directory(folder: str) -> str:
    """Return the work tree's top; raises GitFailed where there is none."""
    return os.fsdecode(_output(folder, "rev-parse", "--show-toplevel").rstrip(b"\n"))


def lacks_objects_on_purpose(folder: str) -> bool:
    """Whether it is a partial clone, which asks its remote for objects when they are needed."""
    with _run(folder, "config", "--get-regexp", r"^remote\..*\.promisor$") as program:
        out = program.stdout.read()
        program.wait()
    return bool(out.strip())


def commit_of(folder: str, revision: str) -> str:
    """Return the id of the commit that a revision names.

    Raises OpsError `no-such-revision` (exit 2).
    """
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    with _run(folder, *words) as program:
        out = program.stdout.read()
        code = program.wait()
    if code != 0:
        raise OpsError(
            f"There is no commit {revision!r}",
            why=f"git knows no such revision in {folder}",
            hint="git log --oneline shows the commits; in CI, fetch enough of the history",
            code="no-such-revision",
        )
    return out.decode().strip()


@dataclass(frozen=True)
class Change:
    """A file that differs: its blobs before and after, as ids; empty for none."""

    path: str
    old: bytes
    new: bytes


def staged_changes(folder: str) -> list[Change]:
    """Return what differs between the index and the last commit; raises GitFailed."""
    words = ("diff-index", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames")
    with _run(folder, "rev-parse", "--verify", "--quiet", "HEAD") as program:
        head = program.stdout.read().strip()
        program.wait()
    # Without a commit yet everything is new: the id of the empty tree.
    return _changes(_records(folder, *words, head.decode() or _EMPTY_TREE, "--"))


def changes_since(folder: str, commit: str) -> list[Change]:
    """Return every change of every commit after `commit`; raises GitFailed."""
    words = ("log", "--raw", "-z", "--no-abbrev", "--no-renames", "-m", "--format=")
    return _changes(_records(folder, *words, f"{commit}..HEAD", "--"))


def commits_since(folder: str, commit: str) -> list[bytes]:
    """Return the ids of the commits after `commit`; raises GitFailed."""
    return _output(folder, "rev-list", f"{commit}..HEAD", "--").split()


_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def _changes(records: Iterator[bytes]) -> list[Change]:
    found = []
    for record in records:
        record = record.lstrip(b"\n")
        if not record.startswith(b":"):
            continue
        try:
            old_mode, mode, old, new, _ = record[1:].split(b" ")
            path = os.fsdecode(next(records))
        except (ValueError, StopIteration):
            raise _senseless(record) from None
        if mode in (b"160000", b"000000"):
            continue
        old = b"" if old_mode in (b"000000", b"160000") else old
        found.append(Change(path, old, new))
    return found


def store_of(directory: str) -> str:
    """Return what is another where a git directory holds other objects: a hash of their files.

    Packs and loose objects are named by what they hold. Empty where other directories hold some.
    """
    objects = os.path.join(directory, "objects")  # noqa: PTH118 - many files, little time
    elsewhere = os.path.join(objects, "info", "alternates")  # noqa: PTH118
    if any(name in os.environ for name in _ELSEWHERE) or os.path.exists(elsewhere):  # noqa: PTH110
        return ""
    names: list[str] = []
    try:
        for folder in sorted(os.listdir(objects)):  # noqa: PTH208
            if folder == "pack" or len(folder) == 2:
                inner = sorted(os.listdir(os.path.join(objects, folder)))  # noqa: PTH118, PTH208
                names += [folder, *(name for name in inner if not name.startswith("tmp_"))]
    except OSError:
        return ""
    return blake2b("/".join(names).encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()


_ELSEWHERE = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")


def list_object_ids(folder: str) -> list[bytes]:
    """Return the ids of all objects, reachable or not; raises GitFailed."""
    words = ("cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)")
    return _output(folder, *words, "--buffer").split(b"\n")[:-1]


_DETAILS = "--batch-check=%(objectname) %(objecttype) %(objectsize)"


def list_objects(folder: str) -> tuple[frozenset[bytes], list[Entry]]:
    """Return the ids of all objects, and what is no tree, in the order in which it lies on disk.

    Raises GitFailed.
    """
    words = ("cat-file", "--batch-all-objects", "--unordered", "--buffer", _DETAILS)
    ids: list[bytes] = []
    with _run(folder, *words) as program:
        found = list(_entries(program.stdout, ids))
        if program.wait() != 0:
            raise GitFailed(_last_line(program))
    return frozenset(ids), found


def describe_objects(folder: str, ids: Sequence[bytes]) -> list[Entry]:
    """Return those objects that are no trees, in the order given; raises GitFailed."""
    if not ids:
        return []
    with _run(folder, "cat-file", "--buffer", _DETAILS, feed=b"\n".join(ids) + b"\n") as program:
        found = list(_entries(program.stdout, []))
        if program.wait() != 0:
            raise GitFailed(_last_line(program))
    return found


def _entries(lines: Iterable[bytes], ids: list[bytes]) -> Iterator[Entry]:
    """Yield what is no tree, which is half of most repositories, and put the ids of all by."""
    for line in lines:
        id_, _, about = line.rstrip(b"\n").partition(b" ")
        ids.append(id_)
        if not about.startswith(b"tree "):
            # A broken object is listed as missing, without a size.
            kind, _, size = about.partition(b" ")
            if not kind or (size and not size.isdigit()):
                raise _senseless(line)
            yield Entry(id_, _KINDS.get(kind, kind), int(size or 0))


def _senseless(line: bytes) -> GitFailed:
    return GitFailed(f"its answer makes no sense: {line[:80].decode('utf-8', 'replace')!r}")


_KINDS = {kind: kind for kind in (b"blob", b"commit", b"tag")}
"""One of each, however many objects there are."""


def read_objects(folder: str, ids: Sequence[bytes]) -> Piped:
    """Start reading objects; stdout gives `id kind size`, a line, then bytes and a line end.

    An object that is missing gives `id missing`. Use it as a context.
    """
    return _run(
        folder, "cat-file", "--batch", "--buffer", feed=b"\n".join(ids) + b"\n" if ids else b""
    )


@dataclass(frozen=True)
class Introduced:
    """Where an object came into the history."""

    commit: str
    author: str
    date: str
    path: str


def introductions(
    folder: str, commits: Sequence[bytes], wanted: set[bytes]
) -> dict[bytes, Introduced]:
    """Return for each wanted blob the oldest commit, of those given, that brought it in.

    Of a merge only what it has from none of its parents counts: the rest came in by them.
    """
    count = min(os.cpu_count() or 1, 1 + len(commits) // _MANY_COMMITS)
    size = max(1, -(-len(commits) // count))
    found: dict[bytes, tuple[int, Introduced]] = {}
    # Nearly all of it is git's work, and git does it with one core.
    for part in _at_once(
        [
            partial(_introduced, folder, commits[first : first + size], wanted)
            for first in range(0, len(commits), size)
        ]
    ):
        for id_, each in part.items():
            if id_ not in found or each[0] < found[id_][0]:
                found[id_] = each
    return {id_: each for id_, (_, each) in found.items()}


def _at_once(works: Sequence[Callable[[], _Made]]) -> list[_Made]:
    """Return what each work made, in their order; raises what the first that failed did."""
    if len(works) < 2:
        return [work() for work in works]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(works)) as pool:
        return [each.result() for each in [pool.submit(work) for work in works]]


def _introduced(
    folder: str, commits: Sequence[bytes], wanted: set[bytes]
) -> dict[bytes, tuple[int, Introduced]]:
    """Return (time, where) of each wanted blob."""
    words = ("log", "--stdin", "--no-walk=unsorted", "--raw", "-c", "-z", "--no-abbrev",
             "--no-renames", "--root", "--format=%x01%H%x02%aI%x02%ct%x02%an")  # fmt: skip
    feed = b"\n".join(commits) + b"\n"
    oldest: dict[bytes, tuple[int, Introduced]] = {}
    about = [b"", b"", b"0", b""]
    with _run(folder, *words, feed=feed) as program:
        records = _parts(program.stdout)
        for record in records:
            if record.startswith(b"\x01"):
                about = record[1:].split(b"\x02", 3)
            elif record.startswith((b"\n:", b":")):
                path = next(records, b"")
                # Modes and ids of each parent, then those of the commit, then a status.
                new = record.rsplit(b" ", 2)[1]
                if new in wanted:
                    # Empty where the commit does not say it in a form that git knows.
                    when = int(about[2] or 0)
                    known = oldest.get(new)
                    if known is None or when < known[0]:
                        commit, date = about[0].decode(), about[1].decode()
                        author = about[3].decode("utf-8", "replace")
                        found = Introduced(commit, author, date, os.fsdecode(path))
                        oldest[new] = (when, found)
        # Where a commit is broken, git ends there: the objects that it held are told without one.
        program.wait()
    return oldest


def index_blobs(folder: str) -> set[bytes]:
    """Return the ids of the blobs that are checked out; raises GitFailed."""
    return {record.split(b" ")[1] for record in _records(folder, "ls-files", "-s", "-z")}


def _run(folder: str, *words: str, feed: bytes | None = None) -> Piped:
    program = find_program("git", hint="install git")
    return piped_program((program, *_HARMLESS, *words), env=_ENV, cwd=folder, feed=feed)


def _output(folder: str, *words: str) -> bytes:
    with _run(folder, *words) as program:
        out = program.stdout.read()
        if program.wait() != 0:
            raise GitFailed(_last_line(program))
    return out


def _records(folder: str, *words: str) -> Iterator[bytes]:
    return iter(_output(folder, *words).split(b"\0")[:-1])


def _parts(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what NULs part in a stream."""
    held = b""
    while data := stream.read(1 << 20):
        parts = (held + data).split(b"\0")
        held = parts.pop()
        yield from parts
    if held:
        yield held


def _last_line(program: Piped) -> str:
    lines = program.stderr_text().strip().splitlines()
    return lines[-1] if lines else "git ended with an error"


def git_error(error: GitFailed, folder: str) -> OpsError:
    """Return an error for a person (exit 3)."""
    return OpsError(
        f"git could not read the repository in {folder}",
        why=str(error),
        hint=f"git -C {folder} fsck",
        code="git-failed",
        exit=Exit.UNKNOWN,
    )
