"""The histograms of response times that pg_stat_monitor keeps, where a database has it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from opsctl.adapters.postgres import Connection
from opsctl.adapters.sql import qualified
from opsctl.adapters.statements import MARK, is_ours

_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?|\.\.\.)")
_MOST_ROWS = 50_000


@dataclass(frozen=True)
class HistogramRow:
    """One statement within one of its time buckets."""

    text: str
    counts: tuple[int, ...]
    """Calls by range, in the order of `Histogram.ranges`."""


@dataclass(frozen=True)
class Histogram:
    """How many calls lasted how long."""

    ranges: tuple[tuple[float, float], ...]
    """(from, up to) in ms, ascending; the last one has no end."""
    rows: tuple[HistogramRow, ...]
    refused: str = ""
    """Why it could not be read, though it is there."""


def read_histogram(connection: Connection, *, began_at: float, ended_at: float) -> Histogram | None:
    """Return the histograms of the time buckets that began between two moments.

    None where pg_stat_monitor is not in the database.
    """
    found = connection.execute(_WHERE.encode()).fetchone()
    if found is None:
        return None
    schema, has_level = found
    try:
        row = connection.execute(
            f"SELECT {MARK} {qualified(schema, 'range')}()::text[]".encode()
        ).fetchone()
        ranges = parse_ranges(row[0] if row else ())
        rows = connection.execute(
            f"SELECT {MARK} left(query, 1000), resp_calls::text[]::bigint[] "
            f"FROM {qualified(schema, 'pg_stat_monitor')} WHERE datname = current_database() "
            f"AND bucket_start_time BETWEEN to_timestamp(%s) AND to_timestamp(%s)"
            f"{' AND toplevel' if has_level else ''} LIMIT {_MOST_ROWS}".encode(),
            (began_at, ended_at),
        ).fetchall()
    except psycopg.Error as error:
        words = error.diag.message_primary or "the server refused"
        return Histogram((), (), refused=words)
    if not ranges or any(len(counts) != len(ranges) for _, counts in rows):
        return Histogram((), (), refused="its ranges and its counts do not fit together")
    return Histogram(
        ranges,
        tuple(
            HistogramRow(text, tuple(counts)) for text, counts in rows if not is_ours(text or "")
        ),
    )


def parse_ranges(texts: Sequence[str]) -> tuple[tuple[float, float], ...]:
    """Return the ranges that `(1.000 - 2.778}` and its like stand for; none if one is not."""
    found = []
    for text in texts:
        match = _RANGE.search(text)
        if match is None:
            return ()
        found.append((float(match[1]), math.inf if match[2] == "..." else float(match[2])))
    if any(high < low for low, high in found) or sorted(found) != found:
        return ()
    return tuple(found)


_WHERE = f"""SELECT {MARK} n.nspname::text, EXISTS (
    SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'toplevel')
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute r ON r.attrelid = c.oid AND r.attname = 'resp_calls'
  WHERE c.relname = 'pg_stat_monitor' AND c.relkind = 'v' LIMIT 1
"""
