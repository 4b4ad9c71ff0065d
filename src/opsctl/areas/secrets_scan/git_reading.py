"""Read git's objects and scan them, each once, with every core."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from opsctl.adapters.git_objects import Entry, GitFailed, read_objects
from opsctl.adapters.secret_scanner.patterns import Patterns
from opsctl.adapters.secret_scanner.reading import (
    CHUNK,
    OVERLAP,
    NotScanned,
    Piece,
    chunks,
    is_plain,
    pieces_of,
)
from opsctl.adapters.secret_scanner.scanner import Found, Scanner
from opsctl.adapters.secret_scanner.sighting import Place

LARGEST = 64 * 1024 * 1024
"""Bytes of an object that is read whole, if it is packed or in UTF-16; longer ones in chunks."""
_WHOLE = 4 * 1024 * 1024
"""Bytes of an object that is read whole whatever it holds: versions of it are compared."""
FEW = 2000
"""Objects that one process reads sooner than two start."""
_SHARES = 8
"""Stretches for each process, at most."""


@dataclass
class Read:
    """What came of reading objects."""

    found: list[tuple[bytes, bytes, Found]] = field(default_factory=list)
    """(id, kind, finding)."""
    not_scanned: list[tuple[str, str]] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0

    def add(self, other: Read) -> None:
        """Take in what another reading came to."""
        self.found += other.found
        self.not_scanned += other.not_scanned
        self.objects += other.objects
        self.bytes += other.bytes


def read_all(patterns: Patterns, folder: str, entries: Sequence[Entry], *, jobs: int) -> Read:
    """Read objects with several processes, each a stretch of what lies together on disk."""
    ids = [entry.id for entry in entries]
    count = min(jobs, max(1, len(ids) // FEW))
    if count < 2:
        return read_some(patterns, folder, ids, {}) if ids else Read()
    import multiprocessing

    # Smaller than one for each, since how long one takes is not known before.
    shares = _shares(entries, max(count, min(_SHARES * count, len(ids) // FEW)))
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    counter = context.Value("q", 0)
    children = []
    for _ in range(count - 1):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(
            target=_child, args=(patterns, folder, shares, counter, theirs), daemon=True
        )
        child.start()
        theirs.close()
        children.append((child, ours))
    total = _take_shares(patterns, folder, shares, counter)
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
        total.add(part)
    return total


def _child(
    patterns: Patterns, folder: str, shares: Sequence[Sequence[bytes]], counter: Any, pipe: Any
) -> None:
    try:
        pipe.send(_take_shares(patterns, folder, shares, counter))
    except GitFailed as error:
        pipe.send(str(error))
    pipe.close()


def _take_shares(
    patterns: Patterns, folder: str, shares: Sequence[Sequence[bytes]], counter: Any
) -> Read:
    total = Read()
    while True:
        with counter.get_lock():
            at = counter.value
            counter.value = at + 1
        if at >= len(shares):
            return total
        total.add(read_some(patterns, folder, shares[at], {}))


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


def read_some(
    patterns: Patterns, folder: str, ids: Sequence[bytes], paths: Mapping[bytes, str]
) -> Read:
    """Read objects, each once; raises GitFailed where git's answer makes no sense."""
    read = Read()
    scanner = Scanner(patterns)
    versions = _Versions(scanner)
    left = list(ids)
    while left:
        answered = _read_until_broken(folder, left, paths, versions=versions, read=read)
        if answered < len(left):
            # git ends at an object that it cannot unpack: the rest is read by another.
            read.not_scanned.append((left[answered].decode(), "git could not read the object"))
        left = left[answered + 1 :]
    read.bytes += scanner.bytes
    return read


def _read_until_broken(
    folder: str,
    ids: Sequence[bytes],
    paths: Mapping[bytes, str],
    *,
    versions: _Versions,
    read: Read,
) -> int:
    """Read objects from one git, put what was found into `read`, and return how many were read."""
    answered = 0
    scanner = versions.scanner
    with read_objects(folder, ids) as program:
        stream = program.stdout
        while header := stream.readline():
            id_, kind, size = header_of(header)
            if size < 0:
                answered += 1
                read.not_scanned.append((id_.decode(), "the object is missing or broken"))
                continue
            unknown = "" if kind == b"blob" else f"{kind.decode()} {id_.decode()[:12]}"
            place = Place(paths.get(id_, unknown))
            text = _Bounded(stream, size)
            try:
                if size <= _WHOLE:
                    data = text.read(size)
                    if kind != b"blob":
                        data = _without_signature(data)
                    if is_plain(data):
                        found = versions.scan(data, place)
                    else:
                        found = scanner.scan(pieces_of(data), place)
                else:
                    found = scanner.scan(_pieces(text, size), place)
                read.found += [(id_, kind, each) for each in found]
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


def difference(old: bytes, new: bytes) -> tuple[int, int]:
    """Return where in `new` that begins and ends which is not in `old` at the same place.

    It is searched by halves, so that the comparing is not Python's: it takes a sixth of a scan.
    """
    most = min(len(old), len(new))
    start, beyond = 0, most + 1
    while beyond - start > 1:
        middle = (start + beyond) // 2
        if old[start:middle] == new[start:middle]:
            start = middle
        else:
            beyond = middle
    same, beyond = 0, most - start + 1
    while beyond - same > 1:
        middle = (same + beyond) // 2
        if old[len(old) - middle : len(old) - same] == new[len(new) - middle : len(new) - same]:
            same = middle
        else:
            beyond = middle
    return start, len(new) - same


class _Versions:
    """Scans whole texts, of which one is often another version of the one before.

    As git keeps them, versions of a file lie together. Where one holds nothing, in the next only
    what differs can hold something, with as much around it as two pieces of a long file share.
    """

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self._clean = b""
        self._place = Place("")

    def scan(self, data: bytes, place: Place) -> list[Found]:
        """Return the secrets of a text for which `is_plain` holds."""
        scanner = self.scanner
        if len(data) <= 3 * OVERLAP:
            return scanner.scan_plain(data, place)
        bytes_before = scanner.bytes
        part = data
        if self._clean and place == self._place:
            start, end = difference(self._clean, data)
            part = data[max(0, start - OVERLAP) : end + OVERLAP]
        found = scanner.scan_plain(part, place)
        if found and part is not data:
            # Now lines have to be counted, too.
            found = scanner.scan_plain(data, place)
        scanner.bytes = bytes_before + len(data)
        self._clean, self._place = b"" if found else data, place
        return found


def header_of(line: bytes) -> tuple[bytes, bytes, int]:
    """Return (id, kind, size) of a line of git's; the size is -1 where it has no such object."""
    parts = line.split()
    if len(parts) == 3 and parts[2].isdigit() and len(parts[2]) < 20:
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


def _pieces(text: _Bounded, size: int) -> Iterable[Piece]:
    first = text.read(CHUNK)
    if size <= LARGEST and first[:4] in (b"\x1f\x8b\x08\x00", b"\x1f\x8b\x08\x08", b"PK\x03\x04"):
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
