"""What happened between two moments, and where the counters cannot be trusted.

Looks are handed in one after the other, stored ones first. An entry that went backwards, began
anew or vanished between two looks is *torn*: some of its calls are lost to us.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field

from opsctl.adapters.statements import Costs, Counts, Key, Moments, Snapshot
from opsctl.areas.slowquery.p95 import Known, Torn, between


@dataclass
class Spent:
    """What one statement did within the window."""

    first: Moments | None
    """What was counted before its first call; None where counting began with it."""
    last: Moments
    total_ms: float = 0.0
    known: Known = field(default_factory=Known)

    @property
    def calls(self) -> int:
        """Number of calls that ended within the window."""
        return self.known.calls

    @property
    def deviation_ms(self) -> float:
        """The deviation of the population of these calls; an estimate for comparing means."""
        first, calls = self.first, self.calls
        spread = self.last.deviation**2 * self.last.calls
        if first is not None and first.calls:
            spread -= first.deviation**2 * first.calls
            mean = self.total_ms / calls
            spread -= (mean - first.mean) ** 2 * first.calls * calls / self.last.calls
        return math.sqrt(max(spread, 0.0) / calls)


@dataclass(frozen=True)
class Window:
    """The time between the first look and the last."""

    began_at: float
    """Seconds since the epoch, of the server's clock."""
    ended_at: float
    spent: Mapping[Key, Spent]
    """Statements with at least one call that ended within the window."""
    costs: Mapping[Key, Costs]
    torn: frozenset[Key]
    """Entries that lost calls to an eviction or a reset of their own."""
    evictions: int
    """How often the server threw entries out meanwhile."""
    reset: bool
    """Whether all counters were set to zero meanwhile: the window begins there."""
    restarted: bool
    from_start: bool
    """Whether it begins where the statistics begin."""
    hidden: int
    """Entries of other roles that are not shown to us."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(self.ended_at - self.began_at, 0.001)


class Watch:
    """Collects looks into what each statement did."""

    def __init__(self, first: Counts | None, *, fine_ms: float) -> None:
        """Begin at a look, or with None where the statistics begin.

        Calls that can only last up to `fine_ms` are not cut into segments: finer ones would say
        no more about a limit that lies well above.
        """
        self._fine_ms = fine_ms
        self._first = first
        self._seen: dict[Key, Moments] = dict(first.moments) if first is not None else {}
        """The latest look at each entry."""
        self._base: dict[Key, Moments | None] = {}
        """Up to where each entry's calls were taken in, where that is not the latest look."""
        self._watched: set[Key] = set()
        """Entries of looks that were not whole: from 17 on they can leave those unharmed."""
        self._gone: set[Key] = set()
        self._spent: dict[Key, Spent] = {}
        self._torn: set[Key] = set()
        self._latest = first
        self._reset = False

    def look(self, counts: Counts) -> None:
        """Take in the next look."""
        if self._latest is not None and counts.reset_at != self._latest.reset_at:
            self._seen, self._base, self._spent = {}, {}, {}
            self._torn, self._gone, self._watched = set(), set(), set()
            self._reset, self._first = True, None
        seen = self._seen
        for key, after in counts.moments.items():
            before = seen.get(key)
            if before != after:
                self._step(key, before, after)
                seen[key] = after
        if counts.whole:
            missing = seen.keys() - counts.moments.keys()
        else:
            missing = {key for key in self._watched - counts.moments.keys()
                       if key in seen and seen[key].since is None}  # fmt: skip
            self._watched |= counts.moments.keys()
        for key in missing:
            self._close(key)
            del seen[key]
            self._gone.add(key)
            self._torn.add(key)
        self._latest = counts

    def window(self, first: Snapshot | None, last: Snapshot) -> Window:
        """Return what was collected; the snapshots say what was spent beside time."""
        for key in list(self._base):
            self._close(key)
        began = last.counts.reset_at if self._first is None else self._first.at
        dealloc = last.counts.dealloc - (self._first.dealloc if self._first is not None else 0)
        usable = first if first is not None and not self._reset else None
        return Window(
            began_at=began,
            ended_at=last.counts.at,
            spent={key: spent for key, spent in self._spent.items() if spent.calls},
            costs={key: _costs(usable, last, key) for key in self._spent
                   if key in last.costs and key not in self._torn},
            torn=frozenset(self._torn),
            evictions=dealloc,
            reset=self._reset,
            restarted=first is not None and abs(first.started_at - last.started_at) > 0.01,
            from_start=self._first is None and not self._reset,
            hidden=last.counts.hidden,
        )  # fmt: skip

    def _step(self, key: Key, before: Moments | None, after: Moments) -> None:
        if before is None and key in self._gone:
            self._gone.discard(key)
            if after.since is None:
                return  # before 17 nobody says whether these are all calls of a new entry
        base = self._base.get(key, before)
        try:
            known = between(base, after)
            if base is not before and not _is_fine(known, self._fine_ms):
                self._close(key)
                base, known = before, between(before, after)
        except Torn:
            self._torn.add(key)
            if before is not None:
                self._close(key)
                if after.since is not None and after.since != before.since:
                    self._take(key, None, after, between(None, after))
            return
        if _is_fine(known, self._fine_ms):
            self._base[key] = base
        else:
            self._base.pop(key, None)
            self._take(key, base, after, known)

    def _close(self, key: Key) -> None:
        """Take in what an entry did up to the latest look at it."""
        if key in self._base:
            base, seen = self._base.pop(key), self._seen[key]
            self._take(key, base, seen, between(base, seen))

    def _take(self, key: Key, base: Moments | None, after: Moments, known: Known) -> None:
        spent = self._spent.get(key)
        if spent is None:
            spent = self._spent[key] = Spent(base, after)
        spent.last = after
        spent.total_ms += after.total - (base.total if base is not None else 0.0)
        spent.known.add(known)


def _is_fine(known: Known, fine_ms: float) -> bool:
    """Whether calls are many and short enough to be left together with those that follow."""
    return bool(known.segments) and all(each.high <= fine_ms for each in known.segments)


def _costs(first: Snapshot | None, last: Snapshot, key: Key) -> Costs:
    after = last.costs[key]
    before = first.costs.get(key) if first is not None else None
    if before is None:
        return after
    return tuple.__new__(Costs, map(operator.sub, after, before))
