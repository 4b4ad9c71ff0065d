"""What the events of a run say: how far its steps are, and the run as a whole."""

from __future__ import annotations

from typing import Literal

from opsctl.core.action import Command
from opsctl.core.journal import Event
from opsctl.core.plan import Plan

RunState = Literal["running", "finished", "stopped", "unknown", "aborted", "waiting"]
"""waiting: others were asked to approve it, and it has not begun."""


class Progress:
    """What the events of a run say of its steps."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        self._last: dict[str, Event] = {}
        self._kinds: dict[str, list[str]] = {}
        self._exits: dict[str, int] = {}
        for event in events:
            if event.step is not None:
                self._last[event.step] = event
                self._kinds.setdefault(event.step, []).append(event.kind)
                if event.kind == "done":
                    self._exits[event.step] = int(event.data.get("exit_code", 0))

    def settled(self, step: str) -> bool:
        """Whether a step is done and verified, or a person said it is done."""
        last = self._last.get(step)
        if last is None:
            return False
        return last.kind == "verified" or (
            last.kind == "resolved" and last.data.get("how") == "done"
        )

    def acted(self, step: str) -> bool:
        """Whether a step's effect is recorded."""
        last = self._last.get(step)
        return last is not None and last.kind == "done"

    def effective(self, step: str) -> bool:
        """Whether a step has taken effect, as far as the journal knows."""
        return self.settled(step) or self.acted(step)

    def unsure(self, step: str) -> bool:
        """Whether a step was cut off between intent and effect."""
        last = self._last.get(step)
        return last is not None and last.kind in ("started", "unknown")

    def exit_code(self, step: str) -> int:
        """Return by which exit code a step's program did what it should; 0 of other steps."""
        return self._exits.get(step, 0)

    def found(self, plan: Plan) -> bool:
        """Whether a look's last answer is that something is not well.

        The same look may stand in a plan twice, before a change and after it.
        """
        answers = {
            step.action.argv: self.exit_code(step.id)
            for step in plan.steps
            if isinstance(step.action, Command)
        }
        return any(answers.values())

    def redo(self, step: str) -> bool:
        """Whether a person said that a step did not take effect."""
        last = self._last.get(step)
        return last is not None and last.kind == "resolved" and last.data.get("how") == "redo"


def state_of(events: tuple[Event, ...], *, running: bool) -> RunState:
    """Return the state that a run's events, and whether somebody carries it out now, add up to."""
    if any(event.kind == "finished" for event in events):
        return "finished"
    if any(event.kind == "aborted" for event in events):
        return "aborted"
    if running:
        return "running"
    kinds = {event.kind for event in events}
    if "requested" in kinds and "started" not in kinds:
        return "waiting"
    progress = Progress(events)
    steps = {event.step for event in events if event.step is not None}
    return "unknown" if any(progress.unsure(step) for step in steps) else "stopped"
