"""What is in the state, and who holds what; and a team's state made ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsctl.core.errors import OpsError
from opsctl.core.journal import audit
from opsctl.core.report import Finding, Report, Status, Table
from opsctl.core.state_place import TeamState

if TYPE_CHECKING:
    from opsctl.adapters.state import StateConnection
    from opsctl.core.state_place import StatePlace


def show_state(place: StatePlace) -> Report:
    """Return what is kept at a place: tables and rows, the journal's chain, and holders."""
    from opsctl.cli.state_rules import ELSEWHERE
    from opsctl.cli.state_seam import open_journal

    journal = open_journal(place)
    last_seq = journal.last_seq()
    found = audit(journal.rows(), last_seq=last_seq)
    counts = {"event": found.rows, **_counts(place)}
    whole = found.broken_seq is None
    kind = "PostgreSQL" if isinstance(place, TeamState) else "SQLite"
    finding = Finding(
        rule="journal-chain",
        title="the journal's chain",
        status=Status.OK if whole else Status.FAILED,
        evidence=f"{found.rows} rows" if whole else f"row {found.broken_seq}: {found.why}",
        hint="" if whole else "opsctl runs audit",
    )
    data: dict[str, Any] = {
        "kind": kind,
        "place": str(place),
        "rows": counts,
        "head": {"seq": found.head_seq, "hash": found.head},
        "broken": found.broken_seq,
    }
    tables = [Table("Rows", ("table", "rows"), tuple((n, str(c)) for n, c in counts.items()))]
    if isinstance(place, TeamState):
        about = _team(place)
        data.update(about)
        if about["approvals"]:
            rows = tuple(
                ("all others" if name == ELSEWHERE else name, str(others))
                for name, others in about["approvals"].items()
            )
            tables.append(
                Table("Approvals demanded of a change", ("environment", "by others"), rows)
            )
        if about["leases"]:
            columns = ("environment", "held by", "database user", "run", "command", "ends in")
            tables.append(Table("Leases", columns, tuple(
                (each["environment"], each["actor"], each["user"], each["run"], each["command"],
                 f"{each['left_s']:.0f} s" if each["left_s"] > 0 else "over")
                for each in about["leases"]
            )))  # fmt: skip
    return Report(
        command="state show",
        title=f"The state: {kind}, {place}",
        findings=(finding,),
        tables=tuple(tables),
        notes=_notes(data),
        data=data,
    )


def prepare_state(place: StatePlace) -> Report:
    """Make tables, functions and roles of a team's state, or bring older ones up to date.

    In one transaction: others write before it or after it. Raises OpsError `not-shared`
    (exit 2), `state-too-new` (exit 3) where a newer opsctl prepared it.
    """
    if not isinstance(place, TeamState):
        raise OpsError(
            "There was nothing to prepare",
            why=f"the state is the file {place}, which is made when something is written",
            hint="state: env:OPSCTL_STATE_URL in the settings shares it; opsctl state schema",
            code="not-shared",
        )
    from opsctl.adapters.team_schema import room_tables, schema_sql
    from opsctl.adapters.team_server import TeamServer

    with TeamServer(place, to_prepare=True).transaction() as connection:
        # Who reads for long would have everybody wait who comes after this.
        connection.execute("SET LOCAL lock_timeout = '10s'")
        connection.execute(schema_sql().encode())
    return Report(
        command="state prepare",
        title="The team's state is prepared",
        notes=(
            "GRANT opsctl_operator TO each role that carries plans out, opsctl_reader to those "
            "that read, opsctl_keeper to who says how many approve a change (opsctl state "
            "approvals); a state file is moved by: opsctl state migrate",
        ),
        data={"place": str(place), "tables": ["event", "lease", *room_tables()]},
    )


def _counts(place: StatePlace) -> dict[str, int]:
    from opsctl.adapters.state import open_state
    from opsctl.adapters.team_schema import room_tables

    state = open_state(place, ())

    def count(name: str) -> int:
        def look(connection: StateConnection) -> int:
            return int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0])

        return state.read(look, empty=0)

    return {name: count(name) for name in room_tables()}


def _team(place: TeamState) -> dict[str, Any]:
    from opsctl.adapters.team_server import TeamServer
    from opsctl.cli.state_rules import read_rules

    server = TeamServer(place)
    user, version, *may = server.rows(
        "SELECT session_user::text, current_setting('server_version'), "
        "has_function_privilege('opsctl.end_lease(text, text, bigint)', 'EXECUTE'), "
        "pg_has_role(session_user, 'opsctl_reader', 'MEMBER'), "
        "has_function_privilege('opsctl.set_approvals(text, integer)', 'EXECUTE')"
    )[0]
    leases = server.rows(
        "SELECT environment, actor, db_user, run, command, "
        "extract(epoch FROM expires_at - clock_timestamp())::double precision "
        "FROM opsctl.lease WHERE id IS NOT NULL ORDER BY environment"
    )
    names = ("environment", "actor", "user", "run", "command", "left_s")
    return {
        "user": user,
        "server": version,
        "role": "operator" if may[0] else "reader" if may[1] else "none",
        "keeper": may[2],
        "approvals": read_rules(server),
        "leases": [dict(zip(names, lease, strict=True)) for lease in leases],
    }


def _notes(data: dict[str, Any]) -> tuple[str, ...]:
    if "user" not in data:
        return ("It is on this machine alone; a team shares one: runbooks/team.md",)
    return (f"You are the database user {data['user']}: {data['role']}; server {data['server']}.",)
