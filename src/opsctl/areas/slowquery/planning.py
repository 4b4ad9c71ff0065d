"""Have the worst statements planned, and try indexes that only seem to exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import psycopg

from opsctl.adapters.explain import Explained, explain
from opsctl.adapters.indexes import Hypothetical, TableFacts, read_tables
from opsctl.adapters.postgres import Connection
from opsctl.adapters.statements import MARK, Key, Text
from opsctl.areas.slowquery.plans import Advice, Candidate, candidates, tables_of, walk
from opsctl.areas.slowquery.statements import Statement
from opsctl.core.errors import Exit, OpsError

_MOST = 20
_WORTH = 0.9
"""Of the cost before: an index that leaves more than this is none that helps."""


def explain_statements(
    connection: Connection,
    worst: Sequence[Statement],
    *,
    texts: Mapping[Key, Text],
    say: Callable[[str], None],
) -> tuple[dict[Key, Explained], dict[tuple[str, str], TableFacts], tuple[Advice, ...]]:
    """Return (plans, the tables in them, indexes that would help).

    Raises OpsError `statements-unreadable` (exit 3) where the connection is lost.
    """
    chosen = [each for each in worst if not each.control][:_MOST]
    say(f"Planning {len(chosen)} statements")
    try:
        plans = {}
        for each in chosen:
            text = texts.get(each.key)
            if text is None:
                plans[each.key] = Explained(None, "its text is not kept any more")
            else:
                plans[each.key] = explain(connection, text.text, role=each.role, cut=text.cut)
        names = {name for found in plans.values() if found.plan is not None
                 for name in tables_of(found.plan)}  # fmt: skip
        tables = read_tables(connection, names)
        return plans, tables, _advice(connection, chosen, plans, tables, texts)
    except psycopg.Error as error:
        raise OpsError(
            "The statements were not planned",
            why=error.diag.message_primary or "the connection was lost",
            hint="run it again without --explain",
            code="statements-unplanned",
            exit=Exit.UNKNOWN,
        ) from None


def work_mem(connection: Connection) -> int:
    """Return the server's work_mem in bytes."""
    row = connection.execute(
        f"SELECT {MARK} pg_size_bytes(current_setting('work_mem'))".encode()
    ).fetchone()
    return int(row[0]) if row else 4_194_304


def _advice(
    connection: Connection,
    chosen: Sequence[Statement],
    plans: Mapping[Key, Explained],
    tables: Mapping[tuple[str, str], TableFacts],
    texts: Mapping[Key, Text],
) -> tuple[Advice, ...]:
    found: dict[str, Advice] = {}
    pretending = Hypothetical.find(connection)
    for each in chosen:
        before = plans[each.key]
        if before.plan is None:
            continue
        possible = candidates(before.plan, tables=tables)
        if pretending is None:
            advice = [Advice(each.key, one, False, before.cost)
                      for one in possible[:1] if one.selective]  # fmt: skip
        else:
            advice = _tried(connection, pretending, each, texts[each.key], before, possible)
        for one in advice:
            found.setdefault(one.candidate.create, one)
    return tuple(found.values())


def _tried(
    connection: Connection,
    pretending: Hypothetical,
    statement: Statement,
    text: Text,
    before: Explained,
    possible: Sequence[Candidate],
) -> list[Advice]:
    """Return the one index that brings the cost down most, if the planner takes it."""
    best: Advice | None = None
    for candidate in possible:
        try:
            if not pretending.create(candidate.pretend):
                continue
            after = explain(connection, text.text, role=statement.role, cut=text.cut)
        finally:
            pretending.forget()
        if after.plan is None or not _uses_pretended(after):
            continue
        if after.cost < before.cost * _WORTH and (best is None or after.cost < best.cost_after):
            best = Advice(statement.key, candidate, True, before.cost, after.cost)
    return [best] if best is not None else []


def _uses_pretended(found: Explained) -> bool:
    """Whether a plan uses an index of hypopg's: its name begins with `<` and a number."""
    return found.plan is not None and any(
        str(node.get("Index Name", "")).startswith("<") for node, _ in walk(found.plan)
    )
