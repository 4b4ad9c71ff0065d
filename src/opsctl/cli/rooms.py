"""The list of rooms: a new area costs one line here. Importing this imports no room."""

from __future__ import annotations


class Room:
    """One first word of the command line. `module` holds a Typer app named `app`.

    `formats` are those that single commands have beside the common ones, by command.
    `acts` are commands that change something and return no plan: they have no dry run.
    `default` is the command that is meant where none is named; of a room that is `alone` every
    word after the room's is its own, unless it is one of `others`. A dataclass would make
    `opsctl --help` twice as slow.
    """

    __slots__ = ("acts", "alone", "default", "formats", "help", "module", "name", "others")

    def __init__(
        self,
        name: str,
        help: str,
        module: str,
        *,
        acts: tuple[str, ...] = (),
        default: str = "",
        alone: bool = False,
        others: tuple[str, ...] = (),
        formats: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.name = name
        self.help = help
        self.module = module
        self.acts = acts
        self.default = default
        self.alone = alone
        self.others = others
        self.formats = formats or {}


ROOMS = (
    Room(
        "rollback",
        "Roll back migrations, releases and code, with proof and a way back.",
        "opsctl.areas.rollback.cli",
    ),
    Room(
        "backup",
        "Take backups in one snapshot, and prove them by restoring.",
        "opsctl.areas.backup.cli",
        acts=("create", "verify", "app", "remove"),
    ),
    Room(
        "restore",
        "Restore a database or tables, proven first, with a way back.",
        "opsctl.areas.restore.cli",
        acts=("fill", "schemas", "stage"),
    ),
    Room(
        "healthcheck",
        "Check endpoints, database and platforms; watch, alert, report.",
        "opsctl.areas.healthcheck.cli",
        acts=("install", "window add", "window remove"),
        default="run",
        formats={
            "run": ("openmetrics", "nagios"),
            "watch": ("openmetrics", "nagios"),
            "report": ("html", "openmetrics"),
        },
    ),
    Room(
        "rls-smoke",
        "Prove who may see and change which rows, and find the holes.",
        "opsctl.areas.rls_smoke.cli",
        default="check",
    ),
    Room(
        "slowquery",
        "Find the slow queries, with an honest P95 and a mend.",
        "opsctl.areas.slowquery.cli",
        default="check",
    ),
    Room(
        "bundle-check",
        "Measure what browsers download, and hold it to budgets.",
        "opsctl.areas.bundle_check.cli",
        default="check",
        alone=True,
        formats={"check": ("html",)},
    ),
    Room(
        "secrets-scan",
        "Find secrets in files, in git's history and in what browsers get.",
        "opsctl.areas.secrets_scan.cli",
        acts=("baseline create", "baseline prune"),
        default="scan",
        alone=True,
        others=("scan", "baseline"),
    ),
    Room(
        "diagnose",
        "Find out what is wrong, in the order an engineer would look.",
        "opsctl.areas.diagnose.cli",
    ),
    Room(
        "incident",
        "Open, tell, keep track of, resolve and write up incidents.",
        "opsctl.areas.incident.cli",
        acts=("log", "assign", "evidence", "postmortem", "record", "tell"),
        formats={"postmortem": ("html",)},
    ),
    Room(
        "maintenance",
        "Plan, announce, begin and end maintenance; tasks and reviews.",
        "opsctl.areas.maintenance.cli",
        acts=("plan", "cancel", "start", "finish", "task done", "review done", "tell"),
    ),
    Room(
        "rotate-keys",
        "Replace keys everywhere, see the new ones live, then end the old.",
        "opsctl.areas.rotate_keys.cli",
        acts=("write-env",),
    ),
    Room(
        "drill",
        "Break the sandbox, mend it, and measure how long that takes.",
        "opsctl.cli.drill",
        acts=("run", "start", "hint", "check", "stop", "restore"),
        default="run",
        alone=True,
        others=("list", "start", "hint", "check", "report", "stop", "restore"),
    ),
    Room(
        "runbook",
        "List, show and run procedures, and check their command lines.",
        "opsctl.cli.runbook",
    ),
    Room(
        "init",
        "Look at the repository and write settings that work.",
        "opsctl.cli.init",
        default="write",
        alone=True,
    ),
    Room(
        "status",
        "Show on one screen how an environment stands.",
        "opsctl.cli.status",
        default="show",
        alone=True,
    ),
    Room(
        "doctor",
        "Check tools, credentials, ways and records, with a remedy each.",
        "opsctl.cli.doctor",
        default="check",
        alone=True,
    ),
    Room(
        "runs",
        "List, show, approve, resume, undo, resolve, unlock and audit runs.",
        "opsctl.cli.runs",
        acts=("approve", "resolve", "unlock"),
        formats={"export": ("ndjson",)},
    ),
    Room(
        "state",
        "Show, prepare and move the record, a file or a team's PostgreSQL.",
        "opsctl.cli.state",
        acts=("prepare", "migrate", "approvals"),
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
        acts=("up", "down", "reset", "fault", "plane"),
    ),
    Room(
        "completion",
        "Print what a shell needs to complete command lines.",
        "opsctl.cli.completion",
        default="show",
        alone=True,
        others=("words",),
    ),
    Room(
        "man",
        "Print the manual page.",
        "opsctl.cli.manual",
        default="show",
        alone=True,
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

Every command takes --env, --config, --format, --output, --also, --dry-run,
--yes, --confirm, --no-input, --quiet and --verbose.

Exit codes: 0 done or well, 1 something is wrong, 2 the call is wrong, 3 could
not look or start, 4 stopped part-way, 5 refused by a guard.

Try it: opsctl sandbox up
"""


def root_help() -> str:
    """Return the text of `opsctl --help`."""
    width = max(len(room.name) for room in ROOMS)
    lines = "".join(f"  {room.name:<{width}}  {room.help}\n" for room in ROOMS)
    return _HEAD + lines + _TAIL
