"""From a call to a Plan or a Report: read the world, choose, prove, and put it together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opsctl.adapters import postgres, prisma, supabase
from opsctl.adapters.postgres import Connection
from opsctl.adapters.sql import qualified
from opsctl.adapters.stores import newest, open_store
from opsctl.areas.rollback import plan as plans
from opsctl.areas.rollback.facts import (
    Entry,
    History,
    Unit,
    applied_units,
    choose_history,
    choose_units,
    entries,
    history_drift,
    read_histories,
)
from opsctl.areas.rollback.losses import count_losses
from opsctl.areas.rollback.proof import DownSql, prove, schema_drift
from opsctl.areas.rollback.rehearsal import Rehearsal, rehearse
from opsctl.areas.rollback.stash import PREFIX
from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Loss, Plan, Step
from opsctl.core.progress import duration
from opsctl.core.report import Finding, Location, Report, Severity, Status, Table
from opsctl.core.secrets import resolve_secret
from opsctl.core.settings import Database

if TYPE_CHECKING:
    from opsctl.adapters.migrations import Applied
    from opsctl.core.call import Call


def plan_rollback(
    call: Call,
    *,
    tool: str | None,
    to: str | None,
    steps: int,
    half_failed: str | None,
    accept_drift: bool,
) -> Plan:
    """Return the proven plan of a rollback; reads the live database and changes nothing."""
    database = database_of(call)
    url = resolve_secret(database.url)
    with postgres.connect(url) as connection:
        histories = read_histories(connection, call)
        history = choose_history(histories, asked=tool)
        if history.failed:
            from opsctl.areas.rollback.half_failed import plan_half_failed

            return plan_half_failed(
                call, connection, url, histories=histories, history=history, how=half_failed
            )
        units = applied_units(histories)
        rolled = choose_units(units, tool=history.tool, to=to, steps=steps)
        choices = choices_of(call, database)
        if not rolled:
            return _nothing(choices, history)
        _refuse_edited(histories, rolled)
        facts = postgres.server_facts(connection)
        with rehearse(connection, url, facts, history=all_rows(histories)) as rehearsal:
            return prove_and_plan(
                call,
                connection,
                url=url,
                facts=facts,
                rehearsal=rehearsal,
                units=units,
                rolled=rolled,
                accept_drift=accept_drift,
            )


def prove_and_plan(
    call: Call,
    connection: Connection,
    *,
    url: str,
    facts: postgres.ServerFacts,
    rehearsal: Rehearsal,
    units: Sequence[Unit],
    rolled: Sequence[Unit],
    accept_drift: bool,
    notes: Sequence[str] = (),
) -> Plan:
    """Prove that `rolled` (newest first) can be taken back, and return the plan of it."""
    rows = [row for unit in rolled for row in unit.rows]
    forget = [text for row in rows for text in forget_row(row)]
    remember = list(remember_rows(reversed(rows)))
    proof = prove(
        rehearsal,
        connection,
        units=units,
        rolled=rolled,
        forget=forget,
        remember=remember,
        silent_triggers=facts.can_silence_triggers,
        generate=_generator(call, rolled=rolled),
        accept_drift=accept_drift,
        say=call.say,
    )
    return plans.rollback_plan(
        proof,
        choices_of(call, database_of(call)),
        rolled=rolled,
        losses=count_losses(connection, proof.losses, proof.stash),
        forget=forget,
        remember=remember,
        before=_backup_steps(call),
        looks=look_steps(call, rolled=rolled, url=url),
        notes=(*notes, *_backup_notes(call)),
    )


def report_status(call: Call, *, drift: bool) -> Report:
    """Return both histories and what is wrong with them."""
    database = database_of(call)
    url = resolve_secret(database.url)
    with postgres.connect(url) as connection:
        histories = read_histories(connection, call)
        known = [each for each in histories if each.applied is not None or each.migrations]
        rows = [entry for history in known for entry in entries(history)]
        findings = [_entry_finding(entry) for entry in rows if entry.state in _WRONG]
        findings += [_unreadable(each) for each in known if each.applied is None]
        if drift:
            findings.append(_drift_finding(connection, url, histories, call.say))
    tables = tuple(
        Table(
            f"{history.tool}: {history.directory}",
            ("version", "name", "state", "down SQL"),
            tuple(
                (*_split_name(each), each.state, "yes" if each.down else "-")
                for each in entries(history)
            ),
        )
        for history in known
    )
    return Report(
        command="rollback status",
        title=f"Migrations of {call.name}",
        environment=call.name,
        findings=tuple(findings),
        tables=tables,
        notes=tuple(
            note
            for history in known
            if history.tool == "supabase"
            for note in supabase.down_files_in_the_way(history.migrations or ())
        )
        if known
        else ("Neither tool has a directory or a history here.",),
        data={
            "migrations": [
                {
                    "tool": each.tool,
                    "version": each.version,
                    "name": each.name,
                    "state": each.state,
                    "down": bool(each.down),
                }
                for each in rows
            ]
        },
    )


def report_stashes(call: Call) -> Report:
    """Return what is kept in stash schemas."""
    with postgres.connect(resolve_secret(database_of(call).url)) as connection:
        found = [_read_stash(connection, schema) for schema in _stash_schemas(connection)]
    found.sort(key=lambda each: str(each["made_at"]), reverse=True)
    rows = tuple(
        (
            str(each["stash"]),
            str(each["made_at"]),
            ", ".join(each["migrations"]),
            ", ".join(f"{kind} {name}" for kind, name in each["losses"]) or "-",
            str(each["size"]),
        )
        for each in found
    )
    return Report(
        command="rollback stash list",
        title=f"Stashes of {call.name}",
        environment=call.name,
        tables=(Table("", ("stash", "made", "migrations", "holds", "size"), rows),) if rows else (),
        notes=() if rows else ("There is no stash.",),
        data={"stashes": found},
    )


def plan_drop(call: Call, name: str) -> Plan:
    """Return the plan that drops one stash; raises OpsError `no-such-stash`."""
    database = database_of(call)
    with postgres.connect(resolve_secret(database.url)) as connection:
        known = _stash_schemas(connection)
        if name not in known:
            raise OpsError(
                f"The stash {name!r} was not found",
                why=f"the database has {', '.join(known) or 'none'}",
                hint="opsctl rollback stash list",
                code="no-such-stash",
            )
        stash = _read_stash(connection, name)
        losses = tuple(
            Loss("table", f"{name}.{table}", _count(connection, name, table), None, "")
            for table in stash["tables"]
            if table not in ("manifest", "sequences")
        )
    contents = f"made {stash['made_at']} by the rollback of {', '.join(stash['migrations'])}"
    return plans.drop_stash_plan(name, choices_of(call, database), contents=contents, losses=losses)


def database_of(call: Call) -> Database:
    """Return the environment's database settings; raises OpsError `no-database`."""
    database = call.environment.database
    if database is None:
        raise OpsError(
            f"The environment {call.name} has no database",
            why="its settings have no database.url",
            hint=f"add environments.{call.name}.database.url to the settings, by reference",
            code="no-database",
        )
    return database


