"""The part of Statuspage's API that incident handling uses, and the page's public summary."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from opsctl.sandbox.plane import Answered, Asked, ControlPlane

_STATUSES = ("investigating", "identified", "monitoring", "resolved", "scheduled", "in_progress",
             "verifying", "completed")  # fmt: skip
_OVER = ("resolved", "completed", "postmortem")
_COMPONENT = ("operational", "degraded_performance", "partial_outage", "major_outage",
              "under_maintenance")  # fmt: skip


class StatuspagePlane(ControlPlane):
    """One page: its components and incidents."""

    KIND = "statuspage"
    KEPT: ClassVar[tuple[str, ...]] = ("page", "components", "incidents")

    def __init__(self, *, token: str, page: str = "sandboxpage1") -> None:
        super().__init__(token=token)
        self.page = page
        self.components: dict[str, dict[str, str]] = {
            f"component{number:03}": {"name": name, "status": "operational"}
            for number, name in enumerate(("Website", "API"), 1)
        }
        """name and status, by id."""
        self.incidents: list[dict[str, Any]] = []

    def shows_token(self, asked: Asked) -> bool:
        """Whether a request shows the key; the public summary needs none."""
        return asked.path == "/api/v2/summary.json" or super().shows_token(asked)

    def refuse(self, asked: Asked) -> Answered:
        """Answer as Statuspage does to a key that it does not know."""
        return Answered(401, {"error": "Could not authenticate"})

    def too_many(self, asked: Asked) -> Answered:
        """Answer as Statuspage does to too many requests."""
        return Answered(420, {"error": "Too many requests"})

    def act(self, name: str, data: Mapping[str, Any]) -> Any:
        """Set a component's status as somebody else would."""
        if name != "component":
            raise KeyError(name)
        self.components[str(data["id"])]["status"] = str(data["status"])
        return {}

    def answer(self, asked: Asked) -> Answered:
        """Answer one request."""
        if asked.path == "/api/v2/summary.json":
            return Answered(data=self._summary())
        if asked.parts[:3] != ("v1", "pages", self.page):
            return Answered(404, {"error": "Not found"})
        match (asked.method, *asked.parts[3:]):
            case ("GET", "components"):
                return Answered(data=self._components())
            case ("GET", "incidents"):
                return Answered(data=self.incidents[::-1])
            case ("GET", "incidents", "unresolved"):
                open_ = [each for each in self.incidents if each["status"] not in _OVER]
                return Answered(data=open_[::-1])
            case ("POST", "incidents"):
                return self._create(asked.body)
            case (method, "incidents", id):
                found = next((each for each in self.incidents if each["id"] == id), None)
                if found is None:
                    return Answered(404, {"error": "Not found"})
                if method in ("PATCH", "PUT"):
                    return self._update(found, asked.body)
                if method == "DELETE":
                    self.incidents.remove(found)
                return Answered(data=found)
        return Answered(404, {"error": "Not found"})

    def _create(self, body: Any) -> Answered:
        given = body.get("incident") if isinstance(body, dict) else None
        if not isinstance(given, dict) or not given.get("name"):
            return Answered(422, {"error": ["Name can't be blank"]})
        now = _now()
        incident = {
            "id": secrets.token_hex(6),
            "page_id": self.page,
            "name": given["name"],
            "status": "investigating",
            "impact": given.get("impact_override") or "none",
            "impact_override": given.get("impact_override"),
            "shortlink": "https://stspg.example/i/1",
            "created_at": now,
            "updated_at": now,
            "resolved_at": None,
            "incident_updates": [],
            "components": [],
            "metadata": {},
        }
        answer = self._update(incident, body)
        if answer.status != 200:
            return answer
        self.incidents.append(incident)
        return Answered(201, incident)

    def _update(self, incident: dict[str, Any], body: Any) -> Answered:
        given = body.get("incident") if isinstance(body, dict) else None
        if not isinstance(given, dict):
            return Answered(400, {"error": "incident is missing"})
        status = given.get("status", incident["status"])
        changes = given.get("components") or {}
        metadata = given.get("metadata", incident["metadata"])
        if not isinstance(metadata, dict) or not all(
            isinstance(value, dict) for value in metadata.values()
        ):
            return Answered(422, {"error": ["Metadata values must be objects"]})
        if status not in _STATUSES:
            return Answered(422, {"error": [f"Status {status} is unknown"]})
        if set(changes) - set(self.components) or set(changes.values()) - set(_COMPONENT):
            return Answered(422, {"error": ["Components are unknown"]})
        for id, value in changes.items():
            self.components[id]["status"] = value
        now = _now()
        incident.update(
            name=given.get("name", incident["name"]),
            status=status,
            updated_at=now,
            metadata=metadata,
        )
        if status in _OVER:
            incident["resolved_at"] = now
        touched = [each for each in self._components() if each["id"] in changes]
        if touched:
            incident["components"] = touched
        if "body" in given or "status" in given:
            update = {"id": secrets.token_hex(6), "status": status, "body": given.get("body", ""),
                      "created_at": now, "incident_id": incident["id"]}  # fmt: skip
            incident["incident_updates"].insert(0, update)
        return Answered(data=incident)

    def _components(self) -> list[dict[str, Any]]:
        return [{"id": id, "page_id": self.page, **each} for id, each in self.components.items()]

    def _summary(self) -> dict[str, Any]:
        ill = any(each["status"] != "operational" for each in self.components.values())
        return {
            "page": {"id": self.page, "name": "Sandbox", "url": self.url, "time_zone": "Etc/UTC",
                     "updated_at": _now()},
            "components": self._components(),
            "incidents": [each for each in self.incidents if each["status"] not in _OVER],
            "scheduled_maintenances": [],
            "status": {"indicator": "minor" if ill else "none",
                       "description": "Partially Degraded Service" if ill
                       else "All Systems Operational"},
        }  # fmt: skip


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"
