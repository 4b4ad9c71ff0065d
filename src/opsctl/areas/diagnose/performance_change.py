"""Find when a series of latencies changed, and to what; pure.

The maximally selected rank statistic (Lausen and Schumacher, 1992): Wilcoxon's test at every
possible moment, the chance multiplied by their number. It assumes no distribution and bears
outliers. It is asked of hourly medians, again on both sides of each change that it finds, and of
the single answers of the last day. What would deceive it is taken care of: the hours of the day
are levelled first, and the more a value resembles the one before it, the less the values count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import median

ALPHA = 0.001
"""The chance, of all moments of a series together, below which a change is believed."""
FACTOR = 1.2
"""A smaller change is nobody's trouble, however certain."""
LEAST_MS = 5.0
LEAST_BLOCKS = 72
"""Of fewer blocks of time even a clear change may not show, when hours resemble each other."""
LEAST_SIDE = 5
"""Values on either side of a change."""
PER_BLOCK = 4
"""Samples that make a block; with fewer it is left out."""
BLOCK_S = 3600.0
_DAY_S = 86_400
_HOURS_LEVELLED_FROM = 3
"""Days; with fewer an hour of the day is known from too little."""
_REFINED = 6
"""Blocks on either side in which the moment is sought sample by sample."""
_CHUNK = 24
"""Values among which the likeness of neighbours is measured: few hold a change."""
_COARSE = 2
"""Blocks by which stretches are tried; their ends are sought sample by sample afterwards."""
_LEAST_VALUE_MS = 0.01
"""What the history resolves; nothing has no logarithm."""

Samples = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Change:
    """A moment from which on the latencies were others."""

    at: float
    """Epoch seconds; a few samples early or late, where it is clear."""
    before_ms: float
    after_ms: float
    """Medians of the stretches up to the changes before and after this one."""
    chance: float
    """How probable a change like this is where there is none."""

    @property
    def factor(self) -> float:
        """How many times as long the answers took afterwards."""
        return self.after_ms / self.before_ms

    @property
    def slower(self) -> bool:
        """Whether it became slower."""
        return self.after_ms > self.before_ms


@dataclass(frozen=True)
class Course:
    """What became of one check's latencies."""

    changes: tuple[Change, ...]
    """In order; empty where nothing changed."""
    blocks: int
    """How many blocks of time had samples enough."""

    @property
    def enough(self) -> bool:
        """Whether a change would have been seen."""
        return self.blocks >= LEAST_BLOCKS


def find_changes(samples: Samples) -> Course:
    """Return the changes in (moment, milliseconds) pairs, which are in order of time."""
    samples = [(at, max(value, _LEAST_VALUE_MS)) for at, value in samples]
    blocks = _blocks(samples)
    if len(blocks) < LEAST_BLOCKS:
        return Course((), len(blocks))
    usual = _usual(blocks)
    levelled = [_levelled(each, usual) for each in blocks]
    found: list[tuple[int, float]] = []
    _split(levelled, 0, len(levelled), found)
    moments = [(_refine(samples, blocks, at, usual), chance) for at, chance in sorted(found)]
    newest = _newest(samples, moments[-1][0] if moments else samples[0][0], usual)
    moments = _worth_it(samples, [*moments, *newest])
    levels = _levels(samples, [at for at, _ in moments])
    changes = [
        Change(at, before, after, chance)
        for (at, chance), (before, after) in zip(moments, pairwise(levels), strict=True)
    ]
    return Course(tuple(changes), len(blocks))


def best_split(values: Sequence[float]) -> tuple[int, float]:
    """Return (index of the first value after the likeliest change, chance of it by luck)."""
    count = len(values)
    total = clearest = 0.0
    at = 0
    for index, rank in enumerate(_ranks(values)[:-1], 1):
        total += rank
        if min(index, count - index) >= LEAST_SIDE:
            distance = abs(total - index * (count + 1) / 2)
            clear = distance / math.sqrt(index * (count - index) * (count + 1) / 12)
            if clear > clearest:
                clearest, at = clear, index
    if not at:
        return 0, 1.0
    # Values that resemble their neighbours tell less than as many independent ones.
    clearest *= math.sqrt(_independent_share(values))
    return at, min(1.0, math.erfc(clearest / math.sqrt(2)) * count)


