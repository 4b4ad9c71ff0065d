"""What is known of a database's migrations: both tools' histories beside their directories."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from opsctl.adapters.sql import split_statements, without_comments
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.adapters.migrations import Applied, Migration
    from opsctl.adapters.postgres import Connection
    from opsctl.core.call import Call

EntryState = Literal["applied", "pending", "failed", "rolled-back", "edited", "no file"]
"""applied, edited (its file differs from what was applied), no file (applied, file is gone)."""


@dataclass(frozen=True)
class History:
    """One tool's directory and history table; None where there is none."""

    tool: str
    directory: Path
    migrations: tuple[Migration, ...] | None
    applied: tuple[Applied, ...] | None

    @property
    def present(self) -> tuple[Applied, ...]:
        """The rows that count as applied, oldest first."""
        rows = [row for row in self.applied or () if row.state == "applied"]
        return tuple(sorted(rows, key=lambda row: order(row.version)))

    @property
    def failed(self) -> tuple[Applied, ...]:
        """The rows of migrations that stopped half-way."""
        return tuple(row for row in self.applied or () if row.state == "failed")

    def migration(self, version: str) -> Migration | None:
        """Return the directory's migration of a version."""
        return next((each for each in self.migrations or () if each.version == version), None)


@dataclass(frozen=True)
class Entry:
    """One migration as `rollback status` shows it."""

    tool: str
    version: str
    name: str
    state: EntryState
    down: str
    """Where down SQL of the team's lies, or empty."""


@dataclass(frozen=True)
class Unit:
    """One change of the schema: a migration, or the same one recorded by both tools."""

    version: str
    label: str
    script: str
    rows: tuple[Applied, ...]
    """Its history rows: one, or one per tool."""
    down: str | None
    """The team's down SQL."""
    down_path: str | None


def read_histories(connection: Connection, call: Call) -> tuple[History, ...]:
    """Read both tools' directories and history tables; the tools in a fixed order."""
    from opsctl.adapters import prisma, supabase

    environment = call.environment
    supabase_dir = call.project / environment.migrations.supabase
    prisma_dir = call.project / environment.migrations.prisma
    return (
        History(
            "supabase",
            supabase_dir,
            supabase.read_directory(supabase_dir),
            supabase.read_history(connection),
        ),
        History(
            "prisma",
            prisma_dir,
            prisma.read_directory(prisma_dir),
            prisma.read_history(connection),
        ),
    )


def entries(history: History) -> tuple[Entry, ...]:
    """Return every migration that the directory or the history knows, oldest first."""
    rows = {row.version: row for row in history.applied or ()}
    files = {each.version: each for each in history.migrations or ()}
    found = []
    for version in sorted(rows.keys() | files.keys(), key=order):
        row, file = rows.get(version), files.get(version)
        down = str(file.down_path) if file is not None and file.down_path else ""
        name = file.name if file is not None else row.name if row is not None else ""
        found.append(Entry(history.tool, version, name, _state(row, file), down))
    return tuple(found)


def choose_history(histories: Sequence[History], *, asked: str | None) -> History:
    """Return the history to roll back: the one asked for, or the one whose newest is newest.

    Raises OpsError `unknown-tool`, `no-history` or `nothing-applied`.
    """
    if asked is not None:
        chosen = next((each for each in histories if each.tool == asked), None)
        if chosen is None:
            raise OpsError(
                f"The tool {asked!r} is not known",
                why="migrations are kept by supabase or by prisma",
                hint="opsctl rollback db --tool supabase",
                code="unknown-tool",
            )
        if chosen.applied is None:
            raise _no_history(f"the database has no history table of {asked}")
        if not chosen.present and not chosen.failed:
            raise _nothing_applied(asked)
        return chosen
    known = [each for each in histories if each.applied is not None]
    if not known:
        raise _no_history("the database has no history table of supabase or of prisma")
    used = [each for each in known if each.present or each.failed]
    if not used:
        raise _nothing_applied(" and ".join(each.tool for each in known))
    return max(
        used,
        key=lambda each: max(order(row.version) for row in (*each.present, *each.failed)),
    )


