"""Evidence: copies that nobody writes to, each with the hash it had when it was taken."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from opsctl.areas.incident.facts import Evidence, Incident, chosen, new_event, store_of
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Location, Report, Status, Table
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call

_FOLDER = Path(".opsctl") / "evidence"
_PIECE = 1 << 20


def keep(
    call: Call, wanted: str | None, files: Sequence[str], *, name: str | None, note: str
) -> Report:
    """Copy files, or what comes on stdin for `-`, and write down what they were."""
    incident = chosen(call, wanted, over=True)
    if name is not None and len(files) != 1:
        raise OpsError(
            "It is not clear what --name names",
            why=f"{len(files)} files were given",
            hint="give one file with --name, as in: opsctl incident evidence - --name app.log",
            code="usage",
        )
    rows = []
    for file in files:
        known = name or (Path(file).name if file != "-" else "stdin")
        try:
            if file == "-":
                kept = _copy(call, incident, sys.stdin.buffer, known)
            else:
                with Path(file).open("rb") as source:
                    kept = _copy(call, incident, source, known)
        except OSError as error:
            raise OpsError(
                f"The file {file} was not kept",
                why=error.strerror or type(error).__name__,
                hint="is it there, and is the disk full? Those before it were kept",
                code="evidence-not-kept",
                exit=Exit.UNKNOWN,
            ) from None
        store_of(call).add(new_event(call, incident.id, "evidence", {**kept, "note": note}))
        rows.append((known, str(kept["bytes"]), str(kept["sha256"]), str(kept["kept"])))
    return Report(
        command="incident evidence",
        title=f"Kept as evidence of {incident.id}: {', '.join(row[0] for row in rows)}",
        environment=call.name,
        tables=(Table("", ("name", "bytes", "sha256", "kept at"), tuple(rows)),),
        data={
            "incident": incident.id,
            "kept": [dict(zip(_KEYS, row, strict=True)) for row in rows],
        },
    )


_KEYS = ("name", "bytes", "sha256", "kept")


def check(call: Call, wanted: str | None) -> Report:
    """Hold every copy against the hash that was written down."""
    incident = chosen(call, wanted, over=True)
    findings = [_judged(call, each) for each in incident.evidence]
    return Report(
        command="incident evidence",
        title=f"Evidence of {incident.id}"
        if findings
        else f"Nothing was kept as evidence of {incident.id}",
        environment=call.name,
        findings=tuple(findings),
        data={
            "incident": incident.id,
            "evidence": [
                {"name": each.name, "kept": each.kept, "sha256": each.sha256, "bytes": each.bytes,
                 "at": each.at, "by": each.by, "note": each.note}
                for each in incident.evidence
            ],
        },
    )  # fmt: skip


def _judged(call: Call, evidence: Evidence) -> Finding:
    why = ""
    try:
        with (call.root / evidence.kept).open("rb") as file:
            digest, _ = _hash(file, None)
        if digest != evidence.sha256:
            why = "it is not what was kept"
    except OSError as error:
        why = error.strerror or type(error).__name__
    return Finding(
        "evidence",
        f"{evidence.name}: {why}" if why else f"{evidence.name} is as it was",
        Status.FAILED if why else Status.OK,
        evidence=f"{evidence.sha256}, kept {format_moment(evidence.at)} by {evidence.by}",
        location=Location(object=evidence.kept),
        hint="find out who has touched it; the hash stands in the record" if why else "",
    )


def _copy(call: Call, incident: Incident, source: BinaryIO, name: str) -> dict[str, object]:
    folder = call.root / _FOLDER / incident.id
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f".new-{os.getpid()}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        digest, count = _hash(source, target)
        target.flush()
        os.fsync(target.fileno())
    plain = "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in name)
    path = folder / f"{digest[:12]}-{plain[:100]}"
    new.chmod(0o400)
    new.replace(path)
    return {
        "name": name,
        "kept": path.relative_to(call.root).as_posix(),
        "sha256": digest,
        "bytes": count,
    }


def _hash(source: BinaryIO, target: BinaryIO | None) -> tuple[str, int]:
    digest, count = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        count += len(piece)
        if target is not None:
            target.write(piece)
    return digest.hexdigest(), count
