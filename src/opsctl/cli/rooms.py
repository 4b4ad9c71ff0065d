"""The list of rooms: a new area costs one line here. Importing this imports no room."""

from __future__ import annotations


class Room:
    """One first word of the command line. `module` holds a Typer app named `app`.

    `acts` are commands that change something and return no plan: they have no dry run. A
    dataclass would make `opsctl --help` twice as slow.
    """

    __slots__ = ("acts", "help", "module", "name")

    def __init__(self, name: str, help: str, module: str, *, acts: tuple[str, ...] = ()) -> None:
        self.name = name
        self.help = help
        self.module = module
        self.acts = acts


ROOMS = (
    Room(
        "rollback",
        "Roll back a database migration, with proof and a way back.",
        "opsctl.areas.rollback.cli",
        acts=("backup",),
    ),
    Room(
        "healthcheck",
        "Check the endpoints and the database of an environment.",
        "opsctl.areas.healthcheck.cli",
    ),
    Room(
        "runs",
        "List, show, resume, undo, resolve and unlock runs.",
        "opsctl.cli.runs",
        acts=("resolve", "unlock"),
    ),
    Room(
        "config",
        "Show, check and describe the settings.",
        "opsctl.cli.config",
    ),
    Room(
        "sandbox",
        "Start and stop an embedded world to try things in.",
        "opsctl.cli.sandbox",
        acts=("up", "down", "reset"),
    ),
)

_HEAD = """\
Usage: opsctl [OPTIONS] COMMAND [ARGS]...

  Carry out and check the runbooks of an application on Supabase, Prisma, Vercel
  and GitHub.

Commands:
"""

_TAIL = """\

Options:
  --version  Print the version and exit.
  --help     Print this and exit; also after any command.

Every command takes --env, --config, --format, --output, --dry-run, --yes,
--confirm, --no-input, --quiet and --verbose.

Exit codes: 0 done or well, 1 something is wrong, 2 the call is wrong, 3 could
not look or start, 4 stopped part-way, 5 refused by a guard.

Try it: opsctl sandbox up
"""


def root_help() -> str:
    """Return the text of `opsctl --help`."""
    width = max(len(room.name) for room in ROOMS)
    lines = "".join(f"  {room.name:<{width}}  {room.help}\n" for room in ROOMS)
    return _HEAD + lines + _TAIL
