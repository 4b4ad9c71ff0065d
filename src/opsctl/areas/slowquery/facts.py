"""Gather what is judged: two moments of the statistics, samples between them, texts and plans."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.adapters import postgres, statements
from opsctl.adapters.explain import Explained
from opsctl.adapters.histogram import Histogram, read_histogram
from opsctl.adapters.indexes import TableFacts
from opsctl.adapters.snapshots import SnapshotStore, Stored
from opsctl.adapters.statements import Key, Session, Snapshot, Source, Text
from opsctl.areas.slowquery.baseline import is_baseline
from opsctl.areas.slowquery.logs import Logged
from opsctl.areas.slowquery.plans import Advice
from opsctl.areas.slowquery.probing import Probed
from opsctl.areas.slowquery.sampling import Sampling, sample
from opsctl.areas.slowquery.statements import Statement, list_statements, order
from opsctl.areas.slowquery.window import Watch, Window
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Report
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.call import Call

DEFAULT_SAMPLE_S = 10.0
_FINE_SHARE = 0.05
"""Of the limit: calls that cannot last longer are not told apart."""
_MOST_STEPS = 4
"""Stored snapshots between the first and the last that are looked at, too."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line."""

    since: str = ""
    """`last`, `start`, a span such as `15m`, or nothing."""
    sample_s: float | None = None
    top: int = 20
    sort: str = "total"
    explain: bool = False
    roles: tuple[str, ...] = ()
    baseline: str = "default"
    log: Path | None = None
    probe: Path | None = None
    probe_calls: int = 20


@dataclass(frozen=True)
class SlowFacts:
    """Everything that a check of slow queries looks at."""

    source: Source
    window: Window
    """What was asked for."""
    sampled: Window | None
    """Its end that was sampled, where that is not the whole of it."""
    sampling: Sampling | None
    texts: Mapping[Key, Text]
    roles: Mapping[int, str]
    sessions: tuple[Session, ...]
    still_running: tuple[Session, ...]
    """At the last moment, longest first."""
    baseline: Mapping[str, Any] | None
    notes: tuple[str, ...]
    damaged: tuple[OpsError, ...]
    """Stored snapshots that could not be used."""
    listed: tuple[Statement, ...]
    """The window's statements, the most expensive first."""
    plans: Mapping[Key, Explained]
    tables: Mapping[tuple[str, str], TableFacts]
    """Those of the plans."""
    work_mem_bytes: int
    advice: tuple[Advice, ...]
    logged: Logged | None
    histogram: Histogram | None
    """pg_stat_monitor's, where the database has it."""
    probed: tuple[Probed, ...]
    own_ms: float
    """Processor time of our own, all of it."""
    asked_ms: float
    """Waiting for the server, apart from sampling."""


