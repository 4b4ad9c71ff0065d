"""What the endpoints and the database say, gathered at once and not yet judged."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.adapters import http, postgres
from opsctl.core.errors import OpsError
from opsctl.core.secrets import resolve_secret
from opsctl.core.settings import HealthEndpoint

if TYPE_CHECKING:
    from opsctl.core.call import Call


@dataclass(frozen=True)
class Endpoint:
    """An endpoint's settings beside what it answered."""

    settings: HealthEndpoint
    fetched: http.Fetched


@dataclass(frozen=True)
class DatabaseFacts:
    """What the database said, or why it said nothing."""

    where: str
    """Host and port, or the reference of its URL."""
    took_ms: float
    """Connecting and asking."""
    version: str = ""
    connections: int = 0
    max_connections: int = 0
    read_only: bool = False
    error: OpsError | None = None


@dataclass(frozen=True)
class HealthFacts:
    """Everything that a health check looks at."""

    endpoints: tuple[Endpoint, ...]
    database: DatabaseFacts | None
    """None where the environment has none."""


def gather(call: Call) -> HealthFacts:
    """Look at every endpoint and the database at the same time."""
    settings = call.environment.health
    with ThreadPoolExecutor(max_workers=1) as pool:
        database = pool.submit(_database, call)
        fetched = http.fetch_all(settings) if settings else ()
        pairs = tuple(Endpoint(*pair) for pair in zip(settings, fetched, strict=True))
        return HealthFacts(pairs, database.result())


def _database(call: Call) -> DatabaseFacts | None:
    settings = call.environment.database
    if settings is None:
        return None
    began = time.monotonic()
    try:
        with postgres.connect(resolve_secret(settings.url)) as connection:
            row = connection.execute(_QUESTION).fetchone()
            where = f"{connection.info.host}:{connection.info.port}"
    except OpsError as error:
        took_ms = (time.monotonic() - began) * 1000
        return DatabaseFacts(settings.url, took_ms, error=error)
    took_ms = (time.monotonic() - began) * 1000
    version, connections, most, read_only = row if row else ("", 0, 0, False)
    return DatabaseFacts(where, took_ms, version, connections, most, read_only)


_QUESTION = """
SELECT current_setting('server_version'),
       (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend'),
       current_setting('max_connections')::int,
       pg_is_in_recovery()
"""
