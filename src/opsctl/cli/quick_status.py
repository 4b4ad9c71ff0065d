"""`opsctl status` on kept settings, started without Typer and pydantic.

They take longer to import than everything that it asks takes to answer. It does what the command
does; of whatever is out of the ordinary it keeps its hands off.
"""

from __future__ import annotations

_VALUES = ("--env", "--config", "--format")
_FORMATS = ("text", "json")
_WITHOUT_EFFECT = frozenset({"--quiet", "-q", "--no-input"})
WITHIN_S = 5.0
"""Longest that a part may take, where nothing else is said."""


def attempt(argv: list[str]) -> int | None:
    """Run `status` and return its exit code, or None where it is not for here."""
    wanted = understood(argv)
    if wanted is None:
        return None
    from opsctl.cli.kept_settings import call_on, recall

    kept = recall(config=wanted.get("--config"), env=wanted.get("--env"))
    if kept is None or kept.environment is None:
        return None
    from opsctl.cli.session import show
    from opsctl.cli.status_look import look

    call = call_on(kept, say=lambda line: None)
    return show(look(call, within_s=WITHIN_S), wanted.get("--format", "text"), output=None)


def understood(argv: list[str]) -> dict[str, str] | None:
    """Return the values of a command line, or None where it holds anything unusual."""
    if not argv or argv[0] != "status":
        return None
    rest = argv[2:] if argv[1:2] == ["show"] else argv[1:]
    found: dict[str, str] = {}
    while rest:
        word, *rest = rest
        name, given, value = word.partition("=")
        if name in _VALUES:
            if not given:
                if not rest or rest[0].startswith("-"):
                    return None
                value, *rest = rest
            found[name] = value
        elif word not in _WITHOUT_EFFECT:
            return None
    return found if found.get("--format", "text") in _FORMATS else None
