"""The plan of what can be mended safely: a pure function of the facts and of what was chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from opsctl.adapters.sql import quote_identifier, quote_literal
from opsctl.adapters.vitals import Vitals
from opsctl.areas.diagnose.findings import several
from opsctl.areas.diagnose.sessions import (
    Culprit,
    Row,
    blockers,
    describe,
    idlers,
    long_ones,
)
from opsctl.areas.diagnose.tables import overdue
from opsctl.core.action import Probe, Query
from opsctl.core.plan import Irreversible, Plan, Step, Undo
from opsctl.core.settings import Database, Limits

FIXABLE = (
    "blocked", "idle-in-transaction", "long-transaction", "dead-tuples", "invalid-index",
)  # fmt: skip
"""Rules whose findings can be mended safely."""

_LEFT_ALONE = ("pg_dump", "pg_restore", "pg_basebackup", "opsctl")
"""Applications whose long transactions are meant."""
_BYTES_PER_S = 50 << 20
"""Vacuum and reindex read about so much of a table a second."""
_IDLE_TIMEOUT = "idle_in_transaction_session_timeout"
_STATEMENT_TIMEOUT = "statement_timeout"
_CHECKS, _PAUSE_S = 20, 0.25


@dataclass(frozen=True)
class Choices:
    """What was asked for, and where."""

    environment: str
    protected: bool
    database: Database
    limits: Limits
    only: tuple[str, ...] = ()
    """Rules; empty: all that are fixable."""


def fix_plan(vitals: Vitals, choices: Choices) -> Plan:
    """Return the plan; without steps where nothing can be mended safely."""
    wanted = set(choices.only or FIXABLE)
    sessions, left = _sessions(vitals, choices, wanted)
    steps = [
        *sessions,
        *_timeouts(vitals, choices, wanted),
        *(_vacuums(vitals, choices) if "dead-tuples" in wanted else ()),
        *(_indexes(vitals, choices) if "invalid-index" in wanted else ()),
    ]
    words = "".join(f" --only {rule}" for rule in choices.only)
    return Plan(
        command=f"diagnose db --fix{words}",
        environment=choices.environment,
        protected=choices.protected,
        title=f"Mend what can be mended safely: {several(len(steps), 'step').lower()}",
        steps=tuple(steps),
        notes=(*left, "What is not offered here needs a person: opsctl diagnose db says what."),
        facts={
            "at": vitals.one("server").get("at"),
            "sessions": [describe(each) for each in _culprits(vitals, choices.limits, wanted)],
        },
        estimate_s=max(1.0, _estimate_s(vitals, wanted)),
    )


def _culprits(vitals: Vitals, limits: Limits, wanted: Collection[str]) -> list[Culprit]:
    """Return whom to end, each once: who holds somebody up comes first."""
    found: dict[tuple[int, str], Culprit] = {}
    for rule, listed in (
        ("blocked", blockers(vitals, limits)),
        ("idle-in-transaction", idlers(vitals, limits)),
        ("long-transaction", long_ones(vitals, limits)),
    ):
        if rule in wanted:
            for each in listed:
                found.setdefault((each.pid, each.backend_start), each)
    return list(found.values())


def _sessions(
    vitals: Vitals, choices: Choices, wanted: Collection[str]
) -> tuple[list[Step], list[str]]:
    """Return a step per session, and why which is left alone."""
    steps, left = [], []
    for culprit in _culprits(vitals, choices.limits, wanted):
        why = _why_not(culprit, vitals)
        if why:
            left.append(f"Left alone: {describe(culprit)}: {why}.")
        else:
            steps.append(_end(culprit, choices.database))
    return steps, left


def _why_not(culprit: Culprit, vitals: Vitals) -> str:
    server = vitals.one("server")
    if not culprit.pid:
        return "only its manager, or ROLLBACK PREPARED, ends it"
    if not culprit.known:
        return "when it began is hidden, so another session might be hit"
    if culprit.kind != "client backend":
        return f"it is the server's own: {culprit.kind}"
    if culprit.application.startswith(_LEFT_ALONE):
        return "it looks like a backup or a restore"
    if server.get("superuser") or culprit.role == server.get("role"):
        return ""
    if culprit.role in {row["name"] for row in vitals.rows("roles") if row["superuser"]}:
        return "it is a superuser's, and only a superuser may end it"
    return "" if server.get("may_signal") else "the role lacks pg_signal_backend"


def _end(culprit: Culprit, database: Database) -> Step:
    """Return the step that cancels a statement or ends an idle session, and never another's."""
    idle = culprit.state.startswith("idle")
    function = "pg_terminate_backend" if idle else "pg_cancel_backend"
    # A number is given again; a number with both moments is not.
    same = (
        f"pid = {int(culprit.pid)} AND backend_start = {quote_literal(culprit.backend_start)} "
        f"AND xact_start = {quote_literal(culprit.xact_start)}"
    )
    source = f"FROM pg_catalog.pg_stat_activity WHERE {same}"
    gone = f"SELECT CASE WHEN EXISTS (SELECT {source}) THEN 'absent' ELSE 'applied' END, ''"
    what = "End the idle session" if idle else "Cancel the statement"
    lost = "its transaction is rolled back; its client must connect and begin again"
    return Step(
        id=f"end-{culprit.pid}",
        title=f"{what} of {describe(culprit)}",
        safety="verify",
        action=Query(database.url, (f"SELECT pg_catalog.{function}(pid) {source}",)),
        check=Probe(
            Query(database.url, (gone,), read_only=True), attempts=_CHECKS, pause_s=_PAUSE_S
        ),
        undo=Irreversible(lost if idle else "its transaction is rolled back; its client must "
                          "send it again"),
        detail=(f"SELECT {function}(pid) {source}",),
    )  # fmt: skip


