"""Scan git: every object once, or what the index or some commits add.

What was clean by the same rules is not read again: the ids are kept in the user's cache.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from opsctl.adapters.git_objects import (
    Change,
    Entry,
    GitFailed,
    changes_since,
    commit_of,
    commits_since,
    git_directory,
    git_error,
    index_blobs,
    introductions,
    is_shallow,
    lacks_objects_on_purpose,
    list_object_ids,
    list_objects,
    read_objects,
    staged_changes,
)
from opsctl.adapters.secret_scanner.patterns import Patterns, cache_folder, write_privately
from opsctl.adapters.secret_scanner.reading import CHUNK, NotScanned, Piece, chunks, pieces_of
from opsctl.adapters.secret_scanner.scanner import Found, Scanner
from opsctl.adapters.secret_scanner.sighting import Place
from opsctl.areas.secrets_scan.facts import Asked, Facts, Origin
from opsctl.areas.secrets_scan.tree import no_repository, work_tree_above

_LARGEST = 64 * 1024 * 1024
"""Bytes of an object that is read whole, if it is packed or in UTF-16; longer ones in chunks."""
_FEW = 2000
"""Objects that one process reads sooner than two start."""


@dataclass
class Read:
    """What came of reading objects."""

    found: list[tuple[bytes, bytes, Found]] = field(default_factory=list)
    """(id, kind, finding)."""
    not_scanned: list[tuple[str, str]] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0


def scan_history(patterns: Patterns, asked: Asked, *, say: Callable[[str], None]) -> Facts:
    """Scan every object that the repository has, reachable or not.

    Raises OpsError `not-a-checkout`, `tool-missing` or `git-failed` (exit 3).
    """
    folder = _folder(asked)
    try:
        cache = _CleanObjects(git_directory(folder), patterns.identity)
        everything = list_object_ids(folder)
        new = cache.not_in(everything)
        entries = list_objects(folder, new if len(new) < len(everything) else None) if new else []
        trees = {entry.id for entry in entries if entry.kind == b"tree"}
        wanted = [entry for entry in entries if entry.kind != b"tree"]
        if len(wanted) > _FEW:
            say(f"reading {len(wanted):,} objects")
        read = _read_all(patterns, folder, wanted, jobs=asked.workers)
        dirty = {id_ for id_, _, _ in read.found}
        broken = {id_.encode() for id_, _ in read.not_scanned}
        cache.add((new - dirty - broken) | trees)
        facts = _located(folder, read, patterns)
        notes = list(_about_repository(folder))
        if len(new) < len(everything):
            known = len(everything) - len(new)
            notes.append(f"{known:,} of {len(everything):,} objects were clean before")
        return _with(facts, notes, what=f"the history, {len(everything):,} objects", read=read)
    except GitFailed as error:
        raise git_error(error, folder) from None


def scan_since(patterns: Patterns, asked: Asked) -> Facts:
    """Scan what the commits after a revision brought in, their messages included."""
    folder = _folder(asked)
    try:
        commit = commit_of(folder, asked.since)
        changes = changes_since(folder, commit)
        messages = commits_since(folder, commit)
        read, sources = _scan_changes(patterns, folder, changes, messages)
        located = _located(folder, read, patterns, paths=sources)
        return _with(
            located,
            list(_about_repository(folder)),
            what=f"{len(messages):,} commits since {asked.since}",
            read=read,
        )
    except GitFailed as error:
        raise git_error(error, folder) from None


def scan_staged(patterns: Patterns, asked: Asked) -> Facts:
    """Scan what the next commit would add."""
    folder = _folder(asked)
    try:
        read, paths = _scan_changes(patterns, folder, staged_changes(folder), [])
    except GitFailed as error:
        raise git_error(error, folder) from None
    found = tuple(_at(found, paths.get(id_, "")) for id_, _, found in read.found)
    return _with(Facts("", found, tuple(read.not_scanned)), [], what="what is staged", read=read)


def _folder(asked: Asked) -> str:
    folder = os.fspath(asked.paths[0]) if asked.paths else "."
    if work_tree_above(folder) is None and not (Path(folder) / "objects").is_dir():
        raise no_repository(folder)
    return folder


def _about_repository(folder: str) -> Iterator[str]:
    if is_shallow(folder):
        yield (
            "this is a shallow clone: only a part of the history was scanned; "
            "git fetch --unshallow (in GitHub Actions, fetch-depth: 0)"
        )
    if lacks_objects_on_purpose(folder):
        yield "this is a partial clone: objects that it left on the server were not scanned"


def _with(facts: Facts, notes: Sequence[str], *, what: str, read: Read) -> Facts:
    return Facts(
        what,
        facts.found,
        facts.not_scanned,
        files=read.objects,
        bytes=read.bytes,
        engine=facts.engine,
        notes=(*facts.notes, *notes),
        origins=facts.origins,
        rules=facts.rules,
    )


def _scan_changes(
    patterns: Patterns, folder: str, changes: Sequence[Change], commits: Sequence[bytes]
) -> tuple[Read, dict[bytes, str]]:
    """Scan the new sides of changes, without what the old sides had already."""
    paths = {change.new: change.path for change in changes}
    before = {change.old for change in changes if change.old} - paths.keys()
    new = _read_ids(patterns, folder, [*paths, *commits], paths)
    if not new.found:
        return new, paths
    old_paths = {change.old: change.path for change in changes if change.old}
    old = _read_ids(patterns, folder, list(before), old_paths)
    known = {(found.rule, found.secret) for _, _, found in old.found}
    new.found = [each for each in new.found if (each[2].rule, each[2].secret) not in known]
    return new, paths


def _read_ids(
    patterns: Patterns, folder: str, ids: Sequence[bytes], paths: dict[bytes, str]
) -> Read:
    return _read_some(patterns, folder, ids, paths) if ids else Read()


def _read_all(patterns: Patterns, folder: str, entries: Sequence[Entry], *, jobs: int) -> Read:
    """Read objects with several processes, each a stretch of what lies together on disk."""
    ids = [entry.id for entry in entries]
    count = min(jobs, max(1, len(ids) // _FEW))
    if count < 2:
        return _read_some(patterns, folder, ids, {}) if ids else Read()
    import multiprocessing

    shares = _shares(entries, count)
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    children = []
    for share in shares[1:]:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(patterns, folder, share, theirs), daemon=True)
        child.start()
        theirs.close()
        children.append((child, ours))
    total = _read_some(patterns, folder, shares[0], {})
    for child, pipe in children:
        try:
            part = pipe.recv()
        except EOFError:
            raise GitFailed("a process that read objects ended before its work did") from None
        finally:
            pipe.close()
            child.join()
        if isinstance(part, str):
            raise GitFailed(part)
        total.found += part.found
        total.not_scanned += part.not_scanned
        total.objects += part.objects
        total.bytes += part.bytes
    return total


def _child(patterns: Patterns, folder: str, ids: Sequence[bytes], pipe: Any) -> None:
    try:
        pipe.send(_read_some(patterns, folder, ids, {}))
    except GitFailed as error:
        pipe.send(str(error))
    pipe.close()


def _shares(entries: Sequence[Entry], count: int) -> list[list[bytes]]:
    """Part objects into stretches of about as many bytes: deltas are resolved within each."""
    total = sum(entry.size + 500 for entry in entries)
    shares: list[list[bytes]] = [[]]
    size = 0
    for entry in entries:
        if size > total * len(shares) / count and len(shares) < count:
            shares.append([])
        shares[-1].append(entry.id)
        size += entry.size + 500
    return shares


def _read_some(
    patterns: Patterns, folder: str, ids: Sequence[bytes], paths: dict[bytes, str]
) -> Read:
    """Read objects, each once; raises GitFailed where git's answer makes no sense."""
    read = Read()
    scanner = Scanner(patterns)
    left = list(ids)
    while left:
        answered = _read_until_broken(folder, left, paths, scanner=scanner, read=read)
        if answered < len(left):
            # git ends at an object that it cannot unpack: the rest is read by another.
            read.not_scanned.append((left[answered].decode(), "git could not read the object"))
        left = left[answered + 1 :]
    read.bytes += scanner.bytes
    return read


