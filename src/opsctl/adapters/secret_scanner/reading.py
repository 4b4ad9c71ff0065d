"""Read files as pieces of text: decoded, unpacked within bounds, a few MiB at a time."""

from __future__ import annotations

import codecs
import errno
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from opsctl.adapters.secret_scanner.sighting import Buffer

if TYPE_CHECKING:
    import bz2
    import lzma

CHUNK = 1024 * 1024
OVERLAP = 16 * 1024
"""Bytes that two pieces of a long file share: more than any secret is long."""
_MOST_UNPACKED = 256 * 1024 * 1024
_MOST_RATIO = 200
_SMALL = 4 * 1024 * 1024
"""Bytes that any archive may unpack to, however tightly it is packed."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MEDIA = (
    b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"wOFF", b"wOF2", b"OTTO", b"\x00\x01\x00\x00\x00",
    b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"fLaC", b"\x00\x00\x01\x00", b"true\x00",
)  # fmt: skip
"""Pictures, fonts, sound and film: they are compressed, and hold no text to speak of."""
_PACKED = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00")
_ZIP = b"PK\x03\x04"
_SPECIAL = (*_MEDIA, *_PACKED, _ZIP, *(bom for bom, _ in _BOMS))


_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class NotScanned(Exception):
    """Something that could not be read, or not all of it; the message says why."""


@dataclass(frozen=True)
class Piece:
    """A stretch of one text."""

    data: Buffer
    lines_before: int = 0
    """Line ends in front of it in the text, those of the overlap not counted twice."""
    skip: int = 0
    """Its first bytes, which the piece before had as well."""
    member: str = ""
    """Within an archive, which file."""
    text: bool = True
    """Whether it is text; in other data only sure forms are looked for."""
    more: bool = False
    """Whether the text goes on: what ends just at its end may be cut off."""


def read_whole(path: bytes | str, *, follow: bool = False) -> bytes | None:
    """Return a file of at most a chunk, or None where `read_file` is to look.

    Most files are such, and this takes half the time.
    """
    try:
        descriptor = os.open(path, _FLAGS if follow else _FLAGS | _NO_LINK)
    except OSError:
        return None
    try:
        about = os.fstat(descriptor)
        size = about.st_size
        if not stat.S_ISREG(about.st_mode) or size > CHUNK:
            return None
        # One byte more shows a file that grows, and those of /proc, which say 0.
        data = os.read(descriptor, size + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return data if len(data) == size else None


def read_file(path: bytes | str, *, follow: bool = False) -> Iterator[Piece]:
    """Yield the pieces of a file; raises NotScanned for what cannot be read, and after what can.

    Only plain files are read: a FIFO would wait for ever, a device may have no end. Of a link
    nothing is read unless `follow`. Raises IsADirectoryError for a directory.
    """
    try:
        descriptor = os.open(path, _FLAGS if follow else _FLAGS | _NO_LINK)
    except OSError as error:
        if not follow and error.errno in (errno.ELOOP, errno.ENOENT):
            # A link's target is scanned where it lies; a file that is gone holds nothing.
            return
        raise NotScanned(error.strerror or type(error).__name__) from None
    try:
        about = os.fstat(descriptor)
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(about.st_mode):
            raise NotScanned("it is no plain file")
        size = about.st_size
        # /proc and the like say 0 and are not empty.
        data = os.read(descriptor, min(size, CHUNK) + 1 if size else CHUNK)
        if len(data) <= CHUNK and len(data) >= size:
            yield from pieces_of(data)
            return
        yield from _long(data, descriptor)
    except IsADirectoryError:
        raise
    except OSError as error:
        raise NotScanned(error.strerror or type(error).__name__) from None
    finally:
        os.close(descriptor)


def pieces_of(data: bytes, *, nested: bool = False) -> Iterator[Piece]:
    """Yield the pieces of a whole file that is in memory."""
    if not data or data.startswith(_MEDIA):
        return
    if not nested and data.startswith(_PACKED):
        yield from _unpacked(iter((data,)), data[:8])
        return
    if not nested and data.startswith(_ZIP):
        yield from _zip(data)
        return
    text = decoded(data)
    if text is not None:
        yield from chunks(iter((text,)))
        return
    yield from chunks(iter((data,)), text=b"\0" not in data[:8192])


def is_plain(data: bytes) -> bool:
    """Whether a whole text is to be scanned as it stands: most are."""
    return not data.startswith(_SPECIAL) and data.find(b"\0", 0, 8192) < 0


def decoded(data: bytes) -> bytes | None:
    """Return UTF-16 and UTF-32 as UTF-8, and a BOM taken off; None for what needs no change."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            if encoding == "utf-8":
                return data[len(bom) :]
            return data[len(bom) :].decode(encoding, "replace").encode("utf-8", "replace")
    head = data[:512]
    if b"\0" in head and len(head) >= 8:
        # Without a BOM: every other byte of Latin text is zero.
        for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            zeros, others = head[offset::2], head[1 - offset :: 2]
            if zeros.count(0) >= 0.9 * len(zeros) > 0 and others.count(0) < 0.1 * len(others):
                return data.decode(encoding, "replace").encode("utf-8", "replace")
    return None


