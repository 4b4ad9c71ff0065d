"""A server's certificate: whom it is for and how long it lives, read from its DER bytes.

Trust is never judged here: OpenSSL does that, in a handshake of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_COMMON_NAME, _ORGANIZATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
_ALT_NAMES = bytes.fromhex("551d11")


@dataclass(frozen=True)
class Certificate:
    """What a certificate says of itself."""

    names: tuple[str, ...]
    """Names and addresses it is for; without any, its subject's common name."""
    issuer: str
    """The issuer's common name, or its organization; empty where it has neither."""
    self_signed: bool
    """Whether issuer and subject are the same."""
    begins: datetime
    ends: datetime


def read_certificate(data: bytes) -> Certificate:
    """Read a DER certificate; raises ValueError for anything else."""
    try:
        return _read(data)
    except (IndexError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError("this is not a certificate") from error


def _read(data: bytes) -> Certificate:
    fields = [each for each in _children(_only(_children(data)[0])[0][1]) if each[0] != _VERSION]
    # serial, signature, issuer, validity, subject, key, ...
    issuer, validity, subject = fields[2][1], fields[3][1], fields[4][1]
    begins, ends = (_time(tag, body) for tag, body in _children(validity)[:2])
    names: list[str] = []
    for tag, body in fields[5:]:
        if tag == _EXTENSIONS:
            names += _alternative_names(body)
    common = _name(subject, _COMMON_NAME)
    return Certificate(
        names=tuple(names) or ((common,) if common else ()),
        issuer=_name(issuer, _COMMON_NAME) or _name(issuer, _ORGANIZATION),
        self_signed=issuer == subject,
        begins=begins,
        ends=ends,
    )


def _only(element: tuple[int, bytes]) -> list[tuple[int, bytes]]:
    tag, body = element
    if tag != _SEQUENCE:
        raise ValueError("this is not a certificate")
    return _children(body)


def _children(data: bytes) -> list[tuple[int, bytes]]:
    return list(_elements(data))


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, body) of the elements that follow one another in `data`."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("this is not a certificate")
        yield tag, data[at : at + length]
        at += length


def _time(tag: int, body: bytes) -> datetime:
    text = body.decode("ascii").removesuffix("Z")
    if tag == _UTC_TIME:
        # RFC 5280: two digits of a year mean 1950 to 2049.
        text = ("20" if int(text[:2]) < 50 else "19") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("this is not a certificate")
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _name(name: bytes, wanted: bytes) -> str:
    found = ""
    for _, group in _children(name):
        for _, pair in _children(group):
            (_, kind), (_, value) = _children(pair)[:2]
            if kind == wanted:
                found = value.decode("utf-8", "replace")
    return found


def _alternative_names(body: bytes) -> list[str]:
    names: list[str] = []
    for _, extension in _children(_children(body)[0][1]):
        parts = _children(extension)
        if parts[0][1] != _ALT_NAMES:
            continue
        for tag, value in _children(_children(parts[-1][1])[0][1]):
            if tag == _DNS_NAME:
                names.append(value.decode("ascii", "replace"))
            elif tag == _IP_ADDRESS:
                with contextlib.suppress(ValueError):
                    names.append(str(ipaddress.ip_address(value)))
    return names