def _read_until_broken(
    folder: str, ids: Sequence[bytes], paths: dict[bytes, str], *, scanner: Scanner, read: Read
) -> int:
    """Read objects from one git, put what was found into `read`, and return how many were read."""
    answered = 0
    with read_objects(folder, ids) as program:
        stream = program.stdout
        while header := stream.readline():
            id_, kind, size = _header(header)
            if size < 0:
                answered += 1
                read.not_scanned.append((id_.decode(), "the object is missing or broken"))
                continue
            unknown = "" if kind == b"blob" else f"{kind.decode()} {id_.decode()[:12]}"
            place = Place(paths.get(id_, unknown))
            text = _Bounded(stream, size)
            try:
                pieces = _pieces(text, size, kind)
                read.found += [(id_, kind, each) for each in scanner.scan(pieces, place)]
            except NotScanned as error:
                read.not_scanned.append((id_.decode(), str(error)))
            except EOFError:
                return answered
            try:
                text.skip()
            except EOFError:
                return answered
            read.objects += 1
            answered += 1
            stream.read(1)
    return answered


def _header(line: bytes) -> tuple[bytes, bytes, int]:
    parts = line.split()
    if len(parts) == 3 and parts[2].isdigit():
        return parts[0], parts[1], int(parts[2])
    return parts[0] if parts else b"?", b"missing", -1


