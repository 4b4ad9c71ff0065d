"""Looks that the plans of `rotate-keys` are made of: each a hidden command of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from opsctl.core.action import Command, Expect, Probe
from opsctl.core.errors import Exit
from opsctl.core.process import LOOK
from opsctl.core.report import Finding, Report, Status

if TYPE_CHECKING:
    from opsctl.core.call import Call

Word = Literal["applied", "absent", "unknown"]

_PAUSE_S = 2.0
_STATUS = {"applied": Status.OK, "absent": Status.FAILED, "unknown": Status.UNKNOWN}


def own_probe(
    call: Call, *words: str, attempts: int = 3, pause_s: float = _PAUSE_S, timeout_s: float = 180.0
) -> Probe:
    """Return a look by a hidden command of this room; its exit code 3 is no answer."""
    argv = (LOOK, "rotate-keys", *words, "--env", call.name, "--quiet")
    return Probe(
        Command(argv, timeout_s=timeout_s),
        Expect(exit_code=0, unsure=(int(Exit.USAGE), int(Exit.UNKNOWN))),
        attempts=attempts,
        pause_s=pause_s,
        tells=True,
    )


def looked(call: Call, command: str, word: Word, said: str) -> Report:
    """Return what a look found: exit 0 where it holds, 1 where not, 3 where that is not known."""
    return Report(
        command=f"rotate-keys {command}",
        title=said,
        environment=call.name,
        findings=(Finding(command, said, _STATUS[word]),),
        text=said,  # a plan quotes the last line, unfolded
        data={"answer": word},
    )


def word_for(holds: bool) -> Word:
    """Return the word for something that was looked at."""
    return "applied" if holds else "absent"
