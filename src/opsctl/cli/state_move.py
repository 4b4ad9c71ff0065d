"""The whole state, copied to another place in one transaction and compared before it counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from opsctl.adapters.state import open_state
from opsctl.adapters.team_schema import room_schema, room_tables
from opsctl.core.errors import Exit, OpsError
from opsctl.core.journal import Audit, audit
from opsctl.core.report import Finding, Report, Status, Table
from opsctl.core.state_place import StatePlace, TeamState, state_place

if TYPE_CHECKING:
    from opsctl.adapters.state import StateConnection
    from opsctl.core.call import Call

_EVENT = "seq, run, step, kind, at, actor, data, fence, db_user, hash"
_BATCH = 500


def move_state(call: Call, to: str) -> Report:
    """Copy everything to an empty place; raises OpsError, and then nothing is there.

    Nobody may hold an environment meanwhile. Leases are not copied: nobody has one.
    """
    from opsctl.cli.change import actor
    from opsctl.cli.state_seam import open_journal, open_locks

    source = call.state
    target = _target(call, to)
    if target == source:
        raise _refused("the state is there already", "opsctl state show", "same-place")
    locks = open_locks(source)
    with ExitStack() as stack:
        for name in _holdable(call, source):
            stack.enter_context(
                locks.hold(name, actor=actor(), run="state", command="state migrate")
            )
        journal = open_journal(source)
        found = audit(journal.rows(), last_seq=journal.last_seq())
        if found.broken_seq is not None:
            raise _refused(
                f"its journal is broken at row {found.broken_seq}: {found.why}",
                "opsctl runs audit",
                "journal-broken",
            )
        rules = _rules(source)
        _make_ready(target)
        _make_ready_to_read(source)
        sums = _copy(source, target, found)
        _keep_rules(rules, target)
    lost = {} if isinstance(target, TeamState) else rules
    return Report(
        command="state migrate",
        title=f"The state was copied to {target}, and is the same there",
        findings=tuple(
            Finding(
                rule="state-copied", title=name, status=Status.OK,
                evidence=f"{count} rows, SHA-256 {digest[:16]} in both",
            )
            for name, (count, digest) in sums.items()
        ),
        tables=(
            Table("Copied", ("table", "rows", "sha256"),
                  tuple((name, str(count), digest) for name, (count, digest) in sums.items())),
        ),
        notes=(
            f"Now set in the settings: state: {to}",
            f"{source} is as it was; runs that are begun with it are not seen there.",
            *(("No approvals are demanded there: nobody else could give them in a file.",)
              if lost else ()),
        ),
        data={
            "from": str(source),
            "to": str(target),
            "approvals_lost": lost,
            "tables": {name: {"rows": c, "sha256": d} for name, (c, d) in sums.items()},
        },
    )  # fmt: skip


def _rules(source: StatePlace) -> dict[str, int]:
    """Return how many approvals are demanded; a file demands none."""
    if not isinstance(source, TeamState):
        return {}
    from opsctl.adapters.team_server import TeamServer
    from opsctl.cli.state_rules import read_rules

    return read_rules(TeamServer(source))


def _keep_rules(rules: dict[str, int], target: StatePlace) -> None:
    """Demand in another team's state what was demanded here; who moves it is its owner."""
    if isinstance(target, TeamState):
        from opsctl.cli.state_rules import demand_approvals

        for environment, others in rules.items():
            demand_approvals(target, environment, others)


def _target(call: Call, to: str) -> StatePlace:
    from pydantic import TypeAdapter, ValidationError

    from opsctl.core.setting_types import State

    try:
        text: str = TypeAdapter(State).validate_python(to, context={"root": str(call.root)})
    except ValidationError as error:
        why = error.errors(include_input=False, include_url=False)[0]["msg"]
        raise OpsError(
            "The new place of the state was not understood",
            why=why.removeprefix("Value error, "),
            hint="opsctl state migrate --to env:OPSCTL_STATE_URL",
            code="bad-state",
        ) from None
    return state_place(call.root, text)