def best_stretch(values: Sequence[float]) -> tuple[int, int, float]:
    """Return (first, after the last, chance) of the stretch within that differs most.

    As in circular binary segmentation (Olshen and others, 2004): what came and went is hidden
    from a single split, for both of its sides hold some of it.
    """
    count = len(values)
    sums = [0.0, *accumulate(_ranks(values))]
    scale = [
        math.sqrt(length * (count - length) * (count + 1) / 12) or 1.0 for length in range(count)
    ]
    clearest, best = 0.0, (0, 0)
    for length in range(LEAST_SIDE, count // 2 + 1, _COARSE):
        usual = length * (count + 1) / 2
        for first in range(LEAST_SIDE, count - length - LEAST_SIDE + 1, _COARSE):
            clear = abs(sums[first + length] - sums[first] - usual) / scale[length]
            if clear > clearest:
                clearest, best = clear, (first, first + length)
    if not clearest:
        return 0, 0, 1.0
    clearest *= math.sqrt(_independent_share(values))
    chance = math.erfc(clearest / math.sqrt(2)) * count**2 / 2
    return *best, min(1.0, chance)


def _blocks(samples: Samples) -> list[tuple[float, float]]:
    """Return (begin, median) of every block of time with samples enough."""
    if len(samples) < 2:
        return []
    spacing = (samples[-1][0] - samples[0][0]) / (len(samples) - 1)
    length = BLOCK_S * max(1, math.ceil(PER_BLOCK * spacing / BLOCK_S))
    within: dict[int, list[float]] = {}
    for at, value in samples:
        within.setdefault(int(at // length), []).append(value)
    return [
        (number * length, median(values))
        for number, values in sorted(within.items())
        if len(values) >= PER_BLOCK
    ]


def _usual(blocks: Samples) -> dict[int, float]:
    """Return by how much each hour of the day differs from its day, as a logarithm.

    It is taken from each day by itself, so a change between days is not levelled.
    """
    days: dict[int, list[float]] = {}
    for at, value in blocks:
        days.setdefault(int(at // _DAY_S), []).append(math.log(value))
    if len(days) < _HOURS_LEVELLED_FROM:
        return {}
    of_day = {day: median(values) for day, values in days.items()}
    hours: dict[int, list[float]] = {}
    for at, value in blocks:
        hours.setdefault(_hour(at), []).append(math.log(value) - of_day[int(at // _DAY_S)])
    return {hour: median(values) for hour, values in hours.items()}


def _levelled(sample: tuple[float, float], usual: dict[int, float]) -> float:
    at, value = sample
    return math.log(value) - usual.get(_hour(at), 0.0)


def _hour(at: float) -> int:
    return int(at % _DAY_S // 3600)


def _split(values: Sequence[float], begin: int, end: int, found: list[tuple[int, float]]) -> None:
    """Note the change between two indices, if there is one, and those on both of its sides."""
    index, chance = best_split(values[begin:end])
    cuts = [begin + index]
    if chance > ALPHA:
        first, last, chance = best_stretch(values[begin:end])
        cuts = [begin + first, begin + last]
    if chance > ALPHA:
        return
    found += [(at, chance) for at in cuts]
    for one, other in pairwise([begin, *cuts, end]):
        _split(values, one, other, found)


def _newest(samples: Samples, since: float, usual: dict[int, float]) -> list[tuple[float, float]]:
    """Return a change in the last day that is too new to show in whole blocks."""
    near = [each for each in samples if each[0] >= max(since, samples[-1][0] - _DAY_S)]
    if len(near) < LEAST_BLOCKS:
        return []
    index, chance = best_split([_levelled(each, usual) for each in near])
    # Single answers of one hour resemble each other beyond their neighbours.
    return [(near[index][0], chance)] if chance <= ALPHA / 10 else []


def _worth_it(
    samples: Samples, moments: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return the changes that matter to somebody, the smallest left out one after the other."""
    kept = list(moments)
    while kept:
        sizes = [
            (max(after / before, before / after) / FACTOR, abs(after - before) / LEAST_MS)
            for before, after in pairwise(_levels(samples, [at for at, _ in kept]))
        ]
        smallest = min(range(len(kept)), key=lambda each: min(sizes[each]))
        if min(sizes[smallest]) >= 1:
            break
        kept.pop(smallest)
    return kept


def _levels(samples: Samples, moments: Sequence[float]) -> list[float]:
    """Return the median of each stretch between moments."""
    edges = [-math.inf, *moments, math.inf]
    return [
        median([value for at, value in samples if first <= at < last])
        for first, last in pairwise(edges)
    ]


def _refine(samples: Samples, blocks: Samples, at: int, usual: dict[int, float]) -> float:
    """Return the moment of a change, sought sample by sample around the block that begins it."""
    first = blocks[max(0, at - _REFINED)][0]
    last = blocks[min(len(blocks) - 1, at + _REFINED)][0]
    near = [each for each in samples if first <= each[0] < last]
    index, _ = best_split([_levelled(each, usual) for each in near])
    return near[index][0] if index else blocks[at][0]


def _ranks(values: Sequence[float]) -> list[float]:
    """Return each value's rank from 1; equal ones share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    index = 0
    while index < len(order):
        last = index
        while last + 1 < len(order) and values[order[last + 1]] == values[order[index]]:
            last += 1
        for each in order[index : last + 1]:
            ranks[each] = (index + last) / 2 + 1
        index = last + 1
    return ranks


def _independent_share(values: Sequence[float]) -> float:
    """Return for how many independent values each counts, from the likeness of neighbours.

    It is measured within short stretches, and the widest fourth of them is left out: a change
    makes neighbours alike that are not.
    """
    stretches = []
    for first in range(0, len(values) - _CHUNK // 2, _CHUNK):
        chunk = values[first : first + _CHUNK]
        mean = sum(chunk) / len(chunk)
        rest = [value - mean for value in chunk]
        power = sum(value * value for value in rest)
        stretches.append((power, sum(a * b for a, b in pairwise(rest))))
    stretches.sort()
    kept = stretches[: max(1, len(stretches) * 3 // 4)]
    power = sum(each for each, _ in kept)
    if not power:
        return 1.0
    likeness = sum(each for _, each in kept) / power
    # Short stretches show less of it than there is (Kendall, 1954).
    likeness = min(0.95, likeness + (1 + 3 * likeness) / _CHUNK)
    return 1.0 if likeness <= 0 else (1 - likeness) / (1 + likeness)
