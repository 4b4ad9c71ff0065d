"""One check's day: its samples packed into some hundred bytes, and what they add up to."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from opsctl.core.sample import Sample, SampleStatus

DAY_MS = 86_400_000
_STATUSES: tuple[SampleStatus, ...] = ("pass", "warn", "fail", "unknown")
_CODES = {status: code for code, status in enumerate(_STATUSES)}
_LATE = 1.5
"""A sample speaks until the next one, but no longer than one of this many intervals late."""
_FORMAT = 1
_HEAD = struct.Struct("<BIH")
_COLUMNS = "IiIiBBH"
"""Due, delay, took, own, status, reason, HTTP status: the type of each column's numbers."""
_LARGEST = 64_000_000
"""Bytes a day unpacks to at most: two samples a second take 3.5 million."""
_NO_TIME = 0xFFFF_FFFF
_NO_OWN = 0x7FFF_FFFF
_MOST_REASONS = 255


class Row(NamedTuple):
    """A sample as it is kept; its check and environment are known from where it was."""

    due_ms: int
    """Since the epoch, UTC."""
    began_ms: int
    took_ms: float | None
    own_ms: float | None
    status: SampleStatus
    reason: str
    http_status: int | None


class Outage(NamedTuple):
    """A run of failed samples of one check, not interrupted by one that was well, or by a gap."""

    begin_ms: int
    """When the first of them was due."""
    end_ms: int
    """Until when the last of them speaks."""
    failed: int
    reason: str
    """The first one's."""


class Sums(NamedTuple):
    """How many of some samples were what, and for how long they speak."""

    passed: int = 0
    warned: int = 0
    failed: int = 0
    unknown: int = 0
    known_s: float = 0.0
    down_s: float = 0.0

    @property
    def judged(self) -> int:
        """How many samples could look."""
        return self.passed + self.warned + self.failed

    @property
    def uptime(self) -> float | None:
        """The share of the known time that was not down; None where nothing is known."""
        return 1 - self.down_s / self.known_s if self.known_s else None

    @property
    def error_rate(self) -> float | None:
        """The share of the samples that failed, of those that could look."""
        return self.failed / self.judged if self.judged else None


class Day(NamedTuple):
    """What one check's samples of a day, or of a part of it, add up to."""

    check: str
    day: int
    """Days since the epoch, UTC."""
    passed: int
    warned: int
    failed: int
    unknown: int
    known_s: float
    """For how long samples speak that could look; the rest of the day nobody knows."""
    down_s: float
    """For how long failed ones speak."""
    first_ms: int
    last_ms: int
    sketch: bytes
    """The latencies of those that got an answer; see `LatencySketch`."""
    outages: str
    """As JSON; see `outages_of`."""

    @property
    def sums(self) -> Sums:
        """Its counts and times."""
        return Sums._make(self[2:8])


def row_of(sample: Sample) -> Row:
    """Return a sample as it is kept: times to the millisecond, latencies to a hundredth of it."""
    return Row(
        round(sample.due_at * 1000),
        round(sample.began_at * 1000),
        None if sample.took_ms is None else round(sample.took_ms, 2),
        None if sample.own_ms is None else round(sample.own_ms, 2),
        sample.status,
        sample.reason,
        sample.http_status,
    )


def day_of(due_ms: int) -> int:
    """Return the UTC day of a moment, as days since the epoch."""
    return due_ms // DAY_MS


def count(rows: Sequence[Row], every_s: float) -> tuple[Sums, list[Outage]]:
    """Return what rows, in order of `due_ms`, add up to. There must be one at least.

    Each speaks for the time to the next, so a minute sampled densely weighs no more than
    another; where the next is more than half an interval late, for one interval, and the rest
    is unknown. The last speaks for one interval, too, even beyond midnight.
    """
    counts = dict.fromkeys(_STATUSES, 0)
    every_ms = round(every_s * 1000)
    longest = every_ms * _LATE
    known = down = 0
    outages: list[Outage] = []
    outage: Outage | None = None
    following = [row.due_ms for row in rows[1:]]
    following.append(rows[-1].due_ms + every_ms)
    for (due, _, _, _, status, reason, _), until in zip(rows, following, strict=True):
        counts[status] += 1
        end = until if until - due <= longest else due + every_ms
        if outage is not None and (due > outage.end_ms or status in ("pass", "warn")):
            outages.append(outage)
            outage = None
        if status == "unknown":
            if outage is not None:
                outage = outage._replace(end_ms=end)
            continue
        known += end - due
        if status == "fail":
            down += end - due
            begun = outage or Outage(due, end, 0, reason)
            outage = begun._replace(end_ms=end, failed=begun.failed + 1)
    if outage is not None:
        outages.append(outage)
    return Sums._make((*counts.values(), known / 1000, down / 1000)), outages


