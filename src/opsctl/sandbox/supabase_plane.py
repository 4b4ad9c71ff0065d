"""The part of Supabase's Management API that opsctl uses for one project.

Paths and shapes follow the vendor's OpenAPI description (api_v1_openapi.json); the vendor's own
client is driven against it in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from opsctl.sandbox.plane import Answered, Asked, ControlPlane
from opsctl.sandbox.supabase_keys import (
    answer_keys,
    answer_secrets,
    answer_signing_keys,
    count_prefixes,
    new_project_keys,
    new_signing_key,
)

_SERVED = (("rest", "v1"), ("auth", "v1"))
"""What passes the project's gateway."""
_MOST_LOGGED = 10_000
_ME = {
    "gotrue_id": "11111111-2222-4333-8444-555555555555",
    "primary_email": "sandbox@example.com",
    "username": "sandbox",
}
_SERVICES = ("auth", "db", "pooler", "realtime", "rest", "storage")


class SupabasePlane(ControlPlane):
    """One project: its backups, its keys and secrets, its services and its gateway's log."""

    KIND = "supabase"
    KEPT: ClassVar[tuple[str, ...]] = (
        "pitr", "window", "status", "points", "restored", "legacy_enabled", "keys",
        "signing_keys", "function_secrets", "gateway_log", "services", "auth_config", "backups",
    )  # fmt: skip

    def __init__(self, *, token: str, ref: str) -> None:
        super().__init__(token=token)
        self.ref = ref
        self.pitr = False
        self.window: tuple[int, int] | None = None
        """Earliest and latest moment of point-in-time recovery, seconds since 1970."""
        self.status = "ACTIVE_HEALTHY"
        self.legacy_enabled: bool | None = True
        """Whether the legacy keys work; None: the project never had any."""
        self.points: dict[str, str] = {}
        """Restore points by name: PENDING, AVAILABLE, REMOVED or FAILED."""
        self.restored: list[int | str] = []
        """What the project was restored to: moments in seconds since 1970, and points."""
        self.restore: Callable[[int | str], None] | None = None
        """Carries a restore out; called before the answer is given."""
        self.set_password: Callable[[str], None] | None = None
        """Gives the database another password; called before the answer is given."""
        self.passwords = 0
        """How often it was."""
        self.backups: list[dict[str, Any]] = []
        self.keys = new_project_keys()
        self.signing_keys = [
            new_signing_key("ES256", "in_use"), new_signing_key("HS256", "previously_used"),
        ]  # fmt: skip
        self.function_secrets: dict[str, dict[str, Any]] = {}
        self.gateway_log: list[dict[str, Any]] = []
        """What passed the gateway: timestamp (RFC 3339, UTC) and prefix of the key used."""
        self.services = dict.fromkeys(_SERVICES, "ACTIVE_HEALTHY")
        self.auth_config: dict[str, Any] = {
            "jwt_exp": 3600, "site_url": "http://127.0.0.1:3000", "uri_allow_list": "",
        }  # fmt: skip
        self.role: str | None = "Owner"
        """In the organisation, of whose token it is; None: he is no member."""
        self.disk_bytes, self.used_bytes = 8 << 30, 1 << 30

    def put_backup(self, at: str, *, physical: bool = True, status: str = "COMPLETED") -> None:
        """Keep one backup; `at` is ISO 8601, UTC."""
        self.backups.append(
            {
                "id": len(self.backups) + 1,
                "is_physical_backup": physical,
                "status": status,
                "inserted_at": at,
            }
        )

    def refuse(self, asked: Asked) -> Answered:
        """Answer as Supabase does to a token that it does not know."""
        return Answered(401, {"message": "Unauthorized"})

    def shows_token(self, asked: Asked) -> bool:
        """Whether a request may be answered: what passes the gateway shows a key instead."""
        return asked.parts[:2] in _SERVED or super().shows_token(asked)

    def act(self, name: str, data: Mapping[str, Any]) -> Any:
        """Write a line of the gateway's log, or set how the services are."""
        match name:
            case "gateway":
                self.gateway_log.append({"timestamp": data["timestamp"], "prefix": data["prefix"]})
                return {}
            case "set":
                for service, status in data.get("services", {}).items():
                    self.services[service] = status
                return {}
        raise KeyError(name)

    def answer(self, asked: Asked) -> Answered:
        """Answer one request."""
        if asked.parts[:2] in _SERVED:
            return self._pass_gateway(asked)
        if asked.parts == ("v1", "profile"):
            return Answered(data=_ME)
        if asked.parts == ("v1", "organizations", "sandbox", "members"):
            return Answered(data=self._members())
        if asked.parts[:3] != ("v1", "projects", self.ref):
            return Answered(404, {"message": f"Cannot {asked.method} {asked.path}"})
        match (asked.method, *asked.parts[3:]):
            case ("GET",):
                return Answered(data=self._project())
            case ("GET" | "PUT" as method, "api-keys", "legacy"):
                if self.legacy_enabled is None:
                    return Answered(404, {"message": "Not Found"})
                if method == "PUT":
                    self.legacy_enabled = asked.query.get("enabled") == "true"
                return Answered(data={"enabled": self.legacy_enabled})
            case (_, "api-keys", *rest):
                return answer_keys(self.keys, asked, tuple(rest)) or self._no_path(asked)
            case (_, "config", "auth", "signing-keys", *rest):
                found = answer_signing_keys(self.signing_keys, asked, tuple(rest))
                return found or self._no_path(asked)
            case ("PATCH", "database", "password"):
                return self._set_password(asked.body)
            case (_, "secrets"):
                return answer_secrets(self.function_secrets, asked) or self._no_path(asked)
            case ("GET", "health"):
                return Answered(data=self._services(asked.query.get("services", "")))
            case ("GET", "analytics", "endpoints", "logs" | "logs.all"):
                return Answered(data={"result": count_prefixes(self.gateway_log, asked.query)})
            case ("GET", "config", "disk", "util"):
                size, used = self.disk_bytes, self.used_bytes
                metrics = {"fs_size_bytes": size, "fs_avail_bytes": size - used,
                           "fs_used_bytes": used}  # fmt: skip
                return Answered(data={"timestamp": "2026-01-01T00:00:00Z", "metrics": metrics})
            case ("GET" | "PATCH" as method, "config", "auth"):
                if method == "PATCH" and isinstance(asked.body, dict):
                    self.auth_config.update(asked.body)
                return Answered(data=self.auth_config)
            case ("GET", "database", "backups"):
                return Answered(data=self._listed())
            case ("GET", "database", "backups", "restore-point"):
                return self._point(asked.query.get("name", ""))
            case ("POST", "database", "backups", "restore-point"):
                return self._make_point(asked.body)
            case ("POST", "database", "backups", "restore-pitr"):
                return self._restore(asked.body, "recovery_time_target_unix")
            case ("POST", "database", "backups", "undo"):
                return self._restore(asked.body, "name")
        return self._no_path(asked)

    def _pass_gateway(self, asked: Asked) -> Answered:
        """Answer as the project itself: who shows a key that works, and from no browser."""
        shown = asked.headers.get("apikey", "")
        key = next((each for each in self.keys if each["api_key"] == shown), None)
        off = key is not None and key["type"] == "legacy" and self.legacy_enabled is not True
        if key is None or off:
            return Answered(401, {"message": "Invalid API key"})
        browser = asked.headers.get("user-agent", "").startswith("Mozilla/")
        privileged = key["type"] == "secret" or key["name"] == "service_role"
        if key["type"] == "secret" and browser:
            return Answered(401, {"message": "Forbidden use of secret API key in browser"})
        prefix = key["prefix"] or shown[:5]
        stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        self.gateway_log.append({"timestamp": stamp, "prefix": prefix})
        del self.gateway_log[:-_MOST_LOGGED]
        if asked.parts[:4] == ("auth", "v1", "admin", "users") and not privileged:
            return Answered(403, {"code": 403, "msg": "User not allowed"})
        return Answered(data={"users": []} if asked.parts[0] == "auth" else {"swagger": "2.0"})

    def _set_password(self, body: Any) -> Answered:
        password = body.get("password") if isinstance(body, dict) else None
        if not isinstance(password, str) or len(password) < 4:
            return Answered(400, {"message": "password must be longer than or equal to 4"})
        if self.set_password is not None:
            self.set_password(password)
        self.passwords += 1
        return Answered(data={"message": "Successfully updated password"})

    def _no_path(self, asked: Asked) -> Answered:
        return Answered(404, {"message": f"Cannot {asked.method} {asked.path}"})

    def _services(self, wanted: str) -> list[dict[str, Any]]:
        names = [name for name in wanted.split(",") if name in self.services] or self.services
        return [
            {
                "name": name,
                "healthy": self.services[name] == "ACTIVE_HEALTHY",
                "status": self.services[name],
            }
            for name in names
        ]

    def _members(self) -> list[dict[str, Any]]:
        one = {"user_name": "somebody", "email": "somebody@example.com", "mfa_enabled": True}
        mine = {**one, "user_id": _ME["gotrue_id"], "role_name": self.role}
        others = [{**one, "user_id": "0" * 32, "role_name": "Owner"}]
        return others if self.role is None else [*others, mine]

    def _project(self) -> dict[str, Any]:
        return {
            "id": self.ref,
            "ref": self.ref,
            "organization_id": "sandbox",
            "organization_slug": "sandbox",
            "name": "sandbox",
            "region": "eu-central-1",
            "created_at": "2026-01-05T09:00:00Z",
            "status": self.status,
            "database": {
                "host": f"db.{self.ref}.supabase.co",
                "version": "17.6.1.054",
                "postgres_engine": "17",
                "release_channel": "ga",
            },
        }

    def _point(self, name: str) -> Answered:
        if name not in self.points:
            return Answered(404, {"message": "Restore point not found"})
        return Answered(data={"name": name, "status": self.points[name]})

    def _make_point(self, body: Any) -> Answered:
        name = body.get("name") if isinstance(body, dict) else None
        if not isinstance(name, str) or not 0 < len(name) <= 20:
            return Answered(400, {"message": "name must be shorter than or equal to 20 characters"})
        self.points[name] = "AVAILABLE"
        return Answered(201, {"name": name, "status": "PENDING"})

    def _restore(self, body: Any, key: str) -> Answered:
        to = body.get(key) if isinstance(body, dict) else None
        if key == "name" and (not isinstance(to, str) or self.points.get(to) != "AVAILABLE"):
            return Answered(400, {"message": "Restore point not available"})
        if key != "name":
            window = self.window if self.pitr else None
            if not isinstance(to, int) or window is None or not window[0] <= to <= window[1]:
                return Answered(400, {"message": "recovery_time_target_unix is out of range"})
        assert isinstance(to, (int, str))
        self.restored.append(to)
        if self.restore is not None:
            self.restore(to)
        return Answered(201, b"")

    def _listed(self) -> dict[str, Any]:
        physical: dict[str, int] = {}
        if self.window is not None:
            physical = {
                "earliest_physical_backup_date_unix": self.window[0],
                "latest_physical_backup_date_unix": self.window[1],
            }
        return {
            "region": "eu-central-1",
            "walg_enabled": True,
            "pitr_enabled": self.pitr,
            "backups": self.backups,
            "physical_backup_data": physical,
        }
