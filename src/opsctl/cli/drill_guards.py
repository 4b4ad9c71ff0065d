"""What every drill refuses: to break anything but the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call

_NAME = "sandbox"


def refuse_outside_the_sandbox(call: Call) -> None:
    """Raise OpsError `not-the-sandbox` (exit 5) where another environment is meant.

    One that the settings call so is another one, too: only what `sandbox up` wrote is it.
    """
    written = str(call.root / ".opsctl" / "sandbox" / "environment.yaml")
    where = call.origins.get(f"environments.{_NAME}.database.url")
    if call.environment_name not in (None, _NAME) or (
        where is not None and not where.startswith(written)
    ):
        raise OpsError(
            f"A drill destroys data, and {call.name} is not the sandbox",
            why="it only ever runs on the environment that opsctl sandbox up has made",
            hint="name it: --env sandbox",
            code="not-the-sandbox",
            exit=Exit.REFUSED,
        )


def refuse_without_sandbox(*, running: bool) -> None:
    """Raise OpsError `sandbox-down` (exit 3) where there is nothing to practise in."""
    if not running:
        raise OpsError(
            "The sandbox is not up",
            why="a drill needs its database",
            hint="opsctl sandbox up",
            code="sandbox-down",
            exit=Exit.UNKNOWN,
        )
