"""TLS with a PostgreSQL server: whether it is offered, with which certificate, and its trust."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Literal

from opsctl.adapters.certificate import Certificate, read_certificate
from opsctl.adapters.pg_target import Checks, Target
from opsctl.adapters.pg_wire import Closed, Refusal, Stranger, Wire, read_refusal

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)

TlsAnswer = Literal["offered", "declined", "refused", "stranger", "silent", "closed"]
"""To the question for TLS. refused: an error instead. stranger: no PostgreSQL server says that."""

Problem = Literal["", "expired", "not-yet", "self-signed", "unknown-issuer", "host", "no-roots",
                  "other"]  # fmt: skip


@dataclass(frozen=True)
class Tls:
    """What the server says to the question for TLS, and the certificate it shows."""

    answer: TlsAnswer
    version: str = ""
    certificate: Certificate | None = None
    unreadable: bool = False
    """Whether it showed a certificate that could not be read."""
    broken: str = ""
    """Why the handshake failed, in OpenSSL's words; empty where it did not."""
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Trust:
    """Whether the certificate stands up to what the URL's sslmode asks for."""

    checks: Checks
    problem: Problem = ""
    said: str = ""


def see_certificate(target: Target, opened: socket.socket, *, timeout_s: float) -> Tls:
    """Ask for TLS over an open connection, which is closed, and trust any certificate."""
    wire = Wire(opened, timeout_s=timeout_s)
    try:
        return secure(wire, target, checks="nothing")[0]
    finally:
        wire.close()


def secure(wire: Wire, target: Target, *, checks: Checks) -> tuple[Tls, Trust | None]:
    """Ask for TLS and begin it; the second part is None where it did not come about."""
    said, refusal = _request_tls(wire)
    if said != "offered":
        return Tls(said, refusal=refusal), None
    if checks != "nothing" and not target.root_certificate:
        return Tls("offered"), Trust(checks, "no-roots")
    try:
        _encrypt(wire, target, checks=checks)
    except _NoRoots:
        return Tls("offered"), Trust(checks, "no-roots")
    except ssl.SSLCertVerificationError as error:
        problem = _VERIFY_CODES.get(error.verify_code, "other")
        return Tls("offered"), Trust(checks, problem, error.verify_message)
    except OSError as error:
        return Tls("offered", broken=_reason(error)), None
    over = wire.over
    if not isinstance(over, ssl.SSLSocket):
        raise TypeError("the connection is not encrypted")
    data, version = over.getpeercert(binary_form=True) or b"", over.version() or ""
    try:
        return Tls("offered", version, read_certificate(data)), Trust(checks)
    except ValueError:
        return Tls("offered", version, unreadable=True), Trust(checks)


_VERIFY_CODES: dict[int, Problem] = {
    9: "not-yet", 10: "expired", 18: "self-signed", 19: "self-signed", 20: "unknown-issuer",
    21: "unknown-issuer", 62: "host", 64: "host",
}  # fmt: skip
"""X509_V_ERR_* of OpenSSL's x509_vfy.h."""


class _NoRoots(Exception):
    """The trusted certificates could not be read."""


def _request_tls(wire: Wire) -> tuple[TlsAnswer, Refusal | None]:
    try:
        wire.send(_SSL_REQUEST)
        answer = wire.byte()
        if answer == b"E":
            # A server so full that it refuses before it listens says so unencrypted.
            return "refused", read_refusal(wire.body())
    except TimeoutError:
        return "silent", None
    except (OSError, Closed):
        return "closed", None
    except Stranger:
        return "stranger", None
    words: dict[bytes, TlsAnswer] = {b"S": "offered", b"N": "declined"}
    return words.get(answer, "stranger"), None


def _encrypt(wire: Wire, target: Target, *, checks: Checks) -> None:
    """Encrypt a connection; raises _NoRoots, ssl.SSLError or another OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = checks == "chain and host"
    context.verify_mode = ssl.CERT_NONE if checks == "nothing" else ssl.CERT_REQUIRED
    if checks != "nothing":
        try:
            if target.root_certificate == "system":
                context.load_default_certs()
            else:
                context.load_verify_locations(target.root_certificate)
        except OSError:
            raise _NoRoots from None
    if target.client_certificate:
        with contextlib.suppress(OSError):
            context.load_cert_chain(target.client_certificate, target.client_key or None)
    wire.settle()
    try:
        wire.over = context.wrap_socket(wire.over, server_hostname=target.host)
    except ValueError as error:
        if isinstance(error, OSError):
            raise  # a certificate that is not trusted is both
        raise OSError("the host name fits no certificate") from None


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    said = getattr(error, "reason", None) or error.strerror or (error.args or ("",))[0]
    return str(said or type(error).__name__)