def choices_of(call: Call, database: Database) -> plans.Choices:
    """Return what a plan must know of the call."""
    return plans.Choices(call.name, call.environment.protected, database)


def forget_row(row: Applied) -> tuple[str, ...]:
    """Return the statements that remove one row of a tool's history."""
    return tuple(_adapter(row.tool).forget_sql(row))


def remember_rows(rows: Any) -> tuple[str, ...]:
    """Return the statements that write rows of the tools' histories as they were."""
    return tuple(text for row in rows for text in _adapter(row.tool).remember_sql(row))


def all_rows(histories: Sequence[History]) -> tuple[str, ...]:
    """Return the statements that write both tools' histories into an empty clone."""
    return remember_rows(row for each in histories for row in each.applied or ())


def look_steps(call: Call, *, rolled: Sequence[Unit], url: str) -> tuple[Step, ...]:
    """Return the steps that look whether the tools agree and the endpoints answer."""
    from opsctl.adapters.http import endpoint_probe

    steps: list[Step] = []
    database = database_of(call)
    rows = [row for unit in rolled for row in unit.rows]
    for tool in ("supabase", "prisma"):
        versions = tuple(row.version for row in rows if row.tool == tool)
        if not versions:
            continue
        adapter = _adapter(tool)
        probe = adapter.gone_probe(call.project, database=database.url, url=url, versions=versions)
        if probe is not None:
            steps.append(
                Step(
                    id=f"{tool}-agrees",
                    title=f"The {tool} command line agrees that it is not applied",
                    safety="idempotent",
                    check=probe,
                )
            )
    for endpoint in call.environment.health:
        steps.append(
            Step(
                id=f"health-{endpoint.name}",
                title=f"{endpoint.name} answers {endpoint.status}",
                safety="idempotent",
                check=endpoint_probe(endpoint),
                detail=(endpoint.url,),
            )
        )
    return tuple(steps)


