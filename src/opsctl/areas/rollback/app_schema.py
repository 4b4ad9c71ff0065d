"""Whether the code of another commit can run on the database's schema as it is now."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from opsctl.adapters import catalog, postgres
from opsctl.adapters.git_revert import migrations_at
from opsctl.areas.rollback.facts import History, Unit, applied_units, order, read_histories
from opsctl.areas.rollback.rehearsal import created_extensions, rehearse
from opsctl.areas.rollback.work import all_rows
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret

if TYPE_CHECKING:
    from opsctl.core.call import Call

_NAMED = 6
_WHOLES = frozenset({"table", "view", "materialized view", "function", "procedure"})
_ON_TABLES = frozenset({"constraint", "trigger", "policy", "rule"})


@dataclass(frozen=True)
class SchemaFit:
    """What the migrations of a commit say, held against the database's history."""

    word: Literal["same", "fits", "breaks", "unknown", "not-asked"]
    said: str
    """A sentence for a person."""
    ahead: tuple[str, ...] = ()
    """Migrations that the database has and the commit does not know, oldest first."""
    behind: tuple[str, ...] = ()
    """Migrations that the commit expects and the database does not have."""
    breaks: tuple[str, ...] = ()
    """What the code relies on and is gone or changed, a line each."""
    back_to: str = ""
    """The version for `rollback db --to`, where that would mend it."""


def judge_schema(call: Call, commit: str) -> SchemaFit:
    """Compare a commit's migrations with what is applied; changes nothing.

    Where the database is ahead, the migrations are replayed twice in a scratch database, with
    and without the newer ones: what these removed or changed, the old code may rely on.
    """
    if call.environment.database is None:
        return SchemaFit("not-asked", "The settings have no database, so no schema was compared.")
    if not commit:
        return SchemaFit("unknown", "The deployment names no commit, so its schema is not known.")
    try:
        known = {
            tool: migrations_at(call.project, commit, directory=directory, tool=tool)
            for tool, directory in (
                ("supabase", call.environment.migrations.supabase),
                ("prisma", call.environment.migrations.prisma),
            )
        }
    except OpsError as error:
        return SchemaFit("unknown", f"{error.what}: {error.why}. Next: {error.hint}.")
    try:
        return _compare(call, known)
    except OpsError as error:
        return SchemaFit("unknown", f"{error.what}: {error.why}.")


def refusal(fit: SchemaFit, call: Call) -> OpsError | None:
    """Return the error that stops a roll-back on this schema, or None."""
    if fit.word in ("same", "fits", "not-asked"):
        return None
    if fit.word == "unknown":
        return OpsError(
            "It is not known whether the old code can run on today's schema",
            why=fit.said,
            hint="mend that, or go on without knowing: --accept-schema",
            code="schema-unknown",
            exit=Exit.UNKNOWN,
        )
    if fit.behind and not fit.ahead:
        first = "bring the database to the commit's migrations first"
    elif fit.back_to:
        first = f"first: opsctl rollback db --to {fit.back_to} --env {call.name}"
    else:
        first = f"first roll the database back: opsctl rollback status --env {call.name}"
    return OpsError(
        "The old code cannot be trusted to run on today's schema",
        why="\n".join((fit.said, *fit.breaks[:_NAMED])),
        hint=f"{first}; or go on all the same: --accept-schema",
        code="schema-breaks",
        exit=Exit.REFUSED,
    )


def _compare(call: Call, known: dict[str, frozenset[str] | None]) -> SchemaFit:
    database = call.environment.database
    if database is None:
        raise TypeError("there is no database")
    url = resolve_secret(database.url)
    with postgres.connect(url) as connection:
        histories = [each for each in read_histories(connection, call) if each.applied is not None]
        ahead = _ahead(histories, known)
        behind = _behind(histories, known)
        if not ahead and not behind:
            if all(versions is None for versions in known.values()):
                said = "Neither the commit nor the database has migrations."
                return SchemaFit("same", said)
            return SchemaFit("same", "The schema is the one that the commit's migrations make.")
        if behind:
            return SchemaFit(
                "breaks",
                "The code expects migrations that the database does not have: "
                f"{', '.join(behind[:_NAMED])}.",
                ahead=ahead,
                behind=behind,
            )
        call.say("The database has newer migrations: comparing the schemas")
        units = applied_units(histories)
        kept = [unit for unit in units if not _is_ahead(unit, known)]
        facts = postgres.server_facts(connection)
        with rehearse(connection, url, facts, history=all_rows(histories)) as rehearsal:
            created = created_extensions(unit.script for unit in units)
            now = rehearsal.read(rehearsal.replay(units, created=created))
            then = rehearsal.read(rehearsal.replay(kept, created=created))
    breaks = what_breaks(catalog.compare(now, then), then=then)
    back_to = kept[-1].version if kept and list(units[: len(kept)]) == kept else ""
    names = ", ".join(ahead[:_NAMED]) + (" ..." if len(ahead) > _NAMED else "")
    if breaks:
        return SchemaFit(
            "breaks",
            f"The database has newer migrations ({names}), and they change what the old code may "
            "rely on:",
            ahead=ahead,
            breaks=breaks,
            back_to=back_to,
        )
    return SchemaFit(
        "fits",
        f"The database has newer migrations ({names}), and they only add to the schema: the old "
        "code can run on it.",
        ahead=ahead,
        back_to=back_to,
    )


