"""The statistics of statements as a reader sees them, whatever the extension's version or schema.

that it can be left out of what is shown; not before its first word, where PostgreSQL 18 drops it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg

from opsctl.adapters.postgres import Connection
from opsctl.adapters.sql import qualified
from opsctl.core.errors import Exit, OpsError

MARK = "/* opsctl slowquery */"
_LONGEST_TEXT = 20_000
_TIMEOUT_MS = 15_000

Key = tuple[int, int, bool]
"""Role, query id, and whether the client sent it itself; all of one database."""


class Moments(NamedTuple):
    """What is said of the durations of one statement at one moment; times in ms."""

    calls: int
    total: float
    low: float
    """The shortest call since `extremes_since`."""
    high: float
    mean: float
    deviation: float
    """Of the population, since the entry began."""
    since: float | None
    """When the entry began, seconds since the epoch; None before PostgreSQL 17."""
    extremes_since: float | None


class Costs(NamedTuple):
    """What one statement has used beside time. A block is 8 kB; times are in ms."""

    rows: int = 0
    shared_hit_blocks: int = 0
    shared_read_blocks: int = 0
    shared_dirtied_blocks: int = 0
    shared_written_blocks: int = 0
    local_blocks: int = 0
    temp_read_blocks: int = 0
    temp_written_blocks: int = 0
    read_ms: float = 0.0
    """Zero unless track_io_timing is on."""
    write_ms: float = 0.0
    wal_records: int = 0
    wal_bytes: float = 0.0
    plans: int = 0
    """Zero unless pg_stat_statements.track_planning is on."""
    plan_ms: float = 0.0
    jit_functions: int = 0
    jit_ms: float = 0.0


_KEY = ("userid", "queryid", "toplevel")
_MOMENTS = (
    "calls",
    "total_exec_time",
    "min_exec_time",
    "max_exec_time",
    "mean_exec_time",
    "stddev_exec_time",
    "extract(epoch from {stats_since})::float8",
    "extract(epoch from {minmax_stats_since})::float8",
)
_COSTS = (
    "rows",
    "shared_blks_hit",
    "shared_blks_read",
    "shared_blks_dirtied",
    "shared_blks_written",
    "local_blks_hit + local_blks_read",
    "temp_blks_read",
    "temp_blks_written",
    "{shared_blk_read_time} + {blk_read_time} + {local_blk_read_time} + {temp_blk_read_time}",
    "{shared_blk_write_time} + {blk_write_time} + {local_blk_write_time} + {temp_blk_write_time}",
    "wal_records",
    "wal_bytes::float8",
    "plans",
    "total_plan_time",
    "{jit_functions}",
    "{jit_generation_time} + {jit_inlining_time} + {jit_optimization_time}"
    " + {jit_emission_time} + {jit_deform_time}",
)
"""In braces: what not every version of the extension has."""
_ABSENT = {"stats_since": "NULL::timestamptz", "minmax_stats_since": "NULL::timestamptz",
           "jit_functions": "0::bigint"}  # fmt: skip
_NEEDED = {"total_exec_time", "toplevel", "wal_bytes"}


@dataclass(frozen=True)
class Source:
    """The statistics of one database: where they are read, and what is known of their keeping."""

    relation: str
    """The function, quoted and qualified."""
    info: str
    version: str
    columns: frozenset[str]
    database: str
    user: str
    reads_all: bool
    """Whether the statements of other roles are shown to us."""
    track: str
    """`top`, `all` or `none`."""
    largest: int
    """How many entries are kept before the least used are thrown out."""
    query_ids: str
    """compute_query_id: `off` means that nothing is recorded."""
    server: str
    """The cluster's identity and version: counters of another cannot be compared."""
    started_at: float
    major: int


@dataclass(frozen=True)
class Counts:
    """Every entry of the database at one moment, times of the server's clock."""

    at: float
    """Seconds since the epoch."""
    moments: Mapping[Key, Moments]
    dealloc: int
    """How often entries were thrown out since `reset_at`."""
    reset_at: float
    hidden: int
    """Entries of other roles that our role may not know."""
    took_ms: float
    """Asking and fetching, on our clock."""
    whole: bool = True
    """Whether every entry is there, not only those that were ever slow."""