class _Bounded:
    """The bytes of one object in git's answer."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, most: int) -> bytes:
        """Return up to `most` bytes, or nothing at the end of the object.

        Raises EOFError where git's answer breaks off within it.
        """
        data = self._stream.read(min(most, self._left)) if self._left else b""
        if self._left and not data:
            raise EOFError
        self._left -= len(data)
        return data

    def skip(self) -> None:
        """Pass over what is left of the object."""
        while self._left:
            self.read(CHUNK)


def _pieces(text: _Bounded, size: int, kind: bytes) -> Iterable[Piece]:
    if size <= CHUNK:
        data = text.read(size)
        return pieces_of(data if kind == b"blob" else _without_signature(data))
    first = text.read(CHUNK)
    if size <= _LARGEST and first[:4] in (b"\x1f\x8b\x08\x00", b"\x1f\x8b\x08\x08", b"PK\x03\x04"):
        return pieces_of(first + text.read(size))
    return chunks(_stream(first, text), text=b"\0" not in first[:8192])


def _stream(first: bytes, text: _Bounded) -> Iterator[bytes]:
    yield first
    while data := text.read(CHUNK):
        yield data


_SIGNATURE = re.compile(rb"^gpgsig[^\n]*\n(?: [^\n]*\n)+", re.MULTILINE)


def _without_signature(data: bytes) -> bytes:
    """Return a commit or tag without its header's ids and signature."""
    head, _separator, message = data.partition(b"\n\n")
    people = b"".join(
        line + b"\n"
        for line in _SIGNATURE.sub(b"", head + b"\n").splitlines()
        if line.startswith((b"author", b"committer", b"tagger"))
    )
    return b"\n" * (head.count(b"\n") - people.count(b"\n") + 1) + people + b"\n" + message


class _CleanObjects:
    """The ids of the objects of one repository that these rules found nothing in."""

    def __init__(self, repository: str, identity: str) -> None:
        name = blake2b(os.fsencode(repository), digest_size=12).hexdigest()
        self._path = cache_folder() / f"clean-{name}.txt"
        self._head = f"{identity}\n".encode()
        self._known: set[bytes] = set()
        try:
            data = self._path.read_bytes()
        except OSError:
            return
        # The digest tells a torn file, which would hide objects.
        body, _, digest = data.rpartition(b"\n")
        if (
            body.startswith(self._head)
            and blake2b(body, digest_size=16).hexdigest().encode() == digest
        ):
            self._known = set(body[len(self._head) :].split(b"\n"))

    def not_in(self, ids: Sequence[bytes]) -> set[bytes]:
        """Return the ids that are not known to be clean."""
        return set(ids) - self._known

    def add(self, ids: set[bytes]) -> None:
        """Remember that objects are clean."""
        if not ids:
            return
        self._known |= ids
        body = self._head + b"\n".join(sorted(self._known))
        digest = blake2b(body, digest_size=16).hexdigest().encode()
        write_privately(self._path, body + b"\n" + digest)


