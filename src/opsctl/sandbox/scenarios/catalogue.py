"""The scenarios, in the order that `opsctl drill list` shows them."""

from __future__ import annotations

from opsctl.core.errors import OpsError
from opsctl.core.misfits import did_you_mean
from opsctl.sandbox.scenarios.database import DATABASE_DOWN, LOST_DATA, SLOW_QUERY
from opsctl.sandbox.scenarios.releases import BAD_DEPLOYMENT, BAD_MIGRATION, BUNDLE_BLOW_UP
from opsctl.sandbox.scenarios.scenario import Scenario
from opsctl.sandbox.scenarios.security import LEAKED_KEY, RLS_HOLE

SCENARIOS: tuple[Scenario, ...] = (
    BAD_MIGRATION,
    BAD_DEPLOYMENT,
    LEAKED_KEY,
    RLS_HOLE,
    SLOW_QUERY,
    DATABASE_DOWN,
    LOST_DATA,
    BUNDLE_BLOW_UP,
)


def find_scenario(name: str) -> Scenario:
    """Return a scenario; raises OpsError `no-such-scenario`."""
    found = next((each for each in SCENARIOS if each.name == name), None)
    if found is None:
        names = [each.name for each in SCENARIOS]
        raise OpsError(
            f"There is no scenario {name!r}",
            why=f"there are {', '.join(names)}",
            hint=did_you_mean(name, names) or "opsctl drill list",
            code="no-such-scenario",
        )
    return found
