"""What may have made it slow, each with its time: deployments, bundles, queries, providers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.adapters.health_day import day_of, merged
from opsctl.adapters.health_history import HealthHistory
from opsctl.adapters.maintenance_windows import WindowStore, joined, monthly
from opsctl.adapters.snapshots import SnapshotStore, Stored
from opsctl.adapters.statuspage_incidents import IncidentList, read_incidents
from opsctl.adapters.vercel import Deployment, VercelApi
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.adapters.statements import Snapshot
    from opsctl.core.call import Call

Series = Sequence[tuple[float, float]]
"""(moment, milliseconds) of every answer, in order."""

_MOST_DEPLOYMENTS = 200
_BUNDLES = Path(".opsctl") / "bundles"
_BUNDLE_FORMAT = 1
_MOST_BYTES = 64 << 20
_AROUND_S = 86_400.0
"""How far from a change snapshots are looked for."""
_LEAST_CALLS = 20
_GROWN = 1.5
_GROWN_MS = 1.0


@dataclass(frozen=True)
class Bundle:
    """What one commit's routes load first, in bytes of JavaScript as it is sent."""

    commit: str
    first_loads: Mapping[str, int]


@dataclass(frozen=True)
class SlowerQuery:
    """A statement whose calls took longer after a change than before."""

    query_id: int
    before_ms: float
    after_ms: float
    calls: int
    """Of the stretch afterwards."""


@dataclass(frozen=True)
class Queries:
    """What stored snapshots say of the statements on both sides of a change."""

    slower: tuple[SlowerQuery, ...] = ()
    """Those that cost most time more, first."""
    why: str = ""
    """Why nothing is known."""


@dataclass(frozen=True)
class Facts:
    """Everything that is laid side by side; what could not be asked is an OpsError."""

    begin: float
    end: float
    series: Mapping[str, Series]
    """By check; maintenance is left out."""
    deployments: tuple[Deployment, ...] | OpsError
    """Production's that were built, the oldest first; empty without Vercel."""
    bundles: Mapping[str, Bundle]
    """By commit."""
    providers: tuple[tuple[str, IncidentList], ...]
    """By name."""
    snapshots: tuple[Stored, ...]


def gather(call: Call, *, since_s: float, only: Sequence[str]) -> Facts:
    """Read the history, and ask Vercel and the status pages at the same time."""
    end = time.time()
    begin = end - since_s
    settings = call.environment
    pages = [("Supabase", settings.supabase.status_page)] if settings.supabase else []
    pages += [("Vercel", settings.vercel.status_page)] if settings.vercel else []
    with ThreadPoolExecutor(max_workers=3) as pool:
        deployments = pool.submit(_deployments, call, begin)
        providers = [(name, pool.submit(read_incidents, page)) for name, page in pages]
        series = _series(call, begin, end, only)
        snapshots = SnapshotStore(call.root, call.name).list()
        found = deployments.result()
        commits = [] if isinstance(found, OpsError) else [each.commit for each in found]
        return Facts(
            begin,
            end,
            series,
            found,
            _bundles(call.root / _BUNDLES, commits),
            tuple((name, asked.result()) for name, asked in providers),
            snapshots,
        )


def read_queries(call: Call, facts: Facts, at: float) -> Queries:
    """Compare the statements before and after a moment, from the snapshots within a day of it."""
    before = [each for each in facts.snapshots if at - _AROUND_S <= each.at <= at]
    after = [each for each in facts.snapshots if at < each.at <= at + _AROUND_S]
    if len(before) < 2 or len(after) < 2:
        return Queries(
            why=f"{len(before)} snapshots of the day before and {len(after)} of the day after; "
            "each side needs two"
        )
    store = SnapshotStore(call.root, call.name)
    try:
        sides = [_means(store.read(side[0]), store.read(side[-1])) for side in (before, after)]
    except OpsError as error:
        return Queries(why=f"{error.what}: {error.why}")
    if None in sides:
        return Queries(why="the statistics were reset, or are another server's, in between")
    earlier, later = (side or {} for side in sides)
    slower = [
        SlowerQuery(key[1], earlier[key][1], mean, calls)
        for key, (calls, mean) in later.items()
        if key in earlier
        and min(calls, earlier[key][0]) >= _LEAST_CALLS
        and mean >= earlier[key][1] * _GROWN
        and mean - earlier[key][1] >= _GROWN_MS
    ]
    slower.sort(key=lambda each: (each.before_ms - each.after_ms) * each.calls)
    return Queries(tuple(slower))


