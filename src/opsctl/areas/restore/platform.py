"""Let the platform restore the whole project: to a moment, or to a restore point.

Supabase answers before it has done anything, and its API says nowhere what a project was restored
to. The server itself does: recovery from an archive always begins a new timeline. So the timeline
of before is written into the plan, and a later one is the proof.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsctl.adapters import supabase_platform
from opsctl.adapters.http import endpoint_probe
from opsctl.adapters.postgres import connect
from opsctl.areas.restore.facts import Target, database_of, read_target, refuse, url_of
from opsctl.areas.restore.plan import backup_step
from opsctl.core.action import Probe, Query
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Loss, Plan, Step

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.settings import Supabase

_ATTEMPTS, _PAUSE_S = 480, 15.0
"""Two hours: the platform's own estimate for a large project is in hours."""

_POINT_ATTEMPTS, _POINT_PAUSE_S = 60, 5.0
_ESTIMATE_S = 900.0
_POINT_NAME = re.compile(r"[A-Za-z0-9_-]{1,20}")


def plan_restore_platform(call: Call, *, at: str | None, point: str | None) -> Plan:
    """Return the plan that restores the project by the platform's own means.

    Exactly one of `at`, a moment as ISO 8601 writes it, UTC unless it says otherwise, and
    `point` is given. Raises OpsError `usage`, `no-supabase`, `pitr-off`, `moment-out-of-window`,
    `no-such-point`, and what the API and the database raise.
    """
    if (at is None) == (point is None):
        raise OpsError(
            "It was not said what to restore the project to",
            why="a moment or a restore point is needed, and not both",
            hint="opsctl restore platform --at 2026-01-31T12:00:00Z",
            code="usage",
        )
    project = _project(call)
    call.say("Asking the platform what it can restore to")
    if at is not None:
        moment = _moment(at)
        _check_window(project, moment)
        what = f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
        action = supabase_platform.restore_to_moment(project, moment)
    else:
        name = _point_name(point or "")
        _check_point(project, name)
        what = f"the restore point {name}"
        action = supabase_platform.restore_to_point(project, name)
    url = url_of(call)
    target = read_target(url)
    timeline = _timeline(url)
    database = database_of(call).url
    steps = [
        *((backup_step(call.name, str(call.root)),) if target.has_data else ()),
        Step(
            id="restore",
            title=f"Let Supabase restore the project {project.ref} to {what}",
            safety="verify",
            action=action,
            check=Probe(
                Query(database, (_later_than(timeline),), read_only=True),
                attempts=_ATTEMPTS,
                pause_s=_PAUSE_S,
            ),
            undo=Irreversible(
                "the platform cannot take it back; the backup made before it can be restored: "
                "opsctl restore db"
            ),
            detail=(f"{action.method} {action.url}",),
        ),
        Step(
            id="healthy",
            title="Supabase calls the project healthy",
            safety="idempotent",
            check=supabase_platform.healthy_probe(project, attempts=_ATTEMPTS, pause_s=_PAUSE_S),
        ),
        *(
            Step(
                id=f"health-{endpoint.name}",
                title=f"{endpoint.name} answers {endpoint.status}",
                safety="idempotent",
                check=endpoint_probe(endpoint),
            )
            for endpoint in call.environment.health
        ),
    ]
    return Plan(
        command="restore platform",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Restore the whole project {project.ref} to {what}",
        steps=tuple(steps),
        losses=_losses(target, what),
        notes=(
            "The project is away while the platform restores it: minutes to hours, by its size.",
            "Everything in it goes back, auth and storage's tables included; files in storage "
            "do not.",
            f"It is proven by the server's timeline, which is {timeline} now: a recovery begins "
            "a later one.",
        ),
        facts={"to": what, "timeline": timeline, "project": project.ref},
        estimate_s=_ESTIMATE_S,
        needs_name=True,
    )


