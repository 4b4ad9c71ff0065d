"""Time queries of the engineer's own, read only: durations as a client sees them, all exact."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from opsctl.adapters.postgres import Connection
from opsctl.adapters.sql import split_statements, without_comments
from opsctl.areas.slowquery.p95 import Interval, exact_percentile
from opsctl.areas.slowquery.statements import shown
from opsctl.core.errors import OpsError

_TIMEOUT_MS = 15_000
_MOST = 50
_READING = re.compile(r"(select|with|values|table)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Probed:
    """One query that was timed; the network's time is in it."""

    text: str
    calls: int
    p95: Interval | None
    """None where it failed."""
    median_ms: float = 0.0
    failure: str = ""


def probe(
    connection: Connection, path: Path, *, calls: int, say: Callable[[str], None]
) -> tuple[Probed, ...]:
    """Run each query of a file so many times and time it; nothing is ever changed.

    Raises OpsError `probe-file` (exit 2) where the file cannot be used.
    """
    try:
        script = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise _unusable(f"{path}: {why}") from None
    queries = split_statements(script)
    if not 0 < len(queries) <= _MOST:
        raise _unusable(f"{path} holds {len(queries)} statements, not 1 to {_MOST}")
    say(f"Timing {len(queries)} queries, {calls} calls each")
    return tuple(_probe(connection, query, calls=calls) for query in queries)


def _probe(connection: Connection, query: str, *, calls: int) -> Probed:
    if not _READING.match(without_comments(query)):
        return Probed(shown(query), 0, None, failure="it is not a SELECT")
    durations = []
    for _ in range(calls):
        try:
            # Rolled back, and read only whatever the query says: one statement, no script.
            with connection.transaction(force_rollback=True):
                connection.execute(b"SET TRANSACTION READ ONLY")
                connection.execute(f"SET LOCAL statement_timeout = {_TIMEOUT_MS}".encode())
                cursor = connection.cursor(binary=True)
                began = time.perf_counter()
                cursor.execute(query.encode())
                durations.append((time.perf_counter() - began) * 1000)
        except psycopg.Error as error:
            words = error.diag.message_primary or "the connection was lost"
            return Probed(shown(query), len(durations), None,
                          failure=f"{words} (SQLSTATE {error.sqlstate})")  # fmt: skip
    value = exact_percentile(durations)
    middle = sorted(durations)[len(durations) // 2]
    return Probed(shown(query), len(durations), Interval(value, value), middle)


def _unusable(why: str) -> OpsError:
    return OpsError(
        "The file of queries was not used",
        why=why,
        hint="--probe names a file of SELECT statements, each ended by a semicolon",
        code="probe-file",
    )