def _adapter(tool: str) -> Any:
    return {"supabase": supabase, "prisma": prisma}[tool]


def _refuse_edited(histories: Sequence[History], rolled: Sequence[Unit]) -> None:
    versions = frozenset(row.version for unit in rolled for row in unit.rows)
    lines = history_drift(histories, versions=versions)
    if lines:
        raise OpsError(
            "A migration to roll back is not the one that was applied",
            why="\n".join(lines),
            hint="check out the file as it was when it was applied, then try again",
            code="migration-edited",
            exit=Exit.REFUSED,
        )


def _nothing(choices: plans.Choices, history: History) -> Plan:
    return Plan(
        command="rollback db",
        environment=choices.environment,
        protected=choices.protected,
        title="Roll back nothing",
        steps=(),
        notes=(f"{history.tool} is already at that version.",),
    )


def _generator(call: Call, *, rolled: Sequence[Unit]) -> Callable[[str, str], DownSql | str] | None:
    """Return how to ask Prisma for down SQL, where the migration is Prisma's alone."""
    if any(row.tool != "prisma" for unit in rolled for row in unit.rows):
        return None

    def generate(now_url: str, target_url: str) -> DownSql | str:
        made = prisma.diff_down(call.project, from_url=now_url, to_url=target_url)
        if isinstance(made, prisma.Unavailable):
            return f"prisma migrate diff was not used: {made.why}"
        return DownSql("prisma migrate diff", (made,))

    return generate


def _backup_steps(call: Call) -> tuple[Step, ...]:
    """Return the step that makes a verified backup; its check asks for one of this hour."""
    if call.environment.rollback.backup == "none":
        return ()
    opsctl = ("opsctl", "backup")
    where = ("--env", call.name, "--quiet")
    root = str(call.root)
    create = (*opsctl, "create", "--verify", "--label", "before a rollback", *where)
    recent = Command((*opsctl, "status", "--max-age", "1", *where), cwd=root)
    return (
        Step(
            id="backup",
            title="Make a backup, restore it into a scratch server and compare every row",
            safety="idempotent",
            action=Command(create, cwd=root, timeout_s=_BACKUP_TIMEOUT_S),
            check=Probe(recent, Expect(exit_code=0)),
            undo=None,
            detail=(call.environment.backup.to,),
        ),
    )