def chunks(stream: Iterator[bytes], *, text: bool = True, member: str = "") -> Iterator[Piece]:
    """Yield pieces of at most a chunk of a stream of bytes; each begins with the last one's end."""
    held = b""
    lines = skip = 0
    for data in stream:
        data = held + data if held else data
        at = 0
        while len(data) - at > CHUNK:
            piece = memoryview(data)[at : at + CHUNK]
            yield Piece(piece, lines, skip, member, text, more=True)
            lines += data.count(b"\n", at, at + CHUNK - OVERLAP)
            at += CHUNK - OVERLAP
            skip = OVERLAP
        held = data[at:] if at else data
    if len(held) > skip:
        yield Piece(held, lines, skip, member, text)


def _long(first: bytes, descriptor: int) -> Iterator[Piece]:
    def stream() -> Iterator[bytes]:
        yield first
        while more := os.read(descriptor, CHUNK):
            yield more

    if first.startswith(_MEDIA):
        return
    if first.startswith(_PACKED):
        yield from _unpacked(stream(), first[:8])
    elif first.startswith(_ZIP):
        with os.fdopen(os.dup(descriptor), "rb") as file:
            yield from _zip(file)
    elif decoded(first[:1024]) is not None:
        yield from chunks(_recoded(stream(), first))
    else:
        yield from chunks(stream(), text=b"\0" not in first[:8192])


def _recoded(stream: Iterator[bytes], first: bytes) -> Iterator[bytes]:
    name = next((name for bom, name in _BOMS if first.startswith(bom)), "")
    if not name:
        name = "utf-16-le" if first[1:2] == b"\0" else "utf-16-be"
    decoder = codecs.getincrementaldecoder(name)("replace")
    for data in stream:
        yield decoder.decode(data).encode("utf-8", "replace")


def _unpacked(stream: Iterator[bytes], head: bytes) -> Iterator[Piece]:
    """Yield what gzip, bzip2 and xz hold: of a tar, the whole of it as one text."""
    import lzma

    def inflate() -> Iterator[bytes]:
        unpacker = _unpacker(head)
        taken = given = 0
        for data in stream:
            taken += len(data)
            while data:
                out = unpacker.decompress(data, CHUNK)
                given += len(out)
                yield out
                if given > _MOST_UNPACKED or given > taken * _MOST_RATIO + _SMALL:
                    raise NotScanned("it unpacks to more than is scanned of an archive")
                if unpacker.eof:
                    data = unpacker.unused_data
                    unpacker = _unpacker(data[:4])
                    if data[:2] != head[:2]:
                        return
                elif isinstance(unpacker, _Inflate):
                    data = unpacker.unconsumed_tail
                else:
                    data = b""
                    while not unpacker.needs_input and not unpacker.eof:
                        out = unpacker.decompress(b"", CHUNK)
                        given += len(out)
                        yield out
                        if given > _MOST_UNPACKED:
                            raise NotScanned("it unpacks to more than is scanned of an archive")

    try:
        yield from chunks(inflate())
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError) as error:
        raise NotScanned(f"its compression is broken: {type(error).__name__}") from None


class _Inflate:
    """zlib's decompressor for gzip, with the names that the others have."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    def decompress(self, data: bytes, most: int) -> bytes:
        return self._inner.decompress(data, most)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def unconsumed_tail(self) -> bytes:
        return self._inner.unconsumed_tail


def _unpacker(head: bytes) -> _Inflate | bz2.BZ2Decompressor | lzma.LZMADecompressor:
    if head[:2] == b"BZ":
        import bz2

        return bz2.BZ2Decompressor()
    if head[:2] == b"\xfd7":
        import lzma

        return lzma.LZMADecompressor(memlimit=128 * 1024 * 1024)
    return _Inflate()


def _zip(source: bytes | IO[bytes]) -> Iterator[Piece]:
    """Yield the members of a zip, each within bounds."""
    import io
    import lzma
    import zipfile

    file = io.BytesIO(source) if isinstance(source, bytes) else source
    total = 0
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.is_dir():
                    continue
                if entry.flag_bits & 1:
                    raise NotScanned("it is encrypted")
                ratio = entry.file_size / max(entry.compress_size, 1)
                total += entry.file_size
                if total > _MOST_UNPACKED or (ratio > _MOST_RATIO and entry.file_size > _SMALL):
                    raise NotScanned("it unpacks to more than is scanned of an archive")
                with archive.open(entry) as member:
                    if entry.file_size <= _SMALL:
                        for piece in pieces_of(member.read(_SMALL + 1), nested=True):
                            yield Piece(
                                piece.data, piece.lines_before, piece.skip, entry.filename,
                                piece.text, piece.more,
                            )  # fmt: skip
                    else:
                        parts = iter(lambda m=member: m.read(CHUNK), b"")  # type: ignore[misc]
                        yield from chunks(parts, member=entry.filename)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError,
            NotImplementedError, RuntimeError, lzma.LZMAError) as error:  # fmt: skip
        raise NotScanned(f"it is a broken archive: {type(error).__name__}") from None