def _located(
    folder: str, read: Read, patterns: Patterns, *, paths: dict[bytes, str] | None = None
) -> Facts:
    """Find out in which commit each finding came in; each secret once, where it is oldest."""
    if not read.found:
        return Facts("", (), tuple(read.not_scanned), engine=patterns.engine)
    blobs = {id_ for id_, kind, _ in read.found if kind == b"blob"}
    commits = [e.id for e in list_objects(folder) if e.kind == b"commit"]
    origins = introductions(folder, commits, blobs, merges=False) if blobs else {}
    if missing := blobs - origins.keys():
        origins |= introductions(folder, commits, missing, merges=True)
    # Read again, now that their paths are known: what a file is decides what is a secret there.
    known_paths = {id_: found.path for id_, found in origins.items()}
    again = _read_some(patterns, folder, sorted(blobs), {**(paths or {}), **known_paths})
    read.found = [each for each in read.found if each[1] != b"blob"] + again.found
    messages = {id_ for id_, kind, _ in read.found if kind != b"blob"}
    about = _people(folder, messages)
    present = _present(folder)
    first: dict[tuple[str, str, str], tuple[str, Found, Origin]] = {}
    for id_, kind, found in read.found:
        known = origins.get(id_)
        if kind == b"blob" and known is not None:
            path = known.path
            origin = Origin(known.commit, known.author, known.date, object=id_.decode())
        elif kind == b"blob":
            path = (paths or {}).get(id_, "") or f"object {id_.decode()[:12]}"
            origin = Origin("", object=id_.decode())
        else:
            author, date = about.get(id_, ("", ""))
            path = f"{kind.decode()} {id_.decode()[:12]}"
            origin = Origin(id_.decode(), author, date, kind.decode(), id_.decode())
        key = (found.rule, found.secret, path)
        found = _at(found, path)
        if key not in first or origin.date < first[key][0]:
            still = kind == b"blob" and present(id_, path, found.secret)
            still = still or (key in first and first[key][2].still_there)
            origin = Origin(
                origin.commit, origin.author, origin.date, origin.kind, origin.object, still
            )
            first[key] = (origin.date, found, origin)
    ordered = sorted(first.values(), key=lambda each: (each[1].path, each[1].line, each[1].column))
    return Facts(
        "",
        tuple(found for _, found, _ in ordered),
        tuple(read.not_scanned),
        engine=patterns.engine,
        origins={index: origin for index, (_, _, origin) in enumerate(ordered)},
        rules=len(patterns.rules),
    )


def _at(found: Found, path: str) -> Found:
    from dataclasses import replace

    place = Place(path)
    public = found.public or ("client" if place.is_client else "")
    return replace(found, path=path or found.path, public=public)


def _people(folder: str, ids: set[bytes]) -> dict[bytes, tuple[str, str]]:
    """Return (name, date) of who wrote commits and tags."""
    from datetime import UTC, datetime

    found: dict[bytes, tuple[str, str]] = {}
    if not ids:
        return found
    with read_objects(folder, sorted(ids)) as program:
        while header := program.stdout.readline():
            id_, _, size = _header(header)
            if size < 0:
                continue
            data = program.stdout.read(size + 1)
            who = re.search(rb"^(?:author|tagger) (.*?) <[^>\n]*> (\d+)", data, re.MULTILINE)
            if who:
                date = datetime.fromtimestamp(min(int(who[2]), 32503680000), UTC).isoformat()
                found[id_] = (who[1].decode("utf-8", "replace"), date)
    return found


def _present(folder: str) -> Callable[[bytes, str, str], bool]:
    """Return a look whether a secret is still in the working tree, at its path or as its blob."""
    top = work_tree_above(folder)
    try:
        checked_out = index_blobs(folder)
    except GitFailed:
        checked_out = set()

    def look(id_: bytes, path: str, secret: str) -> bool:
        if id_ in checked_out:
            return True
        if top is None or not path:
            return False
        try:
            with open(os.path.join(top, path), "rb") as file:  # noqa: PTH118, PTH123 - bytes in the name
                return secret.encode("latin-1", "replace") in file.read(_LARGEST)
        except (OSError, ValueError):
            return False

    return look
