"""`opsctl incident postmortem`: draft it, answer its questions, finish it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.areas.incident import clock
from opsctl.areas.incident.document import markdown, times_of
from opsctl.areas.incident.facts import Incident, chosen, made_of, new_event, store_of
from opsctl.areas.incident.page import page
from opsctl.areas.incident.review import QUESTIONS, Review, due_text, review
from opsctl.areas.incident.show import incident_data
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Report, Severity, Status, Table
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.core.call import Call


def postmortem(
    call: Call,
    wanted: str | None,
    *,
    into: Path,
    answers: Sequence[str] = (),
    actions: Sequence[str] = (),
    finish: bool = False,
    replace: bool = False,
) -> Report:
    """Write what is known as Markdown and as a page; keep answers and action items."""
    incident = chosen(call, wanted, over=True)
    given: list[tuple[str, dict[str, Any]]] = [
        *(("answered", {"answers": dict([_answer(each)])}) for each in answers),
        *(("action", _action(each)) for each in actions),
    ]
    events = [new_event(call, incident.id, kind, data) for kind, data in given]
    incident = made_of((*incident.events, *events))
    found = review(call, incident, now=time.time())
    if finish:
        _refuse_unfinished(incident, found)
    folder = into if into.is_absolute() else call.root / into
    paths = {kind: folder / f"{incident.id}.{kind}" for kind in ("md", "html")}
    for kind, path in paths.items():
        _refuse_changed(incident, kind, path, replace=replace)
    store = store_of(call)
    for event in events:
        store.add(event)
    if finish and incident.written_at is None:
        # Before the documents are made: they say so themselves.
        store.add(new_event(call, incident.id, "written", {}))
        incident = made_of(store.of(incident.id))
        found = review(call, incident, now=time.time())
    texts = {"md": markdown(found), "html": page(found)}
    for kind, path in paths.items():
        _write(path, texts[kind])
    hashes = {kind: _sha256(text.encode()) for kind, text in texts.items()}
    store.add(new_event(call, incident.id, "drafted", {"hashes": hashes}))
    clock.refresh(call)
    return _report(call, incident, found, paths, texts)


def _report(
    call: Call, incident: Incident, found: Review, paths: dict[str, Path], texts: dict[str, str]
) -> Report:
    written = incident.written_at is not None
    findings = [
        Finding(
            "postmortem-question",
            each.text,
            Status.FAILED,
            Severity.WARNING,
            hint=f"opsctl incident postmortem {incident.id} --answer '{each.name}=...'",
        )
        for each in found.questions
    ]
    if not incident.actions:
        findings.append(
            Finding(
                "postmortem-actions", "What keeps it from coming back?", Status.FAILED,
                Severity.WARNING,
                hint=f"opsctl incident postmortem {incident.id} --action 'What; who; by when'",
            )
        )  # fmt: skip
    due = due_text(call, incident)
    notes = [f"Written: {path}" for path in paths.values()]
    if not written and due is not None:
        notes.append(
            f"It is due {format_moment(due)}. Once it is whole: "
            f"opsctl incident postmortem {incident.id} --finish"
        )
    rows = tuple((what, span or "not known", how) for what, span, how in times_of(found))
    data: dict[str, Any] = {
        "incident": incident_data(incident),
        "finished": written,
        "due_at": due,
        "detection_s": found.detection_s,
        "response_s": found.response_s,
        "recovery_s": found.recovery_s,
        "questions": [each.name for each in found.questions],
        "files": {kind: str(path) for kind, path in paths.items()},
    }
    return Report(
        command="incident postmortem",
        title=f"Post-mortem of {incident.id} {'is finished' if written else 'is a draft'}",
        environment=call.name,
        findings=tuple(findings),
        tables=(Table("Times", ("what", "how long", "how it is known"), rows),),
        notes=tuple(notes),
        data=data,
        own={"html": lambda: texts["html"], "markdown": lambda: texts["md"]},
    )


def _answer(text: str) -> tuple[str, str]:
    name, sign, said = text.partition("=")
    names = [each.name for each in QUESTIONS]
    if sign and said.strip() and name.strip() in names:
        return name.strip(), said.strip()
    raise OpsError(
        f"The answer {text!r} was not understood",
        why=f"an answer is NAME=TEXT, and NAME one of {', '.join(names)}",
        hint="opsctl incident postmortem --answer 'cause=A migration dropped a column'",
        code="bad-answer",
    )


def _action(text: str) -> dict[str, str]:
    what, owner, due = (*(each.strip() for each in text.split(";")), "", "")[:3]
    if what and text.count(";") <= 2:
        return {"what": what, "owner": owner, "due": due}
    raise OpsError(
        f"The action item {text!r} was not understood",
        why="it is WHAT; OWNER; DUE, of which the last two may be left out",
        hint="opsctl incident postmortem --action 'Test every migration; Ann; 2026-12-01'",
        code="bad-action-item",
    )


def _refuse_unfinished(incident: Incident, found: Review) -> None:
    lacks = found.missing
    if incident.open:
        lacks = ("it is not resolved", *lacks)
    if lacks:
        raise OpsError(
            f"The post-mortem of {incident.id} is not finished",
            why="; ".join(lacks),
            hint="give --answer 'cause=...' and --action 'WHAT; OWNER; DUE'",
            code="postmortem-unfinished",
            exit=Exit.REFUSED,
        )


def _refuse_changed(incident: Incident, kind: str, path: Path, *, replace: bool) -> None:
    """Refuse to write over what a person has written into a document."""
    try:
        there = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from None
    known = {
        str(event.data["hashes"].get(kind)) for event in incident.events if event.kind == "drafted"
    }
    if _sha256(there) in known or replace:
        return
    raise OpsError(
        f"The document {path} was changed by somebody",
        why="it is not what opsctl wrote there",
        hint="keep it with --into ANOTHER_FOLDER, or give it up with --replace",
        code="postmortem-changed",
        exit=Exit.REFUSED,
    )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> OpsError:
    return OpsError(
        f"The document {path} could not be used",
        why=error.strerror or type(error).__name__,
        hint="name another folder with --into",
        code="postmortem-unwritable",
        exit=Exit.UNKNOWN,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
