"""What stands at the end of the way: pooler or server, which version, who we are; the provider."""

from __future__ import annotations

from datetime import date, datetime

from opsctl.adapters.statuspage import ProviderStatus
from opsctl.areas.diagnose.facts import Way
from opsctl.areas.diagnose.findings import green, note, red, unknown, yellow
from opsctl.core.report import Finding

_SUPPORT_ENDS = {
    13: date(2025, 11, 13), 14: date(2026, 11, 12), 15: date(2027, 11, 11),
    16: date(2028, 11, 9), 17: date(2029, 11, 8), 18: date(2030, 11, 14),
}  # fmt: skip
"""From PostgreSQL's versioning policy: a major version gets no corrections afterwards."""
_JUST_STARTED_S = 600.0


def judge_provider(provider: ProviderStatus | None) -> list[Finding]:
    """Judge the provider's status page."""
    if provider is None:
        return []
    page = provider.page
    if provider.why:
        return [unknown("provider", "The provider's status page could not be read",
                        saw=provider.why, next=f"look yourself: {page}", where=page)]  # fmt: skip
    saw = "; ".join(
        [f"{each.name} ({each.impact}, {each.status})" for each in provider.incidents]
        + [f"{name}: {status}" for name, status in provider.components]
    )
    # Whatever it may be called in future, what is not `none` is worth a look.
    if provider.indicator in ("major", "critical"):
        return [red("provider", f"The provider has an incident: {provider.description}",
                    saw=saw or provider.indicator, next=f"follow {page}; is it your region?",
                    where=page)]  # fmt: skip
    if provider.indicator != "none" or provider.incidents or provider.components:
        return [yellow("provider", f"The provider reports: {provider.description}",
                       saw=saw or provider.indicator, next=f"follow {page}; is it your region?",
                       where=page)]  # fmt: skip
    return [green("provider", f"Provider: {provider.description or 'no incident'}", where=page)]


def judge_mode(way: Way) -> list[Finding]:
    """Tell what stands at the end of the way: a server, or a pooler in which mode."""
    if way.target is None or not way.ready:
        return []
    where, mode = way.target.where, way.by_convention
    if mode == "transaction":
        title = "a pooler in transaction mode (port 6543)"
    elif mode == "session":
        title = "a pooler in session mode"
    elif way.pooled:
        title = "a pooler; its mode is not known from here"
    else:
        title = "the server itself"
    if way.name == "the database" and mode == "transaction":
        return [
            yellow(
                "pooler",
                "The database's URL leads to a pooler in transaction mode",
                saw=f"port {way.target.port}: no prepared statements across transactions, no "
                "session settings, no LISTEN, no advisory locks",
                next="database.url in the settings: the direct connection or the session pooler, "
                "port 5432; this one is pooler_url",
                where=where,
            )
        ]
    found = [green("pooler", f"At the end of {way.name}'s URL: {title}", where=where)]
    if way.name == "the database" and way.pooled and not mode:
        found = [
            yellow(
                "pooler",
                f"The database's URL leads to {title}",
                saw="the server's process is another one than the connection was told",
                next="show pool_mode, on the pooler; changes need session mode or the server",
                where=where,
            )
        ]
    return found


def judge_server(way: Way, *, at: datetime) -> list[Finding]:
    """Judge the server's version, how long it runs, and whether it takes writes."""
    if way.vitals is None or way.target is None:
        return []
    row = way.vitals.one("server")
    where = way.target.where
    if not row:
        return [unknown("version", "The server does not say what it is",
                        saw=way.vitals.why("server"), where=where)]  # fmt: skip
    version, up_s = str(row["version"]), float(row["up_s"])
    found: list[Finding] = []
    ends = _SUPPORT_ENDS.get(int(row["number"]) // 10000)
    if ends is not None and at.date() > ends:
        found.append(yellow("version", f"PostgreSQL {version} is no longer supported",
                            saw=f"since {ends}", next="plan the upgrade", where=where))  # fmt: skip
    else:
        title = f"Version: PostgreSQL {version}, up for {_span(up_s)}"
        found.append(green("version", title, where=where))
    if up_s < _JUST_STARTED_S:
        found.append(note("version", f"The server started {_span(up_s)} ago", where=where,
                          next="was that meant? Its statistics may have begun anew"))  # fmt: skip
    if row["standby"]:
        found.append(yellow("standby", "This is a standby: it takes no writes",
                            next="is this the primary's URL?", where=where))  # fmt: skip
    return found


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
