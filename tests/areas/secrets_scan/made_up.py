"""Make secrets up at run time: nothing in this repository looks like one until a test runs."""

from __future__ import annotations

import base64
import json
import random
import re
import time
import zlib

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ALPHABETS = {
    "a": LETTERS + "0123456789",
    "l": LETTERS,
    "L": LETTERS + LETTERS.upper(),
    "A": LETTERS + LETTERS.upper() + "0123456789",
    "h": "0123456789abcdef",
    "U": LETTERS.upper() + "0123456789",
    "Y": LETTERS.upper() + "234567",
    "d": "0123456789",
    "b": LETTERS + LETTERS.upper() + "0123456789-_",
    "B": LETTERS + LETTERS.upper() + "0123456789+/",
    "K": LETTERS + LETTERS.upper() + "0123456789+/",
    "C": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
}
BASE62 = "0123456789" + LETTERS.upper() + LETTERS


def drawn(alphabet: str, count: int, dice: random.Random) -> str:
    """Draw a text that begins and ends with a letter or digit and mixes its kinds of signs."""
    while True:
        text = "".join(dice.choice(alphabet) for _ in range(count))
        ends = text[:1].isalnum() and text[-1:].isalnum()
        enough = count < 8 or len(set(text)) >= min(6, len(set(alphabet)) // 2)
        mixed = count < 12 or "0" not in alphabet or re.search(r"\d.*\d", text)
        run = re.search(r"(.)\1{3}|0123|1234|abcd", text)
        if ends and enough and mixed and not run:
            return text


def unsigned(part: dict[str, object]) -> str:
    """Return a part of a JSON Web Token."""
    raw = json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwt(role: str, dice: random.Random, *, ref: str = "", issuer: str = "supabase") -> str:
    """Return a token of a Supabase project, signed with nothing."""
    payload = {
        "iss": issuer,
        "ref": ref or drawn(LETTERS, 20, dice),
        "role": role,
        "iat": int(time.time()) - 1000,
        "exp": int(time.time()) + 300_000_000,
    }
    head = unsigned({"alg": "HS256", "typ": "JWT"})
    return ".".join([head, unsigned(payload), drawn(ALPHABETS["b"], 43, dice)])


def checksummed(prefix: str, dice: random.Random) -> str:
    """Return a token of GitHub or npm whose checksum fits."""
    body = drawn(ALPHABETS["A"], 30, dice)
    number, text = zlib.crc32(body.encode()), ""
    while number:
        number, rest = divmod(number, 62)
        text = BASE62[rest] + text
    return prefix + body + text.rjust(6, "0")


def expand(template: str, dice: random.Random) -> str:
    """Return a template with its tokens drawn: `{A24}`, `{u}`, `{jwt:anon}`, `{crc:ghp_}`, ..."""

    def one(match: re.Match[str]) -> str:
        kind = match[1]
        if kind[:1] in ALPHABETS and kind[1:].isdigit():
            return drawn(ALPHABETS[kind[0]], int(kind[1:]), dice)
        if kind == "u":
            parts = [drawn(ALPHABETS["h"], count, dice) for count in (8, 4, 3, 3, 12)]
            return "-".join([parts[0], parts[1], "4" + parts[2], "a" + parts[3], parts[4]])
        if kind.startswith("jwt:"):
            return jwt(kind[4:], dice)
        if kind.startswith("crc:"):
            return checksummed(kind[4:], dice)
        if kind == "basic":
            pair = "deploy:" + drawn(ALPHABETS["A"], 18, dice)
            return base64.b64encode(pair.encode()).decode()
        if kind == "discord":
            user = base64.b64encode(drawn("123456789", 18, dice).encode()).decode()
            rest = [drawn(ALPHABETS["b"], count, dice) for count in (6, 38)]
            return ".".join(["M" + user[1:] if user[0] == "M" else user, *rest])
        if kind in ("pem64", "cert64"):
            name = "PRIVATE KEY" if kind == "pem64" else "CERTIFICATE"
            lines = [drawn(ALPHABETS["K"], 64, dice) for _ in range(4)]
            text = "\n".join([f"-----BEGIN {name}-----", *lines, f"-----END {name}-----"])
            return base64.b64encode(text.encode()).decode()
        if kind == "p":
            return ""
        return match[0]

    return re.sub(
        r"\{([A-Za-z]\d{1,3}|u|p|basic|discord|pem64|cert64|jwt:\w+|crc:\w+)\}", one, template
    )