def _means(first: Snapshot, last: Snapshot) -> dict[Any, tuple[int, float]] | None:
    """Return (calls, mean in ms) of every statement between two snapshots.

    None where they cannot be compared. A statement that was thrown out in between and came
    back is left out: some of its calls are lost.
    """
    same = (
        first.server == last.server
        and first.database == last.database
        and first.started_at == last.started_at
        and first.counts.reset_at == last.counts.reset_at
    )
    if not same:
        return None
    found = {}
    for key, now in last.counts.moments.items():
        then = first.counts.moments.get(key)
        calls = now.calls - (then.calls if then else 0)
        total = now.total - (then.total if then else 0.0)
        if calls > 0 and total >= 0 and (then is None or then.since == now.since):
            found[key] = (calls, total / calls)
    return found


def _series(call: Call, begin: float, end: float, only: Sequence[str]) -> dict[str, Series]:
    store = HealthHistory(call.state)
    first, last = day_of(round(begin * 1000)), day_of(round(end * 1000))
    keys = [(day.check, day.day) for day in store.days(call.name, first, last)]
    rows = store.packed(call.name, [key for key in keys if not only or key[0] in only])
    for key, new in store.loose(call.name, first, last).items():
        if not only or key[0] in only:
            rows[key] = merged(rows.get(key, ()), new)
    windows = [
        *WindowStore(call.state).list(call.name),
        *monthly(call.environment.maintenance_windows, begin, end),
    ]
    spans = joined(windows, begin, end)
    found: dict[str, list[tuple[float, float]]] = {}
    for check, day in sorted(rows):
        found.setdefault(check, []).extend(
            (row.due_ms / 1000, row.took_ms)
            for row in rows[check, day]
            if row.took_ms is not None
            and row.status in ("pass", "warn")
            and begin <= row.due_ms / 1000 < end
            and not any(since <= row.due_ms / 1000 < until for since, until in spans)
        )
    return {check: series for check, series in found.items() if series}


def _deployments(call: Call, begin: float) -> tuple[Deployment, ...] | OpsError:
    """Return production's deployments since a moment, and the one before: what it replaced."""
    if call.environment.vercel is None:
        return ()
    api = VercelApi(call.environment.vercel)
    try:
        newest, _ = api.deployments(api.project(), most=_MOST_DEPLOYMENTS, target="production")
    except OpsError as error:
        return error
    built = [each for each in newest if each.state == "READY"]
    within = [each for each in built if each.created_ms / 1000 >= begin]
    return tuple(reversed(built[: len(within) + 1]))


def _bundles(folder: Path, commits: Sequence[str]) -> dict[str, Bundle]:
    found = {}
    for commit in commits:
        bundle = _bundle(folder / f"{commit}.json", commit) if commit.isalnum() else None
        if bundle is not None:
            found[commit] = bundle
    return found


def _bundle(path: Path, commit: str) -> Bundle | None:
    """Return a commit's recorded sizes; None where none were, or they are of another format."""
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_MOST_BYTES))
        if data["version"] != _BUNDLE_FORMAT:
            return None
        loads = {
            str(route["route"]): _sent(route["js"])
            for route in data["routes"]
            if isinstance(route["js"], dict)
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return Bundle(commit, {route: size for route, size in loads.items() if size})


def _sent(sizes: Mapping[str, Any]) -> int:
    """Return the size as most servers send it: gzip, else whatever was measured."""
    kinds = ("gzip", "brotli", "raw")
    return next((size for kind in kinds if isinstance(size := sizes.get(kind), int)), 0)
