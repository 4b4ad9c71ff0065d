"""Latencies as a DDSketch: any percentile within 1 % of the truth, and two can be merged.

The relative error holds for every quantile and every distribution, and merging adds none, so
the P95 of a month follows from the sketches of its days; from the days' P95s it would not.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from functools import partial
from itertools import accumulate
from operator import add
from typing import Any

from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore

RELATIVE_ERROR = 0.01
LEAST_MS = 0.005
"""What took less counts as this: the history keeps hundredths of a millisecond."""
MOST_MS = 1e10
"""What took more, which is four months, counts as this."""
_MOST_BINS = 4096
"""More than there are; a stored sketch with more is damaged."""
_HEAD = struct.Struct("<cih")
_MAPPING = LogarithmicMapping(RELATIVE_ERROR)
_FIRST_KEY = _MAPPING.key(LEAST_MS)
_LAST_KEY = _MAPPING.key(MOST_MS)
_EDGES = [_MAPPING.gamma**key for key in range(_FIRST_KEY, _LAST_KEY + 1)]
"""The largest value of each bin."""


class _Store(DenseStore):
    """The library's store with its two loops over the bins moved into C: 10 times as fast."""

    def merge(self, store: Any) -> None:
        """Add the bins of another store."""
        if not self.count or not store.count:
            super().merge(store)
            return
        if store.min_key < self.min_key or store.max_key > self.max_key:
            self._extend_range(store.min_key, store.max_key)
        begin, length = store.min_key - self.offset, store.max_key - store.min_key + 1
        theirs = store.bins[store.min_key - store.offset :][:length]
        ours = self.bins[begin : begin + length]
        self.bins[begin : begin + length] = map(add, ours, theirs)
        self.count += store.count

    def key_at_rank(self, rank: float, lower: bool = True) -> Any:
        """Return the key of the first bin up to which more than `rank` values lie."""
        if not lower:
            return super().key_at_rank(rank, lower)
        return min(bisect_right(list(accumulate(self.bins)), rank) + self.offset, self.max_key)


class LatencySketch:
    """How often which latency was seen, in milliseconds."""

    __slots__ = ("_store",)

    def __init__(self, latencies_ms: Iterable[float] = ()) -> None:
        self._store: Any = _Store()
        # As the library's `add`, whose logarithm for each value takes ten times as long.
        found = Counter(map(partial(bisect_left, _EDGES), latencies_ms))
        for index, times in found.items():
            self._store.add(_FIRST_KEY + min(index, len(_EDGES) - 1), times)

    @property
    def count(self) -> int:
        """How many latencies it holds."""
        return int(self._store.count)

    def merge(self, other: LatencySketch) -> None:
        """Add everything that another one holds."""
        self._store.merge(other._store)

    def quantile_ms(self, quantile: float) -> float | None:
        """Return a quantile of 0 to 1, or None of an empty sketch."""
        if not self._store.count:
            return None
        key = self._store.key_at_rank(quantile * (self._store.count - 1))
        return float(_MAPPING.value(key))

    def count_above(self, limit_ms: float) -> int:
        """Return how many were above a limit, to within the relative error of the limit."""
        store = self._store
        first = _MAPPING.key(max(limit_ms, LEAST_MS)) + 1
        if not store.count or first > store.max_key:
            return 0
        return int(sum(store.bins[max(first - store.offset, 0) :]))

    def buckets(self) -> list[tuple[float, int]]:
        """Return (latency, how often) of every bin that is not empty, the fastest first."""
        store = self._store
        return [
            (_MAPPING.value(index + store.offset), int(times))
            for index, times in enumerate(store.bins)
            if times
        ]

    def to_bytes(self) -> bytes:
        """Return it packed: the first bin's key and each bin's count."""
        store = self._store
        if not store.count:
            return b""
        start = store.min_key - store.offset
        counts = [int(each) for each in store.bins[start : store.max_key - store.offset + 1]]
        code = "H" if max(counts) < 1 << 16 else "Q"
        packed = array(code, counts)
        if sys.byteorder == "big":
            packed.byteswap()
        return _HEAD.pack(code.encode(), store.min_key, len(counts)) + packed.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> LatencySketch:
        """Unpack; raises ValueError where the bytes are not a sketch."""
        if not data:
            return cls()
        try:
            code, first, length = _HEAD.unpack_from(data)
            counts: array[int] = array(code.decode())
            counts.frombytes(data[_HEAD.size :])
        except (struct.error, UnicodeDecodeError, ValueError, TypeError):
            raise ValueError("it is not a packed sketch") from None
        if len(counts) != length or not 0 < length <= _MOST_BINS or counts.typecode not in "HQ":
            raise ValueError("it is not a packed sketch")
        if not _FIRST_KEY <= first <= _LAST_KEY - length + 1:
            # Merged with another it would have every bin in between.
            raise ValueError("it counts what no latency is")
        if sys.byteorder == "big":
            counts.byteswap()
        sketch = cls.__new__(cls)
        store: Any = _Store()
        sketch._store = store
        # As its own `copy` does: adding bin by bin would take twenty times as long.
        store.bins, store.offset = counts.tolist(), first
        store.min_key, store.max_key = first, first + length - 1
        store.count = sum(counts)
        return sketch