def span_s(text: str, *, option: str) -> float:
    """Return the seconds that `10s`, `15m`, `2h` or `1d` stand for; raises OpsError `span`."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)\s*(ms|s|m|min|h|d)?", text.strip())
    seconds = 0.0
    if match is not None:
        unit = match[2] or "s"
        seconds = float(match[1]) * (0.001 if unit == "ms" else _UNITS[unit[0]])
    if not 0 < seconds <= 366 * 86400:
        raise OpsError(
            f"{option} was not understood",
            why=f"{text!r} is not a span of time",
            hint=f"{option} 10s, {option} 15m, {option} 2h",
            code="span",
        )
    return seconds


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep the collector of cycles away: it would walk all the fresh numbers, and free none."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@without_collection()
def gather(call: Call, asked: Asked, *, keep: bool = True) -> SlowFacts:
    """Look at the statistics of an environment's database.

    With `keep` the last look is stored. Raises OpsError where the statistics cannot be read.
    """
    busy, began = time.process_time(), time.monotonic()
    store = SnapshotStore(call.root, call.name)
    settings = call.environment.slowquery
    fine_ms = call.environment.limits.query_p95_ms * _FINE_SHARE
    notes: list[str] = []
    with connected(call) as connection:
        source = statements.find_statistics(connection)
        statements.prepare_session(connection)
        stored, damaged = _stored(store, source, asked, notes)
        from_start = asked.since == "start"
        whole = Watch(None if from_start else stored[0].counts, fine_ms=fine_ms) if (
            from_start or stored) else None  # fmt: skip
        for each in stored[1:]:
            if whole is not None:
                whole.look(each.counts)
        sample_s = asked.sample_s if whole is not None else asked.sample_s or DEFAULT_SAMPLE_S
        sampling = sampled = None
        first = stored[0] if stored else None
        if sample_s is not None:
            start = statements.read_snapshot(connection, source)
            tail = Watch(start.counts, fine_ms=fine_ms)
            if whole is not None:
                whole.look(start.counts)
            call.say(f"Watching the statements for {sample_s:g} s")
            sampling = sample(
                connection,
                source,
                seconds=sample_s,
                watches=(tail,) if whole is None else (whole, tail),
                slower_than_ms=fine_ms,
            )
            sessions = statements.read_sessions(connection)
            last = statements.read_snapshot(connection, source)
            tail.look(last.counts)
            sampled = tail.window(start, last)
        else:
            sessions = statements.read_sessions(connection)
            last = statements.read_snapshot(connection, source)
        if whole is None:
            if sampled is None:  # pragma: no cover - one of the two was made
                raise RuntimeError("nothing was watched")
            window, sampled = sampled, None
        else:
            whole.look(last.counts)
            window = whole.window(first, last)
        if keep:
            store.write(last, keep=settings.snapshots)
        texts = statements.read_texts(connection, source, set(window.spent), ignore=settings.ignore)
        roles = statements.read_roles(connection)
        everyone = (*(sampling.sessions if sampling is not None else ()), *sessions)
        listed = order(
            list_statements(window, texts=texts, roles=roles, sessions=everyone, only=asked.roles),
            asked.sort,
        )
        plans: Mapping[Key, Explained] = {}
        tables: Mapping[tuple[str, str], TableFacts] = {}
        advice: tuple[Advice, ...] = ()
        work_mem_bytes = 0
        if asked.explain:
            from opsctl.areas.slowquery.planning import explain_statements, work_mem

            work_mem_bytes = work_mem(connection)
            plans, tables, advice = explain_statements(
                connection, listed[: asked.top], texts=texts, say=call.say
            )
        logged = None
        if asked.log is not None:
            from opsctl.areas.slowquery.logs import read_log

            logged = read_log(connection, asked.log, window=window)
        histogram = read_histogram(connection, began_at=window.began_at, ended_at=window.ended_at)
        probed: tuple[Probed, ...] = ()
        if asked.probe is not None:
            from opsctl.areas.slowquery.probing import probe

            probed = probe(connection, asked.probe, calls=asked.probe_calls, say=call.say)
    waited = (time.monotonic() - began) * 1000
    own = (time.process_time() - busy) * 1000
    if sampling is not None:
        waited -= sampling.seconds * 1000
    return SlowFacts(
        source=source,
        window=window,
        sampled=sampled,
        sampling=sampling,
        texts=texts,
        roles=roles,
        sessions=everyone,
        still_running=tuple(
            sorted((each for each in sessions if each.running_ms is not None
                    and not statements.is_ours(each.text)),
                   key=lambda each: -(each.running_ms or 0))
        ),
        baseline=_baseline(store, asked.baseline, source),
        notes=tuple(notes),
        damaged=damaged,
        listed=tuple(listed),
        plans=plans,
        tables=tables,
        work_mem_bytes=work_mem_bytes,
        advice=advice,
        logged=logged,
        histogram=histogram,
        probed=probed,
        own_ms=own,
        asked_ms=max(waited - own, 0.0),
    )  # fmt: skip


def connected(call: Call) -> Any:
    """Return a connection to the environment's database, to be opened by `with`; read only."""
    settings = call.environment.database
    if settings is None:
        raise OpsError(
            f"The environment {call.name} names no database",
            why="environments.NAME.database is not in the settings",
            hint=f"add environments.{call.name}.database.url: env:DATABASE_URL to the settings",
            code="no-database",
        )
    return postgres.connect(resolve_secret(settings.url))


