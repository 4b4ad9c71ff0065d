"""Read one HTTP/1.1 answer piece by piece, in bounded memory, trusting nothing in it."""

from __future__ import annotations

import re

_MOST_HEAD_BYTES = 64 * 1024
_MOST_HEADERS = 200
_MOST_INFORMED = 16
"""Interim answers (1xx) before the real one."""
_MOST_LINE_BYTES = 4096
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")


class Unreadable(Exception):
    """The answer is not HTTP/1.1, or larger than is read; `reason` is "protocol" or "too-large"."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(said)
        self.reason = reason


class AnswerReader:
    """Takes the bytes of one answer; `done` once all of it was there.

    Of the body the first `keep` bytes are kept. One of more than `most` bytes raises Unreadable,
    at once where it is announced.
    """

    def __init__(self, *, method: str, keep: int, most: int) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        """Names in lower case; repeated ones joined by a comma. The head is whole once `status`
        is set."""
        self.body = bytearray()
        self.received = 0
        """Bytes of body in all, kept or not."""
        self.done = False
        self._no_body = method == "HEAD"
        self._keep = keep
        self._most = most
        self._pending = bytearray()
        self._left: int | None = None
        """Body bytes still to come, of the chunk where it is chunked; None: until the end."""
        self._chunked = False
        self._part = "size"
        """Of a chunked body what comes next: size, data, after, trailer."""
        self._informed = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raises Unreadable."""
        if not self.status:
            self._pending += data
            self._read_head()
            if not self.status or self.done:
                return
            data = bytes(self._pending)
            self._pending.clear()
        if self._chunked:
            self._pending += data
            self._read_chunks()
        else:
            self._take(data)

    def end(self) -> bool:
        """Take the end of the connection; return whether the answer was whole."""
        if self.status and not self._chunked and self._left is None:
            self.done = True
        return self.done

    @property
    def whole(self) -> bool:
        """Whether all of the body was kept."""
        return self.done and self.received == len(self.body)

    def _read_head(self) -> None:
        while not self.status:
            end = self._pending.find(b"\n\r\n")
            bare = self._pending.find(b"\n\n")
            if bare >= 0 and (end < 0 or bare < end):
                raise Unreadable("protocol", "its lines do not end as HTTP's do")
            if len(self._pending) > _MOST_HEAD_BYTES or end > _MOST_HEAD_BYTES:
                raise Unreadable("protocol", "its headers are larger than 64 KiB")
            if end < 0:
                # A server of another protocol is told by its first bytes, without waiting.
                if not b"HTTP/1.".startswith(self._pending[:7]):
                    raise Unreadable("protocol", "it is no HTTP/1.1 answer")
                return
            head = bytes(self._pending[: end + 1])
            del self._pending[: end + 3]
            self._parse_head(head)

    def _parse_head(self, head: bytes) -> None:
        lines = head.split(b"\r\n") if b"\r\n" in head else [head]
        lines[-1] = lines[-1].rstrip(b"\r\n")
        first = _STATUS_LINE.fullmatch(lines[0])
        if first is None:
            raise Unreadable("protocol", "it is no HTTP/1.1 answer")
        status = int(first[1])
        if status < 200:
            self._informed += 1
            if status == 101 or self._informed > _MOST_INFORMED:
                raise Unreadable("protocol", "it never comes to its answer")
            return
        headers: dict[str, str] = {}
        fields = [line for line in lines[1:] if line]
        if len(fields) > _MOST_HEADERS:
            raise Unreadable("protocol", f"it has more than {_MOST_HEADERS} headers")
        for line in fields:
            match = _HEADER.fullmatch(line)
            if match is None:
                raise Unreadable("protocol", "a header of it is malformed")
            name = match[1].decode().lower()
            value = match[2].decode("latin-1")
            if name == "content-length" and headers.get(name, value) != value:
                raise Unreadable("protocol", "it has two different lengths")
            known = name in headers and name != "content-length"
            headers[name] = f"{headers[name]}, {value}" if known else value
        self.headers = headers
        self.status = status
        self._frame()

    def _frame(self) -> None:
        """Find out where the body ends (RFC 9112, 6.3)."""
        if self._no_body or self.status in (204, 304):
            self.done = True
            return
        coding = self.headers.get("transfer-encoding", "").lower()
        if coding:
            if coding.rpartition(",")[2].strip() != "chunked":
                raise Unreadable("protocol", "its transfer encoding is not known")
            self._chunked = True
            return
        length = self.headers.get("content-length")
        if length is None:
            return
        if _DIGITS.fullmatch(length.encode("latin-1")) is None:
            raise Unreadable("protocol", "its length is no number")
        self._left = int(length)
        if self._left > self._most:
            raise self._too_large()
        self.done = self._left == 0

    def _take(self, data: bytes) -> None:
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self.received += len(data)
        if self.received > self._most:
            raise self._too_large()
        room = self._keep - len(self.body)
        if room > 0:
            self.body += data[:room]
        if self._left == 0 and not self._chunked:
            self.done = True

    def _read_chunks(self) -> None:
        """Read chunks (RFC 9112, 7.1): a size, so many bytes, an empty line; then trailers."""
        pending = self._pending
        while pending and not self.done:
            if self._part == "data":
                take = self._left or 0
                self._take(bytes(pending[:take]))
                del pending[:take]
                if not self._left:
                    self._part = "after"
                continue
            end = pending.find(b"\r\n")
            if end > _MOST_LINE_BYTES or (end < 0 and len(pending) > _MOST_LINE_BYTES):
                raise Unreadable("protocol", "a chunk of it has no size")
            if end < 0:
                return
            line = bytes(pending[:end])
            del pending[: end + 2]
            self._chunk_line(line)

    def _chunk_line(self, line: bytes) -> None:
        if self._part == "trailer":
            self._trailer_bytes += len(line)
            if self._trailer_bytes > _MOST_HEAD_BYTES:
                raise Unreadable("protocol", "its trailers are larger than 64 KiB")
            self.done = not line
        elif self._part == "after":
            if line:
                raise Unreadable("protocol", "a chunk of it is longer than it says")
            self._part = "size"
        else:
            match = _CHUNK_SIZE.fullmatch(line)
            if match is None:
                raise Unreadable("protocol", "a chunk of it has no size")
            self._left = int(match[1], 16)
            if self.received + self._left > self._most:
                raise self._too_large()
            self._part = "data" if self._left else "trailer"

    def _too_large(self) -> Unreadable:
        return Unreadable("too-large", f"its body is larger than {self._most >> 20} MiB")
