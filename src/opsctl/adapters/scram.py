"""The client's side of SCRAM-SHA-256, without channel binding: RFC 5802 and RFC 7677."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import stringprep
import struct
import unicodedata

_MOST_ROUNDS = 2_000_000
"""A hostile server could keep us counting."""


class ScramClient:
    """One proof that the password is known."""

    def __init__(self, password: str) -> None:
        self._password = prepare_password(password).encode()
        self._nonce = base64.b64encode(secrets.token_bytes(18)).decode()
        self._first = f"n=,r={self._nonce}"
        self._server_signature = b""

    def first(self) -> bytes:
        """Return the body of the first answer."""
        data = f"n,,{self._first}".encode()
        return b"SCRAM-SHA-256\0" + struct.pack("!i", len(data)) + data

    def proof(self, challenge: bytes) -> bytes:
        """Return the proof that we know the password; raises ValueError for nonsense."""
        text = challenge.decode("ascii")
        parts = dict(each.split("=", 1) for each in text.split(","))
        try:
            nonce, salt, rounds = parts["r"], base64.b64decode(parts["s"]), int(parts["i"])
        except KeyError:
            raise ValueError("the challenge lacks a part") from None
        if not nonce.startswith(self._nonce) or not 0 < rounds <= _MOST_ROUNDS:
            raise ValueError("the challenge is not an answer to ours")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, rounds)
        bare = f"c=biws,r={nonce}"
        message = ",".join((self._first, text, bare)).encode()
        client = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.sha256(client).digest(), message)
        self._server_signature = _hmac(_hmac(salted, b"Server Key"), message)
        proof = bytes(a ^ b for a, b in zip(client, signature, strict=True))
        return f"{bare},p={base64.b64encode(proof).decode()}".encode()

    def confirms(self, final: bytes) -> bool:
        """Whether the server proved that it knows the password, too."""
        wanted = b"v=" + base64.b64encode(self._server_signature)
        return hmac.compare_digest(final.split(b",")[0], wanted)


def prepare_password(password: str) -> str:
    """Return a password as SASLprep (RFC 4013) has it; one it forbids stays as it is."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each
        for each in password
        if not stringprep.in_table_b1(each)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    forbidden = (
        stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3,
        stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6,
        stringprep.in_table_c7, stringprep.in_table_c8, stringprep.in_table_c9,
        stringprep.in_table_a1,
    )  # fmt: skip
    if not normal or any(test(each) for each in normal for test in forbidden):
        return password
    both_ways = any(stringprep.in_table_d1(each) for each in normal)
    ends = stringprep.in_table_d1(normal[0]) and stringprep.in_table_d1(normal[-1])
    if both_ways and (not ends or any(stringprep.in_table_d2(each) for each in normal)):
        return password
    return normal


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