def _stored(
    store: SnapshotStore, source: Source, asked: Asked, notes: list[str]
) -> tuple[list[Snapshot], tuple[OpsError, ...]]:
    """Return the stored snapshots from the one that was named on, oldest first, and what failed.

    None where the statistics are to be sampled alone.
    """
    if asked.since == "start" or (not asked.since and asked.sample_s is not None):
        return [], ()
    span = None if asked.since in ("", "last") else span_s(asked.since, option="--since")
    there = list(store.list())
    damaged: list[OpsError] = []
    found: list[Snapshot] = []
    # The nearest to the moment that was named, then the next nearest should it not fit.
    if span is None:
        candidates = there[::-1]
    else:
        moment = time.time() - span
        candidates = sorted(there, key=lambda each: abs(each.at - moment))
    tried: set[Path] = set()
    for each in candidates[:5]:
        tried.add(each.path)
        snapshot = _fitting(store, each, source, damaged)
        if snapshot is not None:
            found = [snapshot]
            between = [other for other in there if other.at > each.at and other.path not in tried]
            step = max(1, -(-len(between) // _MOST_STEPS))
            for other in between[::step]:
                more = _fitting(store, other, source, damaged)
                if more is not None:
                    found.append(more)
            break
    if not found:
        if there and not damaged:
            notes.append("The stored snapshots are of another server or database.")
        notes.append("There is no earlier snapshot to compare with; the next check has this one.")
    return found, tuple(damaged)


def _fitting(
    store: SnapshotStore,
    stored: Stored,
    source: Source,
    damaged: list[OpsError],
) -> Snapshot | None:
    """Return a stored snapshot, or None where it is damaged or of another server."""
    try:
        snapshot = store.read(stored)
    except OpsError as error:
        damaged.append(error)
        return None
    if (snapshot.server, snapshot.database) != (source.server, source.database):
        return None
    return snapshot


def _baseline(store: SnapshotStore, name: str, source: Source) -> Mapping[str, Any] | None:
    """Return the baseline of that name; of the default one there need be none."""
    document = store.read_baseline(name)
    if document is None and name != "default":
        known = ", ".join(store.baselines()) or "none"
        raise OpsError(
            f"There is no baseline {name}",
            why=f"there is: {known}",
            hint=f"opsctl slowquery baseline --name {name}",
            code="no-baseline",
        )
    if document is not None and not is_baseline(document):
        raise OpsError(
            f"The baseline {name} is damaged",
            why="it is not what opsctl stores",
            hint=f"opsctl slowquery baseline --name {name}",
            code="baseline-damaged",
            exit=Exit.UNKNOWN,
        )
    return document


def keep_baseline(call: Call, asked: Asked, *, name: str) -> Report:
    """Store what each statement did in a window as the baseline of that name."""
    from opsctl.areas.slowquery.baseline import CALLS, describe

    facts = gather(call, asked)
    document = describe(
        facts.window, facts.listed, server=facts.source.server, database=facts.source.database
    )
    path = SnapshotStore(call.root, call.name).write_baseline(name, document)
    enough = sum(each.calls >= CALLS for each in facts.listed)
    return Report(
        command="slowquery baseline",
        title=f"Kept the baseline {name}: {len(facts.listed):,} statements, {enough:,} of them "
        f"with {CALLS} calls or more",
        environment=call.name,
        notes=(
            f"It is compared with by opsctl slowquery check --baseline {name}.",
            f"It lies in {path}.",
        ),
        data={
            "name": name,
            "path": str(path),
            "statements": len(facts.listed),
            "comparable_statements": enough,
            "seconds": round(facts.window.seconds, 3),
        },
    )
