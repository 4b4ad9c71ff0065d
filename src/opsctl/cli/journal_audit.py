"""The journal's chain as a report, and its rows for other systems."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from opsctl.core.errors import OpsError
from opsctl.core.journal import audit
from opsctl.core.report import Finding, Report, Status, Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsctl.core.journal import Journal, Row

_SHOWN = 20


def audit_report(journal: Journal, *, head: str | None) -> Report:
    """Return whether the journal is what was written; raises OpsError `bad-head` (exit 2)."""
    noted = {} if head is None else dict([_head(head)])
    # The number first: a row that is written meanwhile is no missing one.
    last_seq = journal.last_seq()
    found = audit(journal.rows(), last_seq=last_seq, noted=noted)
    broken = found.broken_seq is not None
    finding = Finding(
        rule="journal-chain",
        title=f"row {found.broken_seq}" if broken else "the journal's chain",
        status=Status.FAILED if broken else Status.OK,
        evidence=found.why if broken else f"{found.rows} rows, each fits the one before it",
        hint="the rows before it are proven; compare it with a copy: opsctl runs export"
        if broken
        else "",
    )
    notes = []
    if found.unchained:
        notes.append(
            f"The first {found.unchained} rows are older than the chain: what became of them "
            "before it began is not known, and from then on it covers them."
        )
    if not broken and found.rows:
        notes.append(
            "Keep this elsewhere, and a later audit proves that nothing up to here was "
            f"replaced: --head {found.head_seq}:{found.head}"
        )
    return Report(
        command="runs audit",
        title="The journal is broken" if broken else "The journal is whole",
        findings=(finding,),
        notes=tuple(notes),
        data={
            "rows": found.rows,
            "unchained": found.unchained,
            "head": {"seq": found.head_seq, "hash": found.head},
            "broken": {"seq": found.broken_seq, "why": found.why} if broken else None,
        },
    )


def export_report(journal: Journal, *, run: str | None) -> Report:
    """Return the rows of one run, or of all; `ndjson` has one JSON a line."""
    rows = [row for row in journal.rows() if run is None or row.run == run]
    shown = tuple(
        (str(row.seq), row.at, row.run, row.step or "", row.kind, row.actor,
         (row.hash or "none")[:12])
        for row in rows[-_SHOWN:]
    )  # fmt: skip
    columns = ("row", "at", "run", "step", "event", "by", "hash")
    left_out = len(rows) - len(shown)
    return Report(
        command="runs export",
        title=f"The journal: {len(rows)} rows",
        tables=(Table("", columns, shown),) if shown else (),
        notes=(f"{left_out} rows before these: --format ndjson",) if left_out else (),
        data={"rows": [_as_json(row) for row in rows]},
        own={"ndjson": lambda: _ndjson(rows)},
    )


def _ndjson(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(_as_json(row), sort_keys=True) + "\n" for row in rows)


def _as_json(row: Row) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "run": row.run,
        "step": row.step,
        "kind": row.kind,
        "at": row.at,
        "actor": row.actor,
        # As text, too: the hash is taken over it as it was written.
        "data": row.data,
        "fence": row.fence,
        "user": row.user,
        "hash": row.hash,
    }


def _head(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"([1-9][0-9]{0,17}):([0-9a-f]{64})", text)
    if match is None:
        raise OpsError(
            "The row that was noted was not understood",
            why="it is not SEQ:HASH, a number and 64 hexadecimal digits",
            hint="copy it from what opsctl runs audit printed",
            code="bad-head",
        )
    return int(match[1]), match[2]
