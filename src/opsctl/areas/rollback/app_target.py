"""How a deployment is now, asked at its own address, before production is pointed to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opsctl.adapters.health_watch import what_is_wrong
from opsctl.adapters.http import fetch_all
from opsctl.adapters.vercel import Deployment, Production
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.settings import HealthEndpoint

_PROTECTED = (301, 302, 303, 307, 308, 401, 403)
"""What deployment protection answers: a log-in page, or no."""


@dataclass(frozen=True)
class TargetHealth:
    """What a deployment's own address answered."""

    ill: tuple[str, ...]
    """What answered, and not as a healthy one does; a line each."""
    well: tuple[str, ...]
    """Names of the endpoints that answered well."""
    notes: tuple[str, ...]
    """Why others could not be asked."""


def ask_target(call: Call, production: Production, target: Deployment) -> TargetHealth:
    """Ask the health endpoints of production's domains at the deployment's own address."""
    domains = {each.name for each in production.domains}
    endpoints = [each for each in call.environment.health if urlsplit(each.url).netloc in domains]
    if not endpoints:
        return TargetHealth((), (), ())
    elsewhere = [_at(each, target.url) for each in endpoints]
    ill, well, notes = [], [], []
    for endpoint, answer in zip(elsewhere, fetch_all(elsewhere), strict=True):
        wrong = what_is_wrong(endpoint, answer)
        if not wrong:
            well.append(endpoint.name)
        elif answer.failure is not None or answer.status in _PROTECTED:
            notes.append(f"{endpoint.name} at {target.url}: {wrong}")
        else:
            ill.append(f"{endpoint.name} at {target.url}: {wrong}")
    if notes:
        notes = [f"The target could not be asked before it is live ({'; '.join(notes)})."]
    return TargetHealth(tuple(ill), tuple(well), tuple(notes))


def refusal(found: TargetHealth, target: Deployment) -> OpsError | None:
    """Return the error that stops a roll-back to a deployment that is ill itself, or None."""
    if not found.ill:
        return None
    return OpsError(
        f"{target.id} is not well itself",
        why="\n".join(found.ill),
        hint="choose another one: opsctl rollback app status; or go on all the same: --accept-ill",
        code="target-ill",
        exit=Exit.REFUSED,
    )


def _at(endpoint: HealthEndpoint, host: str) -> HealthEndpoint:
    """Return the endpoint at another host; Vercel's are https, the sandbox's are not."""
    parts = urlsplit(endpoint.url)
    scheme = "http" if host.startswith(("127.0.0.1:", "localhost:")) else "https"
    url = parts._replace(scheme=scheme, netloc=host).geturl()
    return endpoint.model_copy(update={"url": url})