def plan_point(call: Call, name: str) -> Plan:
    """Return the plan that makes a restore point of the platform.

    Raises OpsError `usage`, `no-supabase`, `point-exists`, and what the API raises.
    """
    project = _project(call)
    name = _point_name(name)
    status = supabase_platform.read_point(project, name)
    if status is not None:
        raise refuse(
            f"The restore point {name} was not made",
            f"there is one of that name, and it is {status.lower()}",
            hint="opsctl restore point ANOTHER",
            code="point-exists",
        )
    return Plan(
        command=f"restore point {name}",
        environment=call.name,
        protected=call.environment.protected,
        title=f"Make the restore point {name} of the project {project.ref}",
        steps=(
            Step(
                id="point",
                title=f"Supabase makes the restore point {name}",
                safety="verify",
                action=supabase_platform.make_point(project, name),
                check=supabase_platform.point_probe(
                    project, name, attempts=_POINT_ATTEMPTS, pause_s=_POINT_PAUSE_S
                ),
                undo=Irreversible("the platform has no way to remove one; it lapses by itself"),
            ),
        ),
        notes=(f"Back to it: opsctl restore platform --env {call.name} --point {name}",),
        facts={"project": project.ref, "point": name},
        estimate_s=60.0,
    )


def _project(call: Call) -> Supabase:
    supabase = call.environment.supabase
    if supabase is None or supabase.ref is None or supabase.access_token is None:
        raise OpsError(
            f"The environment {call.name} names no Supabase project",
            why="its settings have no supabase.ref or no supabase.access_token",
            hint=f"set environments.{call.name}.supabase in the settings",
            code="no-supabase",
        )
    return supabase


def _moment(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise OpsError(
            f"The moment {text!r} was not understood",
            why="it is not written as ISO 8601 writes it",
            hint="opsctl restore platform --at 2026-01-31T12:00:00Z",
            code="usage",
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _check_window(project: Supabase, moment: int) -> None:
    found = supabase_platform.read_platform_backups(project)
    if not found.pitr or found.window is None:
        raise refuse(
            "The project cannot be restored to a moment",
            "point-in-time recovery is off, says the platform",
            hint="opsctl restore db: restore one of our own backups",
            code="pitr-off",
        )
    if not found.window[0] <= moment <= found.window[1]:
        raise refuse(
            f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC was not taken",
            f"the platform can restore to between {found.earliest} and {found.latest}",
            hint="opsctl restore platform --at a moment within",
            code="moment-out-of-window",
        )


def _point_name(name: str) -> str:
    if not _POINT_NAME.fullmatch(name):
        raise OpsError(
            f"The name {name!r} was not taken for a restore point",
            why="a name has letters, digits, _ and -, and at most 20 of them",
            hint="opsctl restore point before-release",
            code="usage",
        )
    return name


def _check_point(project: Supabase, name: str) -> None:
    status = supabase_platform.read_point(project, name)
    if status != "AVAILABLE":
        raise refuse(
            f"The project cannot be restored to the restore point {name}",
            "the platform has none of that name"
            if status is None
            else f"the platform says that it is {status.lower()}",
            hint=f"opsctl restore point {name}: make one before a risky change",
            code="no-such-point",
        )


def _timeline(url: str) -> int:
    with connect(url) as connection:
        row = connection.execute(f"SELECT {_TIMELINE}".encode()).fetchone()
    if row is None or row[0] is None:
        raise OpsError(
            "The server's timeline was not read",
            why="it is a standby",
            hint="name the primary in database.url",
            code="standby",
            exit=Exit.UNKNOWN,
        )
    return int(row[0])


_TIMELINE = (
    "CASE WHEN NOT pg_is_in_recovery() THEN "
    "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END"
)
"""The first eight digits of a WAL file's name; every role may ask."""


def _later_than(timeline: int) -> str:
    return (
        f"SELECT CASE WHEN t.now IS NULL THEN 'unknown' WHEN t.now > {timeline} THEN 'applied' "
        f"ELSE 'absent' END, CASE WHEN t.now IS NULL THEN 'the server is recovering' "
        f"ELSE 'the timeline is ' || t.now END FROM (SELECT {_TIMELINE} AS now) AS t"
    )


def _losses(target: Target, what: str) -> tuple[Loss, ...]:
    rows = sum(target.rows.values())
    name = f"written after {what}, of {len(target.rows)} tables"
    return (Loss("rows", name, rows, None, "in the backup that is made first"),)
