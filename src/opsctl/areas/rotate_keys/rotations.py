"""Which rotations there were, from the journal, and which of them still have something to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsctl.adapters.journal_runs import JournalRun, JournalRuns
from opsctl.adapters.supabase_keys import ApiKey
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsctl.core.call import Call

_COMMANDS = ("rotate-keys supabase", "rotate-keys api", "rotate-keys jwt",
             "rotate-keys db-password")  # fmt: skip
_REVOKE = "rotate-keys revoke"


@dataclass(frozen=True)
class Rotation:
    """One rotation that was begun and not taken back."""

    run: JournalRun
    stopped: bool
    """Whether its run, or one that goes on from it, has not come to its end."""
    stopped_run: str
    """That run; empty where none has stopped."""
    ended: bool
    """Whether an old key of its was ended for good, or may have been: there is no way back."""

    @property
    def token(self) -> str:
        """Its name."""
        return str(self.run.facts.get("token", ""))

    @property
    def old(self) -> list[dict[str, Any]]:
        """What it replaces, as the plan saw it."""
        return list(self.run.facts.get("old", ()))


def read_rotations(call: Call) -> list[Rotation]:
    """Return the rotations of the environment that were not taken back, the earliest first."""
    runs = JournalRuns(call.state).of(call.name)
    undone = {str(each.facts.get("undoes")) for each in runs
              if each.facts.get("undoes") and each.state == "finished"}  # fmt: skip
    found = []
    for run in runs:
        if not run.command.startswith(_COMMANDS) or run.id in undone or run.state == "aborted":
            continue
        begun = any(step.state != "pending" for step in run.steps.values())
        if not begun and run.state != "finished":
            continue  # it waits for somebody's approval, or was cut off before it did anything
        own = [run, *(each for each in runs if each.command == _REVOKE
                      and run.facts.get("token") in each.facts.get("tokens", ())
                      and each.id not in undone)]  # fmt: skip
        open_ = [each for each in own if each.state == "stopped"]
        ended = any(map(_has_ended, own))
        found.append(Rotation(run, bool(open_), open_[-1].id if open_ else "", ended))
    return found


def unended(
    rotation: Rotation, keys: Sequence[ApiKey], legacy: bool | None
) -> list[dict[str, Any]]:
    """Return the keys that a rotation replaced and that work still."""
    ids = {each.id for each in keys if each.kind != "legacy"}
    return [
        each
        for each in rotation.old
        if (legacy is True if each.get("kind") == "legacy" else each.get("id") in ids)
    ]


def refuse_unfinished(call: Call) -> None:
    """Raise OpsError `rotation-unfinished` (exit 5) while a rotation has stopped half-way."""
    for each in read_rotations(call):
        if each.stopped:
            raise OpsError(
                "A rotation has stopped half-way",
                why=f"run {each.stopped_run}: {each.run.title}",
                hint=f"opsctl runs resume {each.stopped_run}, or opsctl rotate-keys abort",
                code="rotation-unfinished",
                exit=Exit.REFUSED,
            )


def choose_stopped(call: Call, run: str) -> str:
    """Return the run of a rotation that is to be taken back.

    Raises OpsError `nothing-to-abort`, `which-run` (exit 2, 5).
    """
    rotations = read_rotations(call)
    if run:
        matching = [each for each in rotations if each.run.id.startswith(run)]
    else:
        # The newest that ended nothing: it can still be taken back whole.
        matching = [each for each in rotations if not each.ended][-1:]
    if len(matching) == 1:
        chosen = matching[0]
        if chosen.ended:
            raise OpsError(
                f"The rotation {chosen.run.id} cannot be aborted any more",
                why="it has begun what cannot be taken back: an old key has ended, or a password "
                "was changed",
                hint=f"finish it: opsctl runs resume {chosen.stopped_run or chosen.run.id}",
                code="too-late",
                exit=Exit.REFUSED,
            )
        return chosen.run.id
    known = ", ".join(each.run.id for each in rotations) or "none"
    raise OpsError(
        f"{len(matching)} rotations fit" if run else "There is no rotation to abort",
        why=f"rotations that were not taken back: {known}",
        hint="opsctl rotate-keys status",
        code="which-run" if run else "nothing-to-abort",
    )


def _has_ended(run: JournalRun) -> bool:
    """Whether a step was begun that cannot be taken back: an end, or the database's password."""
    return any(
        (id in ("end", "change") or (id.startswith("end-") and id != "end-legacy"))
        and step.state not in ("pending", "failed")
        for id, step in run.steps.items()
    )