def _timeouts(vitals: Vitals, choices: Choices, wanted: Collection[str]) -> Iterable[Step]:
    limits, server = choices.limits, vitals.one("server")
    for rule, name, culprits, limit_s in (
        ("idle-in-transaction", _IDLE_TIMEOUT, idlers(vitals, limits),
         limits.idle_in_transaction_s),
        ("long-transaction", _STATEMENT_TIMEOUT, long_ones(vitals, limits), limits.transaction_s),
    ):  # fmt: skip
        if rule not in wanted or _default(vitals, name) != "0":
            continue
        culprits = [each for each in culprits if not _why_not(each, vitals)]
        for role in sorted({each.role for each in culprits if each.role}):
            row = next((row for row in vitals.rows("roles") if row["name"] == role), None)
            mine = server.get("role") == role
            # A time-out of statements would end our own backups and migrations, too.
            meant = name == _IDLE_TIMEOUT or not (mine or (row and row["superuser"]))
            here = {each.database for each in culprits if each.role == role}
            if row is None or not meant or server.get("database") not in here:
                continue
            allowed = server.get("superuser") or (
                not row["superuser"] and (mine or server.get("creates_roles"))
            )
            if allowed and (row["settings"] or {}).get(name, "0") in ("0", "0s", "0ms"):
                yield _timeout(row, str(server["database"]), name, limit_s, choices.database)


def _timeout(role: Row, base: str, name: str, limit_s: float, database: Database) -> Step:
    value = str(round(limit_s * 1000))
    where = f"ROLE {quote_identifier(role['name'])} IN DATABASE {quote_identifier(base)}"
    before = (role["here"] or {}).get(name)
    back = f"SET {name} = {quote_literal(before)}" if before is not None else f"RESET {name}"

    def probe(wanted: str | None) -> Probe:
        found = (
            "SELECT x FROM pg_catalog.pg_db_role_setting s "
            "JOIN pg_catalog.pg_roles r ON r.oid = s.setrole "
            "JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) x "
            f"WHERE r.rolname = {quote_literal(role['name'])} "
            f"AND d.datname = {quote_literal(base)} AND split_part(x, '=', 1) = '{name}'"
        )
        as_wanted = (
            f"NOT EXISTS ({found})"
            if wanted is None
            else f"EXISTS ({found} AND x = {quote_literal(f'{name}={wanted}')})"
        )
        word = f"SELECT CASE WHEN {as_wanted} THEN 'applied' ELSE 'absent' END, ''"
        return Probe(Query(database.url, (word,), read_only=True))

    statement = f"ALTER {where} SET {name} = {quote_literal(value)}"
    return Step(
        id=f"{name.replace('_', '-')}-{role['name']}",
        title=f"Give {role['name']} a time-out: {name} = {limit_s:g} s, for new sessions",
        safety="verify",
        action=Query(database.url, (statement,)),
        check=probe(value),
        undo=Undo(
            title=f"Take the time-out {name} of {role['name']} back",
            action=Query(database.url, (f"ALTER {where} {back}",)),
            check=probe(before),
        ),
        detail=(statement,),
    )


