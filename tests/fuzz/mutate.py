"""Inputs made of other inputs: bytes turned, spliced and grown, and JSON with a part exchanged."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

MOST_BYTES = 64 * 1024
"""What a mutant is cut to: limits on size have tests of their own."""
_NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 255, 256, 65536, 2**31 - 1, 2**31, 2**63, -(2**63), 2**64, 10**30, 10**400, 0.5,
    1e308, -1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
_TEXTS = (
    "", " ", "\n", "\x00", "\x1b[31m", "\u202e", "\ud800", "é", "\U0001f600", "..", "../../etc/x",
    "/", "~", "%s", "%", "$(x)", "`x`", "'", '"', "\\", ";", "::error::x", "##[x]", "<script>",
    "]]>", "&", "|", "=1+1", "1e999", "NaN", "Infinity", "-0", "null", "[", "{", "http://[",
    "2026-02-30T99:99", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "١٢", "²",
    "a" * 5000,
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [None], [1], ["x"], {"": None}, {"id": []}, *_NUMBERS, *_TEXTS,
)  # fmt: skip
_BYTES = (
    *(text.encode("utf-8", "surrogatepass") for text in _TEXTS),
    b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\n\n", b"\t", b"\0\0\0\0",
    b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"---\n", b": ", b"- ", b"&a", b"*a",
    b"!!x", b"#", b",", b"=", b"export ", b"\\u0000", b"\\ud800", b"1" * 400, b"9" * 5000,
)  # fmt: skip


def mutants(seeds: Sequence[bytes], random: Random) -> Iterator[bytes]:
    """Give mutants of the seeds, without end."""
    while True:
        yield mutant(random.choice(seeds), seeds, random)


def mutant(seed: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    """Return one mutant: of JSON, half of the time, with a part of it exchanged."""
    if seed[:1] in (b"{", b"[") and random.random() < 0.6:
        try:
            document = json.loads(seed)
        except (ValueError, RecursionError):
            pass
        else:
            for _ in range(random.choice((1, 1, 1, 2, 4))):
                document = _exchanged(document, random)
            return json.dumps(document).encode()[:MOST_BYTES]
    data = bytearray(seed)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        _turn(data, seeds, random)
    return bytes(data[:MOST_BYTES])


def _exchanged(document: Any, random: Random) -> Any:
    """Return a document with one value in it replaced, removed, doubled or moved."""
    places = list(_places(document))
    if not places:
        return random.choice(_VALUES)
    holder, key = random.choice(places)
    how = random.randrange(6)
    if how == 0:
        del holder[key]
    elif how == 1:
        other, there = random.choice(places)
        try:
            holder[key] = json.loads(json.dumps(other[there]))
        except (KeyError, IndexError):
            holder[key] = None
    elif how == 2 and isinstance(holder, list):
        holder[key:key] = [holder[key]] * random.choice((1, 2, 100))
    elif how == 3:
        holder[key] = [holder[key]]
    elif how == 4 and isinstance(holder, dict):
        holder[random.choice(_TEXTS)] = holder.pop(key)
    elif isinstance(holder[key], str) and random.random() < 0.6:
        text = bytearray(holder[key].encode("utf-8", "replace"))
        _turn(text, [b"x"], random)
        holder[key] = text.decode("utf-8", "replace")
    else:
        holder[key] = copy.deepcopy(random.choice(_VALUES))  # it may be filled later
    return document


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    todo = [document]
    while todo:
        each = todo.pop()
        keys = (
            each if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        )
        for key in list(keys):
            yield each, key
            todo.append(each[key])


def _turn(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    at = random.randint(0, len(data))
    to = min(len(data), at + random.choice((1, 1, 2, 4, 8, 64)))
    how = random.randrange(8)
    if how == 0 and data:
        place = random.randrange(len(data))
        data[place] ^= 1 << random.randrange(8)
    elif how == 1:
        data[at:to] = random.randbytes(random.choice((1, 2, 4)))
    elif how == 2:
        del data[at:to]
    elif how == 3:
        data[at:at] = random.choice(_BYTES)
    elif how == 4:
        data[at:to] = random.choice(_BYTES)
    elif how == 5:
        # Much of the same: what takes the square of its input's length shows there.
        part = bytes(data[at:to]) or random.choice(_BYTES)
        data[at:at] = (part * (MOST_BYTES // max(len(part), 1)))[
            : random.choice((64, 2000, 60_000))
        ]
    elif how == 6:
        other = random.choice(seeds)
        cut = random.randint(0, len(other))
        data[at:] = other[cut:]
    else:
        del data[at:]
