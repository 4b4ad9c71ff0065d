"""What a command gets that is to start fast where nothing is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsctl.core.call import Call


@dataclass(frozen=True)
class Start:
    """A call whose settings are loaded when they are asked for: that takes as long as a small scan.

    A room's command takes it in the place of a Call.
    """

    say: Callable[[str], None]
    configured: bool
    """Whether there are settings at all."""
    load: Callable[[], Call]
    """Load them; raises what `opsctl.core.sources.load_settings` does."""
    agreed: bool = False
    """Whether --yes was given."""
    dry_run: bool = False
    no_input: bool = False
