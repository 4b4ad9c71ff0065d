"""Supabase's own backups, restore points and recovery window, through the Management API.

Reading functions ask now; `restore_to_moment`, `restore_to_point` and `make_point` return a
Request. Shapes are those of the vendor's OpenAPI description (api_v1_openapi.json).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from opsctl.adapters.rest import MISFITS, Patience
from opsctl.adapters.supabase_management import Management
from opsctl.core.action import Expect, Probe, Request
from opsctl.core.errors import OpsError
from opsctl.core.settings import Supabase

_PATIENCE = Patience(attempts=2)


@dataclass(frozen=True)
class PlatformBackup:
    """One backup that Supabase made."""

    at: str
    kind: str
    """`physical` or `logical`."""
    status: str


@dataclass(frozen=True)
class PlatformBackups:
    """What Supabase keeps for a project, newest first."""

    backups: tuple[PlatformBackup, ...]
    pitr: bool
    earliest: str
    """Where point-in-time recovery begins, UTC; empty where it is off."""
    latest: str
    window: tuple[int, int] | None = None
    """The same two moments in seconds since 1970."""


def read_platform_backups(project: Supabase) -> PlatformBackups:
    """Ask for a project's backups: GET /v1/projects/{ref}/database/backups.

    Raises OpsError `supabase-refused`, `supabase-unreachable`, `supabase-answer`, ... (exit 3).
    """
    api = _api(project)
    path = f"{api.path}/database/backups"
    data = _read(api, path)
    try:
        return _parse(data)
    except (*MISFITS, OSError):  # a year that no calendar has
        raise _failed(api.rest.not_understood(path)) from None


def read_point(project: Supabase, name: str) -> str | None:
    """Return a restore point's status, or None where there is none of that name.

    AVAILABLE, PENDING, REMOVED or FAILED: GET /v1/projects/{ref}/database/backups/restore-point.
    Raises as `read_platform_backups` does.
    """
    api = _api(project)
    path = f"{api.path}{_POINT}"
    try:
        data = _read(api, path, {"name": name})
    except OpsError as error:
        if error.code == "supabase-not-found":
            return None
        raise
    try:
        return str(data["status"])
    except MISFITS:
        raise _failed(api.rest.not_understood(path)) from None


def restore_to_moment(project: Supabase, moment: int) -> Request:
    """Restore the whole project to a moment, seconds since 1970; it is away meanwhile."""
    return _post(project, "/database/backups/restore-pitr", {"recovery_time_target_unix": moment})


def restore_to_point(project: Supabase, name: str) -> Request:
    """Restore the whole project to a restore point; it is away meanwhile."""
    return _post(project, "/database/backups/undo", {"name": name})


def make_point(project: Supabase, name: str) -> Request:
    """Make a restore point; a name has at most twenty characters."""
    return _post(project, _POINT, {"name": name})


def point_probe(project: Supabase, name: str, *, attempts: int, pause_s: float) -> Probe:
    """Return a look that says applied once a restore point can be restored to."""
    return Probe(
        _ask(project, f"{_POINT}?{urlencode({'name': name})}"),
        Expect(status=200, contains=('"status":"AVAILABLE"',)),
        attempts=attempts,
        pause_s=pause_s,
    )


def healthy_probe(project: Supabase, *, attempts: int, pause_s: float) -> Probe:
    """Return a look that says applied once the platform calls the project healthy."""
    return Probe(
        _ask(project, ""),
        Expect(status=200, contains=('"status":"ACTIVE_HEALTHY"',)),
        attempts=attempts,
        pause_s=pause_s,
    )


_POINT = "/database/backups/restore-point"


def _api(project: Supabase) -> Management:
    api = Management(project, patience=_PATIENCE)
    if project.ref is None or project.access_token is None:
        why = "the settings have no supabase.ref or access_token"
        raise _failed(api.rest.failed("refused", why))
    return api


def _read(api: Management, path: str, query: Mapping[str, str] | None = None) -> Any:
    try:
        return api.rest.get(path, query).data
    except OpsError as error:
        raise _failed(error) from None


def _ask(project: Supabase, path: str) -> Request:
    return Request(
        "GET",
        _url(project, path),
        secret_headers=(("Authorization", f"bearer:{project.access_token}"),),
    )


def _post(project: Supabase, path: str, body: dict[str, Any]) -> Request:
    return Request(
        "POST",
        _url(project, path),
        headers=(("Content-Type", "application/json"),),
        secret_headers=(("Authorization", f"bearer:{project.access_token}"),),
        body=json.dumps(body),
    )


def _url(project: Supabase, path: str) -> str:
    return f"{project.api.rstrip('/')}/v1/projects/{project.ref}{path}"


def _parse(data: dict[str, Any]) -> PlatformBackups:
    physical = data.get("physical_backup_data") or {}
    earliest = physical.get("earliest_physical_backup_date_unix")
    latest = physical.get("latest_physical_backup_date_unix")
    found = [
        PlatformBackup(
            at=str(each["inserted_at"]),
            kind="physical" if each["is_physical_backup"] else "logical",
            status=str(each["status"]).lower(),
        )
        for each in data["backups"]
    ]
    return PlatformBackups(
        backups=tuple(sorted(found, key=lambda each: each.at, reverse=True)),
        pitr=bool(data["pitr_enabled"]),
        earliest=_time(earliest),
        latest=_time(latest),
        window=None if earliest is None or latest is None else (int(earliest), int(latest)),
    )


def _time(seconds: Any) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M UTC")


def _failed(error: OpsError) -> OpsError:
    """Return the API's error as one about its backups."""
    return OpsError(
        "Supabase could not be asked for its own backups",
        why=error.why,
        hint="check supabase.ref and supabase.access_token in the settings",
        code=error.code,
        exit=error.exit,
    )
