"""What is there now, and what a restore may do there: read, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from opsctl.adapters import contents, postgres
from opsctl.adapters.catalog import MANAGED_SCHEMAS
from opsctl.adapters.sql import qualified, quote_literal
from opsctl.adapters.stores import Store, open_store
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret, url_with_database
from opsctl.core.settings import Database

if TYPE_CHECKING:
    from opsctl.core.call import Call

Strategy = Literal["swap", "schemas"]
"""swap: a new database takes the old one's name. schemas: new schemas take the old ones'."""

_COUNTED_BYTES = 20 * 10**9
"""Larger databases are not counted row by row for a plan: the statistics' estimate is shown."""

MARK = "opsctl restored "
"""How the comment on a database begins that opsctl has filled and compared."""


@dataclass(frozen=True)
class Target:
    """The database that a restore is for."""

    name: str
    exists: bool
    major: int
    version: str
    owner: str
    bytes: int
    rows: Mapping[str, int]
    """Rows of each table with a name of its own; estimated where `estimated`."""
    estimated: bool
    sessions: tuple[tuple[str, int], ...]
    """(application, connections) of everybody else who is connected."""
    user: str
    superuser: bool
    may_create: bool
    """Whether our role may make databases and rename this one."""
    hosted: bool
    others: frozenset[str]
    """Names of all databases of the server."""
    taken: frozenset[str]
    """What earlier restores have left: their tokens, and names that end in them."""
    maintenance: str
    """The database to be in while this one is renamed."""
    schemas: tuple[str, ...]
    """The application's own schemas that exist now."""

    @property
    def has_data(self) -> bool:
        """Whether there is anything to lose."""
        return any(self.rows.values())

    @property
    def strategy(self) -> Strategy:
        """How a restore takes its place."""
        return "swap" if self.may_create and not self.hosted else "schemas"


def store_of(call: Call, *, from_: str | None) -> Store:
    """Return the store that the backup is in."""
    settings = call.environment.backup
    return open_store(
        from_ or settings.to, root=call.root, environment=call.name, storage=settings.storage
    )


def database_of(call: Call) -> Database:
    """Return the database's settings; raises OpsError `no-database`."""
    if call.environment.database is None:
        raise OpsError(
            f"The environment {call.name} has no database",
            why="its settings have no database.url",
            hint=f"set environments.{call.name}.database.url in the settings",
            code="no-database",
        )
    return call.environment.database


def read_target(url: str) -> Target:
    """Look at the database and the server; a database that is gone is looked at from beside.

    Raises OpsError `database-unreachable`.
    """
    name = postgres.database_name(url)
    beside = "postgres" if name != "postgres" else "template1"
    try:
        with postgres.connect(url_with_database(url, beside)) as connection:
            return _read(connection, url, name, beside)
    except OpsError as error:
        if error.code != "database-unreachable":
            raise
    # Some servers let nobody into the maintenance database; then ours must do.
    with postgres.connect(url) as connection:
        return _read(connection, url, name, name)


def _read(connection: postgres.Connection, url: str, name: str, beside: str) -> Target:
    row = connection.execute(_SERVER.encode(), (name, name, name)).fetchone()
    if row is None:
        raise RuntimeError("the current user is not a role")
    user, superuser, createdb, supabase, exists, owner, owns, size, version = row
    others = connection.execute(b"SELECT datname FROM pg_database").fetchall()
    sessions = connection.execute(_SESSIONS.encode(), (name,)).fetchall()
    marks = connection.execute(
        b"SELECT (regexp_match(description, '\\(([0-9a-f]{6})\\)'))[1] FROM pg_shdescription "
        b"WHERE classoid = 'pg_database'::regclass AND starts_with(description, %s)",
        (MARK,),
    ).fetchall()
    taken = {str(each[0]) for each in (*others, *marks) if each[0]}
    rows: dict[str, int] = {}
    schemas: tuple[str, ...] = ()
    if exists:
        with postgres.connect(url) as inside:
            rows = _rows(inside, estimate=size > _COUNTED_BYTES)
            found = _schemas(inside)
        schemas = tuple(name for name in found if not name.startswith("opsctl_"))
        # `opsctl_old_TOKEN_public`: the token stands in the middle.
        taken |= {name.split("_")[2] for name in found if name.count("_") >= 3}
    return Target(
        name=name,
        exists=exists,
        major=connection.info.server_version // 10000,
        version=version,
        owner=owner or user,
        bytes=size,
        rows=rows,
        estimated=size > _COUNTED_BYTES,
        sessions=tuple((str(app), int(count)) for app, count in sessions),
        user=user,
        superuser=superuser,
        may_create=beside != name and (superuser or (createdb and (owns or not exists))),
        hosted=supabase and not superuser,
        others=frozenset(str(each[0]) for each in others),
        taken=frozenset(taken),
        maintenance=beside,
        schemas=schemas,
    )


_SERVER = """
SELECT current_user, r.rolsuper, r.rolcreatedb,
       EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'supabase_admin'),
       d.oid IS NOT NULL, pg_get_userbyid(d.datdba),
       coalesce(pg_has_role(d.datdba, 'USAGE'), false),
       coalesce(pg_database_size(d.oid), 0)::int8, current_setting('server_version')
FROM pg_roles r LEFT JOIN pg_database d ON d.datname = %s
WHERE r.rolname = current_user AND %s::text = %s::text
"""

_SESSIONS = """
SELECT coalesce(nullif(application_name, ''), usename, backend_type), count(*)
FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid() AND application_name <> 'opsctl'
GROUP BY 1 ORDER BY 2 DESC, 1
"""


def _rows(connection: postgres.Connection, *, estimate: bool) -> dict[str, int]:
    contents.settle(connection)
    tables = [each for each in contents.table_names(connection) if each.readable]
    if estimate:
        found = connection.execute(
            b"SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::int8 FROM pg_class c "
            b"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'"
        ).fetchall()
        counts = {contents.label(schema, name): int(count) for schema, name, count in found}
        return {each.label: counts.get(each.label, 0) for each in tables}
    rows: dict[str, int] = {}
    for start in range(0, len(tables), 200):
        query = " UNION ALL ".join(
            f"SELECT {quote_literal(each.label)}, count(*) "
            f"FROM ONLY {qualified(each.schema, each.name)}"
            for each in tables[start : start + 200]
        )
        rows.update({str(name): int(n) for name, n in connection.execute(query.encode())})
    return rows


def _schemas(connection: postgres.Connection) -> tuple[str, ...]:
    rows = connection.execute(
        b"SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' "
        b"AND nspname <> 'information_schema' ORDER BY 1"
    ).fetchall()
    return tuple(str(row[0]) for row in rows if is_application(str(row[0])))


def is_application(schema: str) -> bool:
    """Whether a schema is the application's; the migrations' history goes with it."""
    return schema == "supabase_migrations" or schema not in MANAGED_SCHEMAS


def url_of(call: Call) -> str:
    """Return the database's URL."""
    return resolve_secret(database_of(call).url)


def refuse(what: str, why: str, *, hint: str, code: str) -> OpsError:
    """Return the error of a guard: nothing was changed."""
    return OpsError(what, why=why, hint=hint, code=code, exit=Exit.REFUSED)
