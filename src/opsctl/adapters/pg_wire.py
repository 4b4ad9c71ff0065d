"""PostgreSQL's messages over a socket, read within one deadline and a budget of bytes.

Whoever is at the other end may be anything: what is no message, never ends or comes by drips is
cut off. The format follows PostgreSQL's documentation, "Frontend/Backend Protocol".
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass

from opsctl.core.errors import OpsError

_MOST_BYTES = 1 << 18
"""In all, until `allow` says otherwise: a sign-in needs some kilobytes."""
_KINDS = frozenset(b"RSKZETDCNIAv")
"""First bytes of what a server says in a sign-in or a simple query."""


class Closed(Exception):
    """The server hung up."""


class Stranger(Exception):
    """What came is not PostgreSQL's protocol."""


@dataclass(frozen=True)
class Refusal:
    """What the server's ErrorResponse says."""

    sqlstate: str
    routine: str
    """The function within the server that refused: ClientAuthentication, ..."""
    said: str
    """Its message, for a person alone."""


class Wire:
    """One connection. Reading raises TimeoutError, Closed, Stranger or OSError."""

    def __init__(self, over: socket.socket, *, timeout_s: float) -> None:
        self.over = over
        self._deadline = time.monotonic() + timeout_s
        self._bytes_left = _MOST_BYTES

    def allow(self, *, timeout_s: float, most_bytes: int) -> None:
        """Begin a new deadline and a new budget."""
        self._deadline = time.monotonic() + timeout_s
        self._bytes_left = most_bytes

    def settle(self) -> None:
        """Give the socket what is left of the time; raises TimeoutError where nothing is."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.over.settimeout(left_s)

    def send(self, data: bytes) -> None:
        """Send everything."""
        self.settle()
        self.over.sendall(data)

    def say(self, kind: bytes, body: bytes) -> None:
        """Send one message."""
        self.send(kind + struct.pack("!i", len(body) + 4) + body)

    def byte(self) -> bytes:
        """Read one byte."""
        return self._exactly(1)

    def message(self) -> tuple[bytes, bytes]:
        """Read one message: (kind, body)."""
        kind = self.byte()
        if kind[0] not in _KINDS:
            raise Stranger
        return kind, self.body()

    def body(self) -> bytes:
        """Read the rest of a message whose first byte was read."""
        length = struct.unpack("!i", self._exactly(4))[0] - 4
        if length < 0:
            raise Stranger
        return self._exactly(length)

    def close(self) -> None:
        """Hang up."""
        self.over.close()

    def _exactly(self, count: int) -> bytes:
        if count > self._bytes_left:
            raise Stranger
        self._bytes_left -= count
        data = bytearray()
        while len(data) < count:
            self.settle()
            part = self.over.recv(min(count - len(data), 1 << 16))
            if not part:
                raise Closed
            data += part
        return bytes(data)


def read_refusal(body: bytes) -> Refusal:
    """Read the body of an ErrorResponse."""
    fields = {each[:1]: each[1:].decode("utf-8", "replace") for each in body.split(b"\0") if each}
    return Refusal(
        sqlstate=fields.get(b"C", ""), routine=fields.get(b"R", ""), said=fields.get(b"M", "")
    )


def startup_message(pairs: dict[str, str]) -> bytes:
    """Return the first message of a connection, protocol 3.0.

    Raises OpsError `database-url` for a name that no message can carry.
    """
    if any("\0" in value for value in pairs.values()):
        raise OpsError(
            "The database URL was not understood",
            why="a name in it holds a zero byte",
            hint="look at the URL: %00 stands in it",
            code="database-url",
        )
    body = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in pairs.items())
    data = struct.pack("!i", 196608) + body + b"\0"
    return struct.pack("!i", len(data) + 4) + data