@dataclass(frozen=True)
class Snapshot:
    """Counts with everything else that was counted, and where they come from."""

    counts: Counts
    costs: Mapping[Key, Costs]
    server: str
    database: str
    started_at: float


class Text(NamedTuple):
    """A statement's text as the server keeps it."""

    text: str
    cut: bool
    """Whether it was too long to be fetched whole."""
    ignored: bool
    """Whether one of the patterns to ignore matches it."""


class Session(NamedTuple):
    """One client as pg_stat_activity shows it."""

    query_id: int | None
    """Of what it runs, or ran last."""
    role: str
    application: str
    running_ms: float | None
    """How long its statement has been running; None of one that is idle."""
    text: str


def find_statistics(connection: Connection) -> Source:
    """Return where the statistics are.

    Raises OpsError (exit 3) with the SQL that would mend it: `statements-not-loaded`,
    `statements-missing`, `statements-old`, `statements-off`.
    """
    row = _one(connection, _WHERE)
    (schema, version, columns, loaded, libraries, available, has_schema, database, user,
     reads_all, track, largest, query_ids, started_at) = row  # fmt: skip
    create = "create extension if not exists pg_stat_statements"
    create += " with schema extensions;" if has_schema else ";"
    if not loaded:
        raise _cannot(
            "The server does not keep statistics of statements",
            why="pg_stat_statements is not in shared_preload_libraries",
            hint=_preload(libraries) + (" " + create if schema is None else ""),
            code="statements-not-loaded",
        )
    if schema is None:
        raise _cannot(
            "The extension pg_stat_statements is not in this database",
            why=f"database {database} has no such extension"
            + ("" if available else ", and the server has no files of it"),
            hint=create if available else f"install PostgreSQL's contrib package, then: {create}",
            code="statements-missing",
        )
    if not set(columns) >= _NEEDED:
        raise _cannot(
            "The extension pg_stat_statements is too old",
            why=f"its version is {version}; 1.9 came with PostgreSQL 14",
            hint="alter extension pg_stat_statements update;",
            code="statements-old",
        )
    for setting, value, mend in (("pg_stat_statements.track", track, "top"),
                                 ("compute_query_id", query_ids, "auto")):  # fmt: skip
        if value in ("none", "off"):
            raise _cannot(
                "The server records no statements",
                why=f"{setting} is {value}",
                hint=f"alter system set {setting} = '{mend}'; select pg_reload_conf();",
                code="statements-off",
            )
    return Source(
        relation=qualified(schema, "pg_stat_statements"),
        info=qualified(schema, "pg_stat_statements_info"),
        version=version,
        columns=frozenset(columns),
        database=database,
        user=user,
        reads_all=reads_all,
        track=track,
        largest=largest,
        query_ids=query_ids,
        server=_identity(connection),
        started_at=started_at,
        major=connection.info.server_version // 10000,
    )


def is_ours(text: str) -> bool:
    """Whether a statement's text is one of this program's own."""
    return MARK in text[:200]


def grant_hint(source: Source) -> str:
    """Return the SQL that would let our role see the statements of others."""
    return f'grant pg_read_all_stats to "{source.user}";'


def prepare_session(connection: Connection) -> None:
    """Make numbers exact and ourselves harmless: no query of ours runs or waits for long."""
    _one(
        connection,
        f"SELECT {MARK} set_config('extra_float_digits', '1', false), "
        f"set_config('statement_timeout', '{_TIMEOUT_MS}', false), "
        "set_config('lock_timeout', '50', false), set_config('jit', 'off', false)",
    )


def read_counts(
    connection: Connection, source: Source, *, slower_than_ms: float | None = None
) -> Counts:
    """Return the durations' moments of entries: one cheap query, made many times a second.

    With `slower_than_ms` only those of which some call ever lasted so long.
    """
    began = time.monotonic()
    query = _select(source, _MOMENTS)
    if slower_than_ms is not None:
        query += f" AND max_exec_time > {slower_than_ms:g}"
    rows = _rows(connection, query)
    took_ms = (time.monotonic() - began) * 1000
    at, dealloc, reset_at = _info(rows)
    moments: dict[Key, Moments] = {}
    hidden = 0
    make = tuple.__new__  # what Moments._make calls, by way of two functions
    for row in rows:
        key = row[:3]
        if key[1] is None:
            hidden += 1
        else:
            moments[key] = make(Moments, row[3:])
    whole = slower_than_ms is None
    return Counts(at, moments, dealloc, reset_at, hidden - 1, took_ms, whole)