def what_breaks(
    differences: Sequence[catalog.Difference], *, then: catalog.Catalog
) -> tuple[str, ...]:
    """Return what newer migrations (`found`) do to what older code (`wanted`) may rely on.

    New objects do not matter to it, but for what a table of its own now demands or hides: a
    column that must be given, a constraint, a trigger, a rule, a restrictive policy.
    """
    tables = set(then.of("table"))
    gone = {each.name for each in differences if each.kind in _WHOLES and each.found is None}
    found = []
    for each in differences:
        if each.wanted is not None:
            if each.name.rpartition(".")[0] in gone or (
                each.kind == "grant" and gone & set(each.name.split(" "))
            ):
                continue  # it went with its table
            if each.kind == "index" and "UNIQUE" not in each.wanted:
                continue  # slower at worst
            if each.kind == "policy" and each.found is None and "RESTRICTIVE" in each.wanted:
                continue  # it hid rows, and does no more
            verb = "is gone" if each.found is None else "was changed"
            found.append(f"{each.kind} {each.name} {verb}")
            continue
        definition = each.found or ""
        table = each.name.rpartition(".")[0]
        if each.kind == "column" and table in tables:
            if " NOT NULL" in definition and not _fills_itself(definition):
                found.append(f"column {each.name} is new and must be given")
        elif each.kind in _ON_TABLES and table in tables:
            if each.kind == "policy" and "RESTRICTIVE" not in definition:
                continue
            if each.kind == "constraint" and _about_new_columns(definition, each, differences):
                continue
            found.append(f"{each.kind} {each.name} is new on a table that the code knows")
        elif each.kind == "index" and _unique_on(definition, tables):
            found.append(f"unique index {each.name} is new on a table that the code knows")
    return tuple(found)


def _fills_itself(definition: str) -> bool:
    return any(word in definition for word in (" DEFAULT ", " GENERATED ", " IDENTITY "))


def _unique_on(definition: str, tables: set[str]) -> bool:
    return definition.startswith("CREATE UNIQUE") and any(
        f" ON {name} " in definition or f" ON ONLY {name} " in definition for name in tables
    )


def _about_new_columns(
    definition: str, constraint: catalog.Difference, differences: Sequence[catalog.Difference]
) -> bool:
    """Whether a constraint speaks of columns alone that are as new as itself.

    The old code does not write them, and their defaults fit: adding it has proved that.
    """
    table = constraint.name.rpartition(".")[0]
    new = {
        each.name.rpartition(".")[2].strip('"')
        for each in differences
        if each.kind == "column" and each.wanted is None and each.name.startswith(f"{table}.")
    }
    head = definition.partition("REFERENCES")[0]
    bare = re.sub(r"'(?:[^']|'')*'(?:::[\w\". ]+(?:\[\])?)?", "", head)
    words = set(re.findall(r"[a-z_][a-z0-9_$]*", bare))
    return bool(new & words) and not (words - new - _SQL_WORDS)


_SQL_WORDS = frozenset(
    {"check", "any", "array", "all", "and", "or", "not", "null", "is", "in", "between", "true",
     "false", "text", "character", "varying", "integer", "bigint", "numeric", "boolean", "date",
     "timestamp", "with", "without", "time", "zone", "foreign", "key", "unique", "primary"}
)  # fmt: skip


def _ahead(
    histories: Sequence[History], known: dict[str, frozenset[str] | None]
) -> tuple[str, ...]:
    return _sorted(
        row.version
        for history in histories
        for row in history.present
        if row.version not in (known[history.tool] or frozenset())
    )


def _behind(
    histories: Sequence[History], known: dict[str, frozenset[str] | None]
) -> tuple[str, ...]:
    applied = {each.tool: {row.version for row in each.present} for each in histories}
    return _sorted(
        version
        for tool, there in known.items()
        if tool in applied
        for version in there or ()
        if version not in applied[tool]
    )


def _sorted(versions: Iterable[str]) -> tuple[str, ...]:
    """Return versions in order; of twins, which both tools record, the longer name alone."""
    longest: dict[int, str] = {}
    for version in versions:
        number = order(version)[0]
        longest[number] = max(longest.get(number, ""), version, key=len)
    return tuple(sorted(longest.values(), key=order))


def _is_ahead(unit: Unit, known: dict[str, frozenset[str] | None]) -> bool:
    return all(row.version not in (known[row.tool] or frozenset()) for row in unit.rows)