def add_up(check: str, day: int, rows: Sequence[Row], *, every_s: float) -> Day:
    """Return what one check's rows of a day add up to; see `count`."""
    # Late: a single health check only appends, and is to be quick.
    from opsctl.adapters.latency_sketch import LatencySketch

    sums, outages = count(rows, every_s)
    answered = LatencySketch(
        row.took_ms for row in rows if row.took_ms is not None and row.status != "unknown"
    )
    return Day(
        check,
        day,
        *sums,
        rows[0].due_ms,
        rows[-1].due_ms,
        answered.to_bytes(),
        json.dumps(outages, separators=(",", ":")) if outages else "",
    )


def outages_of(days: Iterable[Day]) -> list[Outage]:
    """Return the outages of one check's days, in order; one over midnight is one."""
    found: list[Outage] = []
    for day in days:
        for each in json.loads(day.outages) if day.outages else ():
            outage = Outage(*each)
            if found and outage.begin_ms <= found[-1].end_ms:
                last = found[-1]
                found[-1] = last._replace(
                    end_ms=max(last.end_ms, outage.end_ms), failed=last.failed + outage.failed
                )
            else:
                found.append(outage)
    return found


def merged(older: Iterable[Row], newer: Iterable[Row]) -> list[Row]:
    """Return rows of one check in order; of two for the same moment the older one holds."""
    found = {row.due_ms: row for row in newer}
    found.update((row.due_ms, row) for row in older)
    return [found[due_ms] for due_ms in sorted(found)]


def pack(rows: Sequence[Row], day: int) -> bytes:
    """Return the rows of one check and day in columns, compressed."""
    start = day * DAY_MS
    reasons: dict[str, int] = {}
    columns = [array(code) for code in _COLUMNS]
    before = start
    for row in rows:
        delay = row.began_ms - row.due_ms
        took = _NO_TIME if row.took_ms is None else min(round(row.took_ms * 100), _NO_TIME - 1)
        # What the schedule's lateness leaves of the difference is mostly nothing.
        own = _NO_OWN
        if row.own_ms is not None:
            shift = 0 if row.took_ms is None else took - delay * 100
            own = _within(shift - round(row.own_ms * 100), _NO_OWN - 1)
        reason = row.reason if len(reasons) < _MOST_REASONS or row.reason in reasons else "other"
        columns[0].append(row.due_ms - before)
        columns[1].append(_within(delay, _NO_OWN))
        columns[2].append(max(took, 0))
        columns[3].append(own)
        columns[4].append(_CODES[row.status])
        columns[5].append(reasons.setdefault(reason, len(reasons)))
        columns[6].append(row.http_status or 0)
        before = row.due_ms
    if sys.byteorder == "big":
        for column in columns:
            column.byteswap()
    words = json.dumps(list(reasons), separators=(",", ":")).encode()
    body = words + b"".join(column.tobytes() for column in columns)
    return _HEAD.pack(_FORMAT, len(rows), len(words)) + zlib.compress(body, 6)


def unpack(data: bytes, day: int) -> list[Row]:
    """Return what was packed; raises ValueError where that is damaged or of another version."""
    try:
        columns, reasons = _columns(data)
        return list(_rows(columns, reasons, day))
    except (IndexError, TypeError) as error:
        raise ValueError(f"it is damaged: {type(error).__name__}") from None


def unpack_times(data: bytes) -> list[float]:
    """Return only the latencies that count, as `add_up` takes them; raises ValueError, too.

    Ten times as fast as whole rows: a year of them is looked through for one percentile.
    """
    columns, _ = _columns(data)
    unknown = _CODES["unknown"]
    return [
        took / 100
        for took, code in zip(columns[2], columns[4], strict=True)
        if took != _NO_TIME and code != unknown
    ]


def _columns(data: bytes) -> tuple[list[array[int]], list[str]]:
    try:
        format_, count, length = _HEAD.unpack_from(data)
        if format_ != _FORMAT:
            raise ValueError("it was packed by a newer opsctl")
        body = zlib.decompressobj().decompress(data[_HEAD.size :], _LARGEST)
        reasons = json.loads(body[:length])
    except (struct.error, zlib.error, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it is damaged: {type(error).__name__}") from None
    columns = []
    at = length
    for code in _COLUMNS:
        column = array(code)
        size = count * column.itemsize
        if len(body) < at + size:
            raise ValueError("it is cut off")
        column.frombytes(body[at : at + size])
        if sys.byteorder == "big":
            column.byteswap()
        columns.append(column)
        at += size
    return columns, reasons


def _rows(columns: Sequence[Sequence[int]], reasons: Sequence[str], day: int) -> Iterable[Row]:
    due = day * DAY_MS
    for gap, delay, took, own, code, reason, http_status in zip(*columns, strict=True):
        due += gap
        took_ms = None if took == _NO_TIME else took / 100
        own_ms = None
        if own != _NO_OWN:
            own_ms = ((0 if took_ms is None else took - delay * 100) - own) / 100
        yield Row(
            due, due + delay, took_ms, own_ms, _STATUSES[code], reasons[reason], http_status or None
        )


def _within(number: int, most: int) -> int:
    return max(-most, min(number, most))