def choose_units(
    units: Sequence[Unit], *, tool: str, to: str | None, steps: int
) -> tuple[Unit, ...]:
    """Return the units of `tool` to roll back, newest first.

    `to` names the version that stays the newest one, by version, name or a unique beginning;
    `steps` counts from the newest. Raises OpsError `no-such-target` or `too-many-steps`.
    """
    own = [unit for unit in units if any(row.tool == tool for row in unit.rows)]
    if to is None:
        if steps > len(own):
            raise OpsError(
                f"{steps} migrations cannot be rolled back",
                why=f"{tool} has {len(own)} applied",
                hint="opsctl rollback status",
                code="too-many-steps",
            )
        return tuple(reversed(own[len(own) - steps :]))
    exact = [index for index, unit in enumerate(own) if to in (unit.version, _name(unit))]
    matches = exact or [index for index, unit in enumerate(own) if unit.version.startswith(to)]
    if len(matches) != 1:
        found = "no applied migration" if not matches else f"{len(matches)} applied migrations"
        raise OpsError(
            f"The target {to!r} was not found",
            why=f"{found} of {tool} fit it",
            hint="opsctl rollback status",
            code="no-such-target",
        )
    return tuple(reversed(own[matches[0] + 1 :]))


def applied_units(histories: Sequence[History]) -> tuple[Unit, ...]:
    """Return everything that was applied, oldest first, each change of the schema once.

    Two tools that applied the same SQL under the same version recorded one change. Raises
    OpsError `migration-file-missing` where the SQL is not to be had any more.
    """
    units: list[Unit] = []
    for history in histories:
        for row in history.present:
            unit = _unit(history, row)
            twin = next((each for each in units if _same_change(each, unit)), None)
            if twin is None:
                units.append(unit)
                continue
            units[units.index(twin)] = Unit(
                twin.version,
                twin.label,
                twin.script,
                (*twin.rows, *unit.rows),
                twin.down or unit.down,
                twin.down_path or unit.down_path,
            )
    return tuple(
        sorted(units, key=lambda unit: (order(unit.version), unit.rows[0].tool != "supabase"))
    )


def history_drift(histories: Iterable[History], *, versions: frozenset[str]) -> tuple[str, ...]:
    """Return what of the given versions differs between history and directory, a line each."""
    lines = []
    for history in histories:
        for entry in entries(history):
            if entry.version in versions and entry.state == "edited":
                lines.append(
                    f"{entry.tool} {entry.version}: its file was edited after it was applied"
                )
    return tuple(lines)


def order(version: str) -> tuple[int, str]:
    """Return what to sort versions by: the leading number, then the whole."""
    match = re.match(r"\d+", version)
    return (int(match.group()) if match else 0, version)


def normal_statements(script: str | Iterable[str]) -> tuple[str, ...]:
    """Return a script's statements without comments and with single spaces, to compare them."""
    parts = split_statements(script) if isinstance(script, str) else tuple(script)
    bare = (" ".join(without_comments(part).split()).rstrip("; ") for part in parts)
    return tuple(part for part in bare if part)


def _unit(history: History, row: Applied) -> Unit:
    file = history.migration(row.version)
    script = file.sql if file is not None else _recorded_script(row)
    if script is None:
        raise OpsError(
            f"The SQL of {history.tool} {row.version} was not found",
            why=f"it is applied, its file is not in {history.directory}, "
            "and the history does not keep the SQL",
            hint="check out the commit that holds the migration, then try again",
            code="migration-file-missing",
            exit=Exit.UNKNOWN,
        )
    down_path = file.down_path if file is not None else None
    return Unit(
        version=row.version,
        label=f"{row.version} {row.name}".strip() if history.tool == "supabase" else row.version,
        script=script,
        rows=(row,),
        down=file.down_sql if file is not None else None,
        down_path=str(down_path) if down_path else None,
    )


def _same_change(one: Unit, other: Unit) -> bool:
    return order(one.version)[0] == order(other.version)[0] and normal_statements(
        one.script
    ) == normal_statements(other.script)


def _state(row: Applied | None, file: Migration | None) -> EntryState:
    if row is None:
        return "pending"
    if row.state == "failed":
        return "failed"
    if row.state == "rolled-back":
        return "rolled-back"
    if file is None:
        return "no file"
    return "edited" if _edited(row, file) else "applied"


def _edited(row: Applied, file: Migration) -> bool:
    if row.checksum is not None:
        return row.checksum != file.checksum
    recorded = row.row.get("statements")
    # `migration repair` records a version without its statements: then nothing can be compared.
    if not recorded:
        return False
    return normal_statements(recorded) != normal_statements(file.sql)


def _recorded_script(row: Applied) -> str | None:
    statements = row.row.get("statements")
    return ";\n".join(statements) + ";\n" if statements else None


def _name(unit: Unit) -> str:
    return unit.rows[0].name


def _no_history(why: str) -> OpsError:
    return OpsError(
        "No migration history was found",
        why=why,
        hint="check the database URL: is this the right database?",
        code="no-history",
        exit=Exit.UNKNOWN,
    )


def _nothing_applied(tool: str) -> OpsError:
    return OpsError(
        "There is no migration to roll back",
        why=f"the history of {tool} is empty",
        hint="opsctl rollback status",
        code="nothing-applied",
    )