def read_snapshot(connection: Connection, source: Source) -> Snapshot:
    """Return everything that is counted, of every entry."""
    began = time.monotonic()
    rows = _rows(connection, _select(source, (*_MOMENTS, *_COSTS)))
    took_ms = (time.monotonic() - began) * 1000
    at, dealloc, reset_at = _info(rows)
    moments: dict[Key, Moments] = {}
    costs: dict[Key, Costs] = {}
    hidden = 0
    last = 3 + len(_MOMENTS)
    make = tuple.__new__
    for row in rows:
        key = row[:3]
        if key[1] is None:
            hidden += 1
        else:
            moments[key] = make(Moments, row[3:last])
            costs[key] = make(Costs, row[last:])
    counts = Counts(at, moments, dealloc, reset_at, hidden - 1, took_ms)
    return Snapshot(counts, costs, source.server, source.database, source.started_at)


def read_texts(
    connection: Connection, source: Source, keys: Collection[Key], *, ignore: Sequence[str]
) -> dict[Key, Text]:
    """Return the texts of some entries; of one that is gone by now there is none.

    `ignore` holds regular expressions that are matched to the whole text, its white space made
    single spaces, by the server: its engine cannot be made to run for ever by a pattern. Raises
    OpsError `ignore-pattern` (exit 2) for one that is none.
    """
    if not keys:
        return {}
    matched = "false"
    if ignore:
        matched = (
            r"EXISTS (SELECT FROM unnest(%(ignore)s::text[]) p WHERE "
            r"trim(regexp_replace(query, '\s+', ' ', 'g')) ~* ('^(?:' || p || ')$'))"
        )
    query = (
        f"SELECT {MARK} userid::bigint, queryid, toplevel, left(query, {_LONGEST_TEXT}), "
        f"length(query) > {_LONGEST_TEXT}, {matched} FROM {source.relation}(true) "
        f"WHERE dbid = ({_DATABASE}) AND queryid = ANY (%(ids)s::bigint[])"
    )
    given = {"ids": sorted({key[1] for key in keys}), "ignore": list(ignore)}
    try:
        rows = connection.execute(query.encode(), given, binary=True).fetchall()
    except psycopg.errors.InvalidRegularExpression as error:
        raise OpsError(
            "A pattern of slowquery.ignore is not a regular expression",
            why=error.diag.message_primary or "the server refused it",
            hint="correct slowquery.ignore in the settings; PostgreSQL's syntax applies",
            code="ignore-pattern",
        ) from None
    except psycopg.Error as error:
        raise _not_read(error) from None
    return {key: tuple.__new__(Text, row[3:]) for row in rows if (key := row[:3]) in keys}


def read_sessions(connection: Connection) -> tuple[Session, ...]:
    """Return the clients of the database but ourselves, and what they run or ran last."""
    return tuple(Session._make(row) for row in _rows(connection, _SESSIONS))


def read_roles(connection: Connection) -> dict[int, str]:
    """Return the names of all roles by oid."""
    return dict(_rows(connection, f"SELECT {MARK} oid::bigint, rolname::text FROM pg_roles"))


def _select(source: Source, expressions: Sequence[str]) -> str:
    """Return the query for some expressions of every entry, after a row about them all."""
    names = {name: name if name in source.columns else _ABSENT.get(name, "0::float8")
             for name in _OPTIONAL}  # fmt: skip
    chosen = [each.format(**names) for each in expressions]
    about = [
        "0::bigint",
        "NULL::bigint",
        "NULL::bool",
        "dealloc",
        "extract(epoch from stats_reset)::float8",
        "extract(epoch from clock_timestamp())::float8",
    ]
    about += ["NULL"] * (len(chosen) - 3)
    return (
        f"SELECT {MARK} {', '.join(about)} FROM {source.info} UNION ALL "
        f"SELECT userid::bigint, queryid, toplevel, {', '.join(chosen)} "
        f"FROM {source.relation}(false) WHERE dbid = ({_DATABASE})"
    )


