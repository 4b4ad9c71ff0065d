"""One error class with four parts, and the exit codes that every command shares."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What an exit code means, the same for every command."""

    OK = 0
    """Done, or all well."""
    FAILED = 1
    """Looked, and something is wrong."""
    USAGE = 2
    """The call or the configuration is wrong."""
    UNKNOWN = 3
    """Could not look or could not start; nothing was changed."""
    PARTIAL = 4
    """A change stopped part-way; the record is safe."""
    REFUSED = 5
    """Refused by a guard: not confirmed, protected, locked, frozen."""
    INTERRUPTED = 130
    TERMINATED = 143


class OpsError(Exception):
    """Something a person must hear about, in four parts; caught once, at the front door.

    `what` happened, in the past tense and without blame; `why`, the evidence; `hint`, a command
    to run or one question; `code`, stable and for machines (`no-such-target`). `exit` is the
    exit code that follows. None of the parts may hold a secret.
    """

    def __init__(
        self, what: str, *, why: str, hint: str, code: str, exit: Exit = Exit.USAGE
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.code = code
        self.exit = exit
