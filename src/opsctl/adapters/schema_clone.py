"""A scratch server that has a live database's roles, and its schema to be restored there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from opsctl.adapters import postgres, scratch
from opsctl.adapters.sql import quote_identifier

_ROLE_FLAGS = (
    ("rolsuper", "SUPERUSER"),
    ("rolinherit", "INHERIT"),
    ("rolcreaterole", "CREATEROLE"),
    ("rolcreatedb", "CREATEDB"),
    ("rolreplication", "REPLICATION"),
    ("rolbypassrls", "BYPASSRLS"),
)


class SchemaClone:
    """A scratch server beside the dump of a live schema; rows are never copied."""

    def __init__(
        self,
        server: scratch.ScratchServer,
        dump: postgres.SchemaDump,
        *,
        missing_extensions: tuple[str, ...],
        same_major: bool,
    ) -> None:
        self.server = server
        self.missing_extensions = missing_extensions
        """Extensions of the live database that the scratch server lacks, sorted."""
        self.same_major = same_major
        self._dump = dump

    def restore(
        self, name: str, *, keep: Callable[[postgres.DumpEntry], bool] | None = None
    ) -> tuple[str, tuple[str, ...]]:
        """Make a database with the live schema; return its URL and pg_restore's complaints.

        `keep` chooses entries of the dump.
        """
        url = self.server.create_database(name)

        def kept(entry: postgres.DumpEntry) -> bool:
            return self._restorable(entry) and (keep is None or keep(entry))

        return url, postgres.restore_schema(self._dump, url, keep=kept)

    def _restorable(self, entry: postgres.DumpEntry) -> bool:
        name = entry.name.split(" ")[0]
        about_extension = entry.kind == "EXTENSION" or (
            entry.kind == "COMMENT" and entry.name.startswith("EXTENSION ")
        )
        if entry.kind == "COMMENT":
            name = entry.name.removeprefix("EXTENSION ").split(" ")[0]
        return not (about_extension and name in self.missing_extensions)


@contextmanager
def schema_clone(
    connection: postgres.Connection, url: str, facts: postgres.ServerFacts
) -> Iterator[SchemaClone]:
    """Start a scratch server that has the live database's roles, and dump the live schema.

    Raises OpsError `tool-missing` (exit 3) where no server or no pg_dump of a fitting version
    is to be had.
    """
    extensions = {row[0] for row in connection.execute("SELECT extname FROM pg_extension")}
    flags = ", ".join(column for column, _ in _ROLE_FLAGS)
    roles = connection.execute(
        f"SELECT rolname, {flags} FROM pg_roles WHERE rolname !~ '^pg_'".encode()
    ).fetchall()
    members = connection.execute(
        "SELECT r.rolname, m.rolname FROM pg_auth_members a "
        "JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member "
        "WHERE r.rolname !~ '^pg_' AND m.rolname !~ '^pg_'"
    ).fetchall()
    with (
        scratch.scratch_server(at_least=facts.major) as server,
        postgres.dump_schema(url, major=facts.major) as dump,
    ):
        with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
            _copy_roles(admin, roles, members, user=facts.user)
            available = {
                row[0] for row in admin.execute("SELECT name FROM pg_available_extensions")
            }
        yield SchemaClone(
            server,
            dump,
            missing_extensions=tuple(sorted(extensions - available)),
            same_major=server.provider.major == facts.major,
        )


def _copy_roles(
    admin: psycopg.Connection[Any],
    roles: Sequence[tuple[Any, ...]],
    members: Sequence[tuple[str, str]],
    *,
    user: str,
) -> None:
    present = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}
    for name, *flags in roles:
        words = " ".join(
            word if on else f"NO{word}" for on, (_, word) in zip(flags, _ROLE_FLAGS, strict=True)
        )
        if name not in present:
            admin.execute(f"CREATE ROLE {quote_identifier(name)} NOLOGIN {words}".encode())
    for role, member in members:
        admin.execute(f"GRANT {quote_identifier(role)} TO {quote_identifier(member)}".encode())
    # The scratch user may create extensions, which the live one could when it deployed.
    admin.execute(f"ALTER ROLE {quote_identifier(user)} SUPERUSER".encode())
