"""The tables of a team's state, as SQL: what `opsctl state schema` prints."""

from __future__ import annotations

import importlib.resources
import re

from opsctl.adapters import (
    alert_states,
    health_history,
    incidents,
    maintenance_events,
    maintenance_windows,
)
from opsctl.core.state_place import TEAM_SCHEMA

_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")
_OTHERS = (
    *health_history.SCHEMA,
    *maintenance_windows.SCHEMA,
    *incidents.SCHEMA,
    *maintenance_events.SCHEMA,
    *alert_states.SCHEMA,
)
"""What the rooms keep, in the SQL that both databases know."""

_ONLY_ADDED = ("incident_event", "maintenance_event")


def schema_sql() -> str:
    """Return the statements that make schema, tables, functions, roles and grants.

    They are for one transaction. A state of a newer opsctl is left as it is: SQLSTATE OC003.
    """
    sql = (importlib.resources.files("opsctl.adapters") / "team_schema.sql").read_text("utf-8")
    tables = "".join(f"{_in_postgres(statement)};\n" for statement in _OTHERS)
    grants = "".join(
        f"GRANT {'INSERT' if name in _ONLY_ADDED else 'INSERT, UPDATE, DELETE'} "
        f"ON opsctl.{name} TO opsctl_operator;\n"
        for name in room_tables()
    )
    sql = sql.replace("-- TABLES\n", "-- What the rooms keep.\n" + tables + grants)
    return sql.replace("SCHEMA_VERSION", str(TEAM_SCHEMA))


def room_tables() -> tuple[str, ...]:
    """Return the names of the tables that the rooms keep, in order."""
    return tuple(
        match[1] for statement in _OTHERS if (match := _TABLE.match(statement)) is not None
    )


def room_schema() -> tuple[str, ...]:
    """Return the statements that make the rooms' tables in a state file."""
    return _OTHERS


def _in_postgres(statement: str) -> str:
    text = re.sub(r"\bBLOB\b", "BYTEA", statement)
    text = _TABLE.sub(r"CREATE TABLE IF NOT EXISTS opsctl.\1", text)
    return re.sub(r"(CREATE (?:UNIQUE )?INDEX IF NOT EXISTS \w+ ON) (\w+)", r"\1 opsctl.\2", text)
