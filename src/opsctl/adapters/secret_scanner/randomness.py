"""How random a text looks: entropy, and how unlike identifiers and words its neighbours are."""

from __future__ import annotations

import math
import operator
import re
from functools import cache
from pathlib import Path

from opsctl.adapters.secret_scanner.rules import FOLDER

_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_DIGIT, _OTHER, _SIGNS = 26, 27, 28
_SCALE = 6
"""Sixths of a bit, as the table holds them."""
_MIXED_BITS = 4.2
_RANDOM_BITS = 4.75
"""Of 28,000 identifiers 1 % are above, of random texts of 16 signs 1 % below."""


def entropy(text: str) -> float:
    """Return Shannon's entropy of the signs of a text, in bits a sign."""
    if not text:
        return 0.0
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in map(text.count, set(text)))


def surprise(text: str | bytes) -> float:
    """Return how surprising each sign is after the one before, in bits: words 3.6, random 6.8."""
    if len(text) < 2:
        return 0.0
    raw = text.encode("latin-1", "replace") if isinstance(text, str) else text
    codes = raw.translate(_CODES)
    # The loop is not Python's: this is asked of most candidates.
    places = map(operator.add, map(_ROWS.__getitem__, codes), codes[1:])
    total = sum(map(_table().__getitem__, places))
    return total / (len(codes) - 1) / _SCALE


def looks_random(text: str, *, least: int = 16) -> bool:
    """Whether a text of at least `least` signs was drawn, not written.

    A UUID is: its name tells whether it is a secret. So is a hash, for the same reason.
    """
    size = len(text)
    if size < least:
        return False
    if UUID.fullmatch(text):
        return entropy(text) > 3.0
    if text.isdigit():
        return size >= 20 and len(set(text)) >= 8
    if _HEX.fullmatch(text):
        digits = sum(sign.isdigit() for sign in text)
        letters = size - digits
        return len(set(text.lower())) >= min(8, size // 2) and letters >= 2 and digits >= 2
    # Words tied together look random where they are tied: each is looked at alone.
    parts = [part for part in re.split(r"[^A-Za-z0-9]+", text) if part]
    longest = max(parts, key=len, default="")
    if len(parts) > 1 and len(longest) >= max(16, least) and longest != text:
        return looks_random(longest, least=least) or looks_random("".join(parts), least=least)
    if len(longest) < 10 and len(parts) > 2:
        odd = sum(len(part) for part in parts if _is_odd(part))
        return odd >= 0.6 * sum(map(len, parts)) and entropy(text) > 3.2
    if entropy(text) < min(3.0, math.log2(size) * 0.75):
        return False
    score = surprise(text)
    # Digits in several places among letters of both cases are no version numbers.
    mixed = len(re.findall(r"\d+", text)) >= 3 and text != text.lower() and text != text.upper()
    return score >= (_MIXED_BITS if mixed else _RANDOM_BITS)


def _is_odd(part: str) -> bool:
    """Whether a short piece is no word: it mixes digits and letters, or its letters are odd."""
    digits = sum(sign.isdigit() for sign in part)
    if digits == len(part):
        return False
    if 0 < digits and not re.fullmatch(r"[A-Za-z]+\d{1,4}|v?\d+[a-z]?", part):
        return True
    return len(part) >= 4 and surprise(part) >= 5.2


_CODES = bytes(
    (code | 32) - 97 if chr(code).isascii() and chr(code).isalpha()
    else _DIGIT if 48 <= code <= 57
    else _OTHER
    for code in range(256)
)  # fmt: skip

_ROWS = tuple(range(0, _SIGNS * _SIGNS, _SIGNS))
"""Where the costs of the pairs begin that have a certain first sign."""


@cache
def _table() -> bytes:
    """Return the cost of each pair of a-z, digit and other sign, in sixths of a bit.

    Counted over the identifiers of a large Python and a large JavaScript tree.
    """
    text = (Path(FOLDER) / "bigrams.txt").read_text("ascii")
    return bytes(ord(sign) - 33 for sign in text if sign != "\n")