def _backup_notes(call: Call) -> tuple[str, ...]:
    settings = call.environment.backup
    if call.environment.rollback.backup == "verified":
        return ()
    try:
        store = open_store(
            settings.to, root=call.root, environment=call.name, storage=settings.storage
        )
        taken = newest(store)
    except OpsError as error:
        return (f"Whether there is a backup is not known: {error.what}.",)
    if taken is None:
        return ("No backup made by opsctl is known here: opsctl backup create.",)
    age = duration((datetime.now(UTC) - taken).total_seconds())
    return (f"The newest backup made by opsctl is {age} old.",)


_BACKUP_TIMEOUT_S = 6 * 3600.0
_WRONG = ("failed", "edited", "no file")


def _split_name(entry: Entry) -> tuple[str, str]:
    """Return version and name apart; prisma writes both into one."""
    if entry.tool != "prisma":
        return entry.version, entry.name
    version, _, name = entry.version.partition("_")
    return version, name


def _entry_finding(entry: Entry) -> Finding:
    titles = {
        "failed": "stopped half-way",
        "edited": "was edited after it was applied",
        "no file": "is applied and its file is gone",
    }
    hints = {
        "failed": "opsctl rollback db shows what took effect, and offers to finish or to clean up",
        "edited": "check out the file as it was applied",
        "no file": "check out the commit that holds it",
    }
    return Finding(
        rule=f"migration-{entry.state.replace(' ', '-')}",
        title=f"{entry.tool} {entry.version} {titles[entry.state]}",
        status=Status.FAILED,
        location=Location(object=f"{entry.tool} {entry.version}"),
        hint=hints[entry.state],
    )


def _unreadable(history: History) -> Finding:
    return Finding(
        rule="no-history",
        title=f"{history.tool} has a directory of migrations and no history in this database",
        status=Status.FAILED,
        severity=Severity.WARNING,
        location=Location(path=str(history.directory)),
        hint="is this the right database?",
    )


def _drift_finding(
    connection: Connection, url: str, histories: Sequence[History], say: Callable[[str], None]
) -> Finding:
    began = time.monotonic()
    try:
        facts = postgres.server_facts(connection)
        with rehearse(connection, url, facts, history=all_rows(histories)) as rehearsal:
            differences = schema_drift(rehearsal, units=applied_units(histories), say=say)
    except OpsError as error:
        return Finding(
            rule="schema-drift",
            title="The schema could not be compared with its migrations",
            status=Status.UNKNOWN,
            evidence=f"{error.what}: {error.why}",
            hint=error.hint,
        )
    return Finding(
        rule="schema-drift",
        title="The schema has drifted from its migrations"
        if differences
        else "The schema is what its migrations make",
        status=Status.FAILED if differences else Status.OK,
        evidence="\n".join(str(each) for each in differences),
        hint="bring the change into a migration, or take it back" if differences else "",
        took_ms=(time.monotonic() - began) * 1000,
    )


def _stash_schemas(connection: Connection) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s) ORDER BY nspname",
        (PREFIX,),
    ).fetchall()
    return tuple(row[0] for row in rows)


def _read_stash(connection: Connection, schema: str) -> dict[str, Any]:
    tables = [
        row[0]
        for row in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename", (schema,)
        )
    ]
    size = connection.execute(
        "SELECT pg_size_pretty(coalesce(sum(pg_total_relation_size(c.oid)), 0)) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relkind IN ('r', 'p')",
        (schema,),
    ).fetchone()
    manifest: dict[str, Any] = {}
    made_at = ""
    if "manifest" in tables:
        query = f"SELECT made_at::text, contents FROM {qualified(schema, 'manifest')}"
        row = connection.execute(query.encode()).fetchone()
        if row is not None:
            made_at, manifest = row
    return {
        "stash": schema,
        "made_at": made_at,
        "migrations": manifest.get("migrations", []),
        "losses": manifest.get("losses", []),
        "size": size[0] if size else "",
        "tables": tables,
    }


def _count(connection: Connection, schema: str, table: str) -> int:
    query = f"SELECT count(*) FROM {qualified(schema, table)}"
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
