"""Patterns that somebody else wrote, run by RE2: its time grows with the text, never more."""

from __future__ import annotations

from typing import Any

from opsctl.core.errors import Exit, OpsError

_MOST_MEMORY = 8 << 20


def compile_pattern(text: str, *, where: str) -> Any:
    """Return a compiled pattern with `search`.

    Raises OpsError `bad-pattern` (exit 2), and `re2-missing` (exit 3) without the extra `re2`.
    """
    try:
        import re2
    except ImportError:
        raise OpsError(
            f"The pattern of {where} could not be used",
            why="the library google-re2 is not installed; Python's own patterns can be made to "
            "run for hours",
            hint="pip install 'opsctl[re2]', or use `contains` in the settings",
            code="re2-missing",
            exit=Exit.UNKNOWN,
        ) from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MOST_MEMORY
    try:
        return re2.compile(text, options=options)
    except re2.error as error:
        said = error.args[0] if error.args else "it is malformed"
        raise OpsError(
            f"The pattern of {where} is not one",
            why=said.decode(errors="replace") if isinstance(said, bytes) else str(said),
            hint="mend `matches` in the settings; RE2 knows neither look-ahead nor back-references",
            code="bad-pattern",
        ) from None