def _info(rows: Sequence[Any]) -> tuple[float, int, float]:
    """Return (now, dealloc, reset at) of the row about all."""
    about = next(row for row in rows if row[0] == 0 and row[1] is None)
    return about[5], about[3], about[4]


_OPTIONAL = (
    "stats_since", "minmax_stats_since", "blk_read_time", "blk_write_time",
    "shared_blk_read_time", "shared_blk_write_time", "local_blk_read_time",
    "local_blk_write_time", "temp_blk_read_time", "temp_blk_write_time", "jit_functions",
    "jit_generation_time", "jit_inlining_time", "jit_optimization_time", "jit_emission_time",
    "jit_deform_time",
)  # fmt: skip

_DATABASE = "SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()"

_WHERE = f"""SELECT {MARK}
  n.nspname, e.extversion,
  (SELECT coalesce(array_agg(attname::text), '{{}}') FROM pg_catalog.pg_attribute a
     JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
     WHERE c.relname = 'pg_stat_statements' AND c.relnamespace = n.oid AND attnum > 0),
  EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'pg_stat_statements.track'),
  (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries'),
  EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'pg_stat_statements'),
  pg_catalog.to_regnamespace('extensions') IS NOT NULL,
  current_database()::text, current_user::text,
  pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
  coalesce(current_setting('pg_stat_statements.track', true), ''),
  coalesce(current_setting('pg_stat_statements.max', true), '0')::int,
  coalesce(current_setting('compute_query_id', true), ''),
  extract(epoch from pg_catalog.pg_postmaster_start_time())::float8
  FROM (VALUES (1)) one
  LEFT JOIN pg_catalog.pg_extension e ON e.extname = 'pg_stat_statements'
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
"""

_SESSIONS = f"""SELECT {MARK} query_id, coalesce(usename::text, ''), coalesce(application_name, ''),
  CASE WHEN state = 'active' AND backend_type = 'client backend'
       THEN extract(epoch from clock_timestamp() - query_start)::float8 * 1000 END,
  left(coalesce(query, ''), 1000)
  FROM pg_catalog.pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def _identity(connection: Connection) -> str:
    """Return what tells one cluster and major version from another."""
    major = connection.info.server_version // 10000
    try:
        row = connection.execute(
            f"SELECT {MARK} system_identifier FROM pg_control_system()".encode()
        ).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        row = None
    return f"{row[0] if row else 'unknown'}/{major}"


def _preload(libraries: str | None) -> str:
    """Return how the library is loaded, with those that are loaded already."""
    wanted = [each.strip() for each in (libraries or "").split(",") if each.strip()]
    names = ", ".join(f"'{each}'" for each in [*wanted, "pg_stat_statements"])
    known = "" if libraries is not None else " (and what is there already)"
    return f"alter system set shared_preload_libraries = {names}{known}; then restart the server."


def _cannot(what: str, *, why: str, hint: str, code: str) -> OpsError:
    return OpsError(what, why=why, hint=hint, code=code, exit=Exit.UNKNOWN)


def _one(connection: Connection, query: str) -> Any:
    rows = _rows(connection, query)
    if len(rows) != 1:
        raise RuntimeError("one row was asked for")
    return rows[0]


def _rows(connection: Connection, query: str) -> list[Any]:
    try:
        return connection.execute(query.encode(), binary=True).fetchall()
    except psycopg.Error as error:
        raise _not_read(error) from None


def _not_read(error: psycopg.Error) -> OpsError:
    """Return the error for a query of ours that failed; the server's words hold no secret."""
    if error.sqlstate is None:
        why = "the connection was lost"
    else:
        why = f"{error.diag.message_primary or 'the server refused'} (SQLSTATE {error.sqlstate})"
    return _cannot(
        "The statistics were not read",
        why=why,
        hint="opsctl diagnose db",
        code="statements-unreadable",
    )
