"""The steps of an incident's plan on kept settings, started without Typer and pydantic.

Each message is a handful of them, and somebody waits. They do what the commands do; of whatever
is out of the ordinary this keeps its hands off.
"""

from __future__ import annotations

_COMMANDS = ("record", "tell", "told")
_VALUES = ("--env", "--incident", "--message")


def attempt(argv: list[str]) -> int | None:
    """Run a step and return its exit code, or None where it is not for here."""
    wanted = understood(argv)
    if wanted is None:
        return None
    from opsctl.cli.kept_settings import call_on, recall

    kept = recall(config=None, env=wanted["--env"])
    if kept is None or kept.environment is None:
        return None
    from opsctl.areas.incident import tell
    from opsctl.cli.session import show

    call = call_on(kept, say=lambda line: None)
    if wanted["command"] == "record":
        report = tell.record(call)
    else:
        act = tell.tell if wanted["command"] == "tell" else tell.told
        report = act(
            call, wanted["channel"], incident=wanted["--incident"],
            message=wanted.get("--message"),
        )  # fmt: skip
    return show(report, "text", output=None)


def understood(argv: list[str]) -> dict[str, str] | None:
    """Return the parts of a step's command line, or None where it holds anything unusual."""
    if len(argv) < 2 or argv[1] not in _COMMANDS or argv[-1] != "--quiet":
        return None
    found = {"command": argv[1]}
    rest = argv[2:-1]
    if argv[1] != "record":
        if not rest or rest[0].startswith("-"):
            return None
        found["channel"], *rest = rest
    while rest:
        if len(rest) < 2 or rest[0] not in _VALUES or rest[1].startswith("-"):
            return None
        found[rest[0]], *rest = rest[1:]
    needed = {"--env"} if argv[1] == "record" else {"--env", "--incident"}
    return found if needed <= found.keys() else None