def _vacuums(vitals: Vitals, choices: Choices) -> Iterable[Step]:
    at = quote_literal(str(vitals.one("server").get("at", "")))
    for row in overdue(vitals):
        if not row["own"]:
            continue
        name = str(row["name"])
        done = (
            "SELECT CASE WHEN max(last_vacuum) > "
            f"{at}::timestamptz THEN 'applied' ELSE 'absent' END, '' "
            "FROM pg_catalog.pg_stat_user_tables "
            f"WHERE relid = pg_catalog.to_regclass({quote_literal(name)})"
        )
        statement = f"VACUUM (ANALYZE) {name}"
        yield Step(
            id=f"vacuum-{name}",
            title=f"Clear {row['dead']:,} dead rows out of {name}",
            safety="idempotent",
            action=_alone(choices.database, statement),
            check=Probe(
                Query(choices.database.url, (done,), read_only=True),
                attempts=_CHECKS, pause_s=_PAUSE_S,
            ),
            detail=(statement,),
        )  # fmt: skip


def _indexes(vitals: Vitals, choices: Choices) -> Iterable[Step]:
    for row in vitals.rows("invalid_indexes"):
        if row["partitioned"] or row["exclusion"] or not row["own"]:
            continue
        name = str(row["name"])
        valid = (
            "(SELECT i.indisvalid AND i.indisready FROM pg_catalog.pg_index i "
            f"WHERE i.indexrelid = pg_catalog.to_regclass({quote_literal(name)}))"
        )
        gone = f"pg_catalog.to_regclass({quote_literal(name)}) IS NULL"
        if row["leftover"]:
            statement, title = f"DROP INDEX CONCURRENTLY {name}", f"Drop the leftover index {name}"
            word = f"CASE WHEN {gone} THEN 'applied' WHEN {valid} THEN 'blocked' ELSE 'absent' END"
            undo = Irreversible("an invalid index cannot be made again, and no query used it")
        else:
            statement, title = f"REINDEX INDEX CONCURRENTLY {name}", f"Build the index {name} anew"
            word = f"CASE WHEN {gone} THEN 'blocked' WHEN {valid} THEN 'applied' ELSE 'absent' END"
            undo = Irreversible("an index cannot be made invalid again; dropping it is left to you")
        why = f"CASE WHEN {gone} THEN 'the index is gone' WHEN {valid} THEN 'it is valid' END"
        yield Step(
            id=f"index-{name}",
            title=title,
            safety="verify",
            action=_alone(choices.database, statement),
            check=Probe(Query(choices.database.url, (f"SELECT {word}, {why}",), read_only=True)),
            undo=undo,
            detail=(f"{statement}, on {row['relation']}",),
        )


def _alone(database: Database, statement: str) -> Query:
    """Return a query that runs outside a transaction and holds no reader or writer up.

    Waiting for its lock does neither, so it may wait. Were it to give up, a reindex would leave
    another invalid index behind; so it is not tried again either.
    """
    longest = f"SET statement_timeout = {database.statement_timeout_s * 1000:.0f}"
    return Query(database.url, ("SET lock_timeout = 0", longest, statement), transaction=False)


def _default(vitals: Vitals, name: str) -> str:
    rows = vitals.rows("settings")
    return next((str(row["setting"]) for row in rows if row["name"] == name), "")


def _estimate_s(vitals: Vitals, wanted: Collection[str]) -> float:
    listed: list[Any] = []
    if "dead-tuples" in wanted:
        listed += overdue(vitals)
    if "invalid-index" in wanted:
        listed += vitals.rows("invalid_indexes")
    return round(sum(row["bytes"] or 0 for row in listed) / _BYTES_PER_S, 0)