def _holdable(call: Call, source: StatePlace) -> list[str]:
    """Return every name that a run may hold: those of the settings, and those once held."""
    names = set(call.settings.environments)
    if isinstance(source, TeamState):
        from opsctl.adapters.team_server import TeamServer

        names |= {name for (name,) in TeamServer(source).rows(
            "SELECT environment FROM opsctl.lease"
        )}  # fmt: skip
    return sorted(names)


def _make_ready(target: StatePlace) -> None:
    """See to it that the tables are there and empty."""
    if isinstance(target, TeamState):
        from opsctl.cli.state_report import prepare_state

        prepare_state(target)
    else:
        from opsctl.engine.store import SqliteJournal

        SqliteJournal(target).prepare()


def _make_ready_to_read(source: StatePlace) -> None:
    """Bring an older file up to date: its journal has fewer columns."""
    if not isinstance(source, TeamState) and source.exists():
        from opsctl.engine.store import SqliteJournal

        SqliteJournal(source).prepare()


def _copy(source: StatePlace, target: StatePlace, journal: Audit) -> dict[str, tuple[int, str]]:
    """Copy every table; return rows and sum of each, which are the same in both."""
    tables = {"event": _EVENT, **dict.fromkeys(room_tables(), "*")}
    sums: dict[str, tuple[int, str]] = {}
    with open_state(target, room_schema()).write() as there:
        for name, columns in tables.items():
            if there.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone():
                raise _refused(f"{target} has rows in {name} already", "name an empty place",
                               "not-empty")  # fmt: skip

            def fill(here: StateConnection, name: str = name, columns: str = columns) -> int:
                return _fill(here, there, name, columns)

            open_state(source, ()).read(fill, empty=0)
        if isinstance(target, TeamState):
            there.execute(
                "UPDATE journal_head SET seq = ?, hash = ?", (journal.head_seq, journal.head)
            )
        for name, columns in tables.items():
            mine = _sum(there, name, columns)
            theirs = open_state(source, ()).read(
                lambda here, name=name, columns=columns: _sum(here, name, columns),  # type: ignore[misc]
                empty=(0, hashlib.sha256().hexdigest()),
            )
            if mine != theirs:
                raise OpsError(
                    "The state was not copied",
                    why=f"{name} came out different: {theirs[0]} rows here, {mine[0]} there",
                    hint="was something written meanwhile? Nothing was kept there; try again",
                    code="copy-differs",
                    exit=Exit.UNKNOWN,
                )
            sums[name] = mine
        if sums["event"][0] != journal.rows:
            raise _refused("a run was begun meanwhile", "try again", "journal-grew")
    return sums


def _fill(here: StateConnection, there: StateConnection, name: str, columns: str) -> int:
    cursor = here.execute(f"SELECT {columns} FROM {name}")
    batch: list[Any] = []
    count = 0
    for row in cursor:
        batch.append(row)
        count += 1
        if len(batch) == _BATCH:
            _insert(there, name, columns, batch)
            batch = []
    _insert(there, name, columns, batch)
    return count


def _insert(there: StateConnection, name: str, columns: str, rows: list[Any]) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        named = "" if columns == "*" else f" ({columns})"
        there.executemany(f"INSERT INTO {name}{named} VALUES ({marks})", rows)


def _sum(connection: StateConnection, name: str, columns: str) -> tuple[int, str]:
    """Return how many rows a table has and a hash over them, whatever their order."""
    each = sorted(
        hashlib.sha256(json.dumps(list(map(_plain, row))).encode()).digest()
        for row in connection.execute(f"SELECT {columns} FROM {name}")
    )
    return len(each), _digest(each)


def _digest(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def _plain(value: Any) -> Any:
    return {"bytes": bytes(value).hex()} if isinstance(value, (bytes, memoryview)) else value


def _refused(why: str, hint: str, code: str) -> OpsError:
    return OpsError("The state was not moved", why=why, hint=hint, code=code, exit=Exit.REFUSED)
