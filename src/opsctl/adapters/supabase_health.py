"""What Supabase says of a project's own services and machine; it only reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from opsctl.adapters.rest import MISFITS, Patience, Rest

if TYPE_CHECKING:
    from opsctl.core.settings import Supabase

_SERVICES = ("auth", "db", "pooler", "realtime", "rest", "storage")
_PATIENCE = Patience(attempts=2)
_SAID = 200
_LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[^{}]*)\})?\s+(?P<value>[^\s]+)(?:\s+\d+)?"
)
_MOST_LINES = 50_000
_DISK = {"node_filesystem_size_bytes": "size", "node_filesystem_avail_bytes": "avail"}
_NO_DISK = re.compile(r'fstype="(tmpfs|ramfs|overlay|squashfs|vfat)"')
METRICS_PATH = "/customer/v1/privileged/metrics"
"""In the Prometheus text format; HTTP Basic, `service_role` and a secret key."""


@dataclass(frozen=True)
class Service:
    """One service of a project. `status` is ACTIVE_HEALTHY, COMING_UP or UNHEALTHY."""

    name: str
    status: str
    said: str

    @property
    def healthy(self) -> bool:
        """Whether it works."""
        return self.status == "ACTIVE_HEALTHY"


def read_services(project: Supabase) -> tuple[Service, ...]:
    """Ask how the services are: GET /v1/projects/{ref}/health.

    Raises OpsError `supabase-refused`, `supabase-unreachable`, `supabase-answer`, ... (exit 3).
    """
    rest = Rest(
        name="Supabase",
        code="supabase",
        api=project.api,
        token=project.access_token,
        setting="supabase",
        headers={},
        patience=_PATIENCE,
    )
    path = f"/v1/projects/{quote(project.ref or '', safe='')}/health"
    data = rest.get(path, {"services": ",".join(_SERVICES)}).data
    try:
        return tuple(_service(each) for each in data)
    except MISFITS:
        raise rest.not_understood(path) from None


def _service(data: Any) -> Service:
    status = str(data["status"])
    if "status" in data and data.get("healthy") is False and status == "ACTIVE_HEALTHY":
        status = "UNHEALTHY"
    return Service(str(data["name"])[:_SAID], status[:_SAID], str(data.get("error") or "")[:_SAID])


def read_machine(text: str) -> dict[str, float]:
    """Return shares in use, of 1, from a page of metrics: `memory`, `disk`; what it has of them.

    The disk is the fullest of those that hold data; memory is what is not available.
    """
    memory: dict[str, float] = {}
    sizes: dict[str, dict[str, float]] = {"size": {}, "avail": {}}
    for name, labels, value in _samples(text):
        if name in ("node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes"):
            memory[name] = value
        elif name in _DISK and _NO_DISK.search(labels) is None:
            sizes[_DISK[name]][labels] = value
    found: dict[str, float] = {}
    total = memory.get("node_memory_MemTotal_bytes", 0.0)
    available = memory.get("node_memory_MemAvailable_bytes")
    if total > 0 and available is not None:
        found["memory"] = min(max(1 - available / total, 0.0), 1.0)
    shares = [
        1 - sizes["avail"][labels] / size
        for labels, size in sizes["size"].items()
        if size > 0 and labels in sizes["avail"]
    ]
    if shares:
        found["disk"] = min(max(*shares, 0.0), 1.0)
    return found


def _samples(text: str) -> Iterator[tuple[str, str, float]]:
    for line in text.splitlines()[:_MOST_LINES]:
        match = None if line.startswith("#") or len(line) > 4096 else _LINE.fullmatch(line.strip())
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        if value == value and abs(value) < 1e18:
            yield match["name"], match["labels"] or "", value
