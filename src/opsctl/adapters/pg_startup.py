"""A sign-in to a PostgreSQL server, spoken by hand, and why it refuses.

libpq keeps the SQLSTATE of a refused connection to itself. It and the routine that refused are
fields of the server's ErrorResponse, so nothing is told apart by its text.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from opsctl.adapters.pg_target import Target
from opsctl.adapters.pg_tls import Tls, TlsAnswer, Trust, secure
from opsctl.adapters.pg_wire import Closed, Refusal, Stranger, Wire, read_refusal, startup_message
from opsctl.adapters.scram import ScramClient
from opsctl.core.secrets import without_secrets

_MOST_MESSAGES = 200

Ending = Literal["ready", "refused", "unsupported", "no-password", "stranger", "silent", "closed",
                 "impostor", "plaintext", "untrusted", "no-tls"]  # fmt: skip
"""Of a sign-in. impostor: the server does not know the password either. plaintext: it wants the
password unencrypted, and is not told. untrusted: its certificate is not what the URL asks for.
no-tls: TLS did not come about, and the URL insists on it or the connection is spoilt by it."""


@dataclass(frozen=True)
class SignIn:
    """How a sign-in ended."""

    ending: Ending
    tls: Tls | None = None
    """None where none was asked for."""
    trust: Trust | None = None
    """None where TLS did not come about."""
    encrypted: bool = False
    method: str = ""
    """How the server had us prove who we are: `scram-sha-256`, `md5`, `password`, `none`."""
    refusal: Refusal | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the server said of itself: server_version, in_hot_standby, ..."""
    backend_pid: int | None = None
    """The number to cancel by; a pooler makes up its own."""
    took_ms: float = 0.0
    wire: Wire | None = None
    """The connection, where the ending is `ready`. Who gets it closes it."""

    @property
    def major(self) -> int:
        """The server's major version; 0 where it did not say."""
        digits = self.parameters.get("server_version", "").partition(".")[0]
        return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 4 else 0


def sign_in(
    target: Target, opened: socket.socket, *, timeout_s: float, encrypted: bool | None = None
) -> SignIn:
    """Sign in as a driver would over an open connection, which is this function's to close.

    Without `encrypted` the URL's sslmode decides: TLS is used where the server offers it,
    unless the mode is `disable`. A certificate that does not stand up to the mode ends it
    before anything is said. `timeout_s` is for all of it.
    """
    began = time.monotonic()
    wire = Wire(opened, timeout_s=timeout_s)
    talk = _Talk(wire, target)
    wanted = target.sslmode != "disable" if encrypted is None else encrypted
    tls: Tls | None = None
    trust: Trust | None = None
    ending: Ending
    try:
        if wanted and not target.local:
            tls, trust = secure(wire, target, checks=target.checks)
        talk.encrypted = tls is not None and tls.answer == "offered"
        before = _ends_before(target, tls, trust)
        ending = before if before is not None else talk.run()
    except TimeoutError:
        ending = "silent"
    except (OSError, Closed):
        ending = "closed"
    except Stranger:
        ending = "stranger"
    if ending != "ready":
        wire.close()
    return SignIn(
        ending,
        tls=tls,
        trust=trust,
        encrypted=talk.encrypted,
        method=talk.method,
        refusal=talk.refusal or (tls.refusal if tls is not None else None),
        parameters=talk.parameters,
        backend_pid=talk.backend_pid,
        took_ms=(time.monotonic() - began) * 1000,
        wire=wire if ending == "ready" else None,
    )


def _ends_before(target: Target, tls: Tls | None, trust: Trust | None) -> Ending | None:
    """Return how a sign-in ends before it begins; None where it may begin."""
    if tls is None:
        return None
    if trust is not None:
        return "untrusted" if trust.problem else None
    if tls.answer == "declined":
        return "no-tls" if target.insists_on_tls else None
    if tls.answer == "offered":
        return "no-tls"
    unasked: dict[TlsAnswer, Ending] = {
        "refused": "refused", "stranger": "stranger", "silent": "silent", "closed": "closed",
    }  # fmt: skip
    return unasked[tls.answer]


class _Talk:
    """One sign-in over an open connection."""

    def __init__(self, wire: Wire, target: Target) -> None:
        self._wire = wire
        self._target = target
        self._scram: ScramClient | None = None
        self._confirmed = True
        self.encrypted = False
        self.method = ""
        self.refusal: Refusal | None = None
        self.parameters: dict[str, str] = {}
        self.backend_pid: int | None = None

    def run(self) -> Ending:
        """Say who we are and answer what is asked until the server is ready, or not."""
        target = self._target
        pairs = {
            "user": target.user,
            "database": target.database,
            "application_name": "opsctl",
            "client_encoding": "UTF8",
            **({"options": target.options} if target.options else {}),
        }
        self._wire.send(startup_message(pairs))
        for _ in range(_MOST_MESSAGES):
            kind, body = self._wire.message()
            if kind == b"E":
                refusal = read_refusal(body)
                said = without_secrets(refusal.said, [target.password])
                self.refusal = Refusal(refusal.sqlstate, refusal.routine, said)
                return "refused"
            if kind == b"R":
                if (ended := self._authenticate(body)) is not None:
                    return ended
            elif kind == b"S":
                name, _, value = body.rstrip(b"\0").decode("utf-8", "replace").partition("\0")
                self.parameters[name] = value
            elif kind == b"K" and len(body) >= 4:
                self.backend_pid = struct.unpack_from("!i", body)[0]
            elif kind == b"Z":
                return "ready"
        raise Stranger

    def _authenticate(self, body: bytes) -> Ending | None:
        """Answer a request for a proof; return an ending where it cannot be given."""
        if len(body) < 4:
            raise Stranger
        code, rest = struct.unpack_from("!i", body)[0], body[4:]
        if code == 0:
            self.method = self.method or "none"
            return None if self._confirmed else "impostor"
        if code in (10, 11, 12):
            return self._scram_step(code, rest)
        if code not in (3, 5):
            self.method = {2: "krb5", 7: "gss", 9: "sspi"}.get(code, f"number {code}")
            return "unsupported"
        target = self._target
        self.method = "md5" if code == 5 else "password"
        if not target.password:
            return "no-password"
        if code == 5:
            inner = _md5(target.password.encode() + target.user.encode())
            self._wire.say(b"p", b"md5" + _md5(inner + rest[:4]) + b"\0")
        elif self.encrypted or target.loopback:
            self._wire.say(b"p", target.password.encode() + b"\0")
        else:
            return "plaintext"
        return None

    def _scram_step(self, code: int, rest: bytes) -> Ending | None:
        self.method = "scram-sha-256"
        if code == 10:
            if b"SCRAM-SHA-256" not in rest.split(b"\0"):
                self.method = rest.partition(b"\0")[0].decode("ascii", "replace")
                return "unsupported"
            if not self._target.password:
                return "no-password"
            self._scram, self._confirmed = ScramClient(self._target.password), False
            self._wire.say(b"p", self._scram.first())
            return None
        if self._scram is None:
            raise Stranger
        if code == 12:
            self._confirmed = self._scram.confirms(rest)
            return None if self._confirmed else "impostor"
        try:
            self._wire.say(b"p", self._scram.proof(rest))
        except ValueError:
            raise Stranger from None
        return None


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
