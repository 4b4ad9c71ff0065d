"""What the Management API says of one project: its disk and its settings of Auth; it only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsctl.adapters.rest import MISFITS, Patience, Rest
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.core.settings import Supabase

_PATIENCE = Patience(attempts=2)


@dataclass(frozen=True)
class Disk:
    """The disk that the database lies on, in bytes."""

    size: int
    used: int


@dataclass(frozen=True)
class AuthConfig:
    """Where sign-in may lead, as the project is configured."""

    site_url: str
    redirect_urls: tuple[str, ...]


def read_disk(project: Supabase) -> Disk:
    """Ask how full the disk is: GET /v1/projects/{ref}/config/disk/util.

    Raises OpsError `supabase-refused`, `supabase-unreachable`, `supabase-answer`, ... (exit 3).
    """
    data = _get(project, "config/disk/util")
    try:
        size, used = (data["metrics"][name] for name in ("fs_size_bytes", "fs_used_bytes"))
        return Disk(size=int(size), used=int(used))
    except MISFITS:
        raise _rest(project).not_understood("config/disk/util") from None


def read_auth_config(project: Supabase) -> AuthConfig:
    """Ask where sign-in may lead: GET /v1/projects/{ref}/config/auth; raises as `read_disk`."""
    data = _get(project, "config/auth")
    try:
        site, allowed = data["site_url"], data["uri_allow_list"]
        return AuthConfig(
            site_url=str(site or ""),
            redirect_urls=tuple(
                each.strip() for each in str(allowed or "").split(",") if each.strip()
            ),
        )
    except MISFITS:
        raise _rest(project).not_understood("config/auth") from None


def _get(project: Supabase, path: str) -> Any:
    try:
        return _rest(project).get(f"/v1/projects/{project.ref}/{path}").data
    except OpsError as error:
        error.hint = error.hint.replace("supabase.token", "supabase.access_token and supabase.ref")
        raise


def _rest(project: Supabase) -> Rest:
    return Rest(
        name="Supabase",
        code="supabase",
        api=project.api,
        token=project.access_token,
        setting="supabase",
        headers={"Accept": "application/json"},
        patience=_PATIENCE,
    )
