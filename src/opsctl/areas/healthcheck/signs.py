"""What is not ill, but not well either: slow, cached, a certificate that ends soon; pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsctl.adapters.probed import Answer
    from opsctl.areas.healthcheck.body import Health
    from opsctl.core.settings import HealthEndpoint, Limits

_FROZEN_S = 60.0
"""An answer made longer ago than this is not made for us."""
_DAY_S = 86400.0


def warnings(
    endpoint: HealthEndpoint, limits: Limits, answer: Answer, *, health: Health | None, now: float
) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield rule, reason, title, evidence and hint of what is not ill but not well either."""
    limit_ms = endpoint.response_ms or limits.response_ms
    if answer.took_ms > limit_ms:
        evidence = f"{answer.took_ms:.0f} ms; the limit is {limit_ms:.0f} ms ({phases(answer)})"
        hint = "opsctl healthcheck report: one sample proves little"
        yield "health-latency", "slow", "answers slowly", evidence, hint
    cached = _cached(answer, health, now=now)
    if cached:
        hint = "make the route dynamic: a cached answer says nothing about now"
        yield "health-cached", "cached", "is answered by a cache", cached, hint
    days = certificate_days(answer, now=now)
    if days is not None and days < limits.certificate_days:
        evidence = f"it ends in {days:.1f} days; fewer than {limits.certificate_days:g}"
        hint = "renew the certificate, and find out why nobody did"
        title = "has a certificate that ends soon"
        yield "health-certificate", "certificate-ends", title, evidence, hint


def phases(answer: Answer) -> str:
    """Return where the time went, phase by phase: `dns 3, connect 11, first byte 540, ...`."""
    before, parts = 0.0, []
    times = answer.times
    waited = answer.took_ms - answer.own_ms
    if waited >= 1:
        parts.append(f"late here {waited:.0f}")
    for name, ended in (
        ("dns", times.dns_ms),
        ("connect", times.connect_ms),
        ("tls", times.tls_ms),
        ("first byte", times.first_byte_ms),
        ("rest", answer.own_ms),
    ):
        if ended is not None:
            parts.append(f"{name} {max(ended - before, 0):.0f}")
            before = ended
    return ", ".join(parts)


def certificate_days(answer: Answer, *, now: float) -> float | None:
    """Return for how many more days the certificate holds; None where there is none to read."""
    ends = _ends(answer.certificate) if answer.certificate else None
    return None if ends is None else (ends - now) / _DAY_S


@lru_cache(maxsize=256)
def _ends(certificate: bytes) -> float | None:
    """Return when a certificate ends; remembered, for many endpoints have the same one."""
    from opsctl.adapters.certificate import read_certificate

    try:
        return read_certificate(certificate).ends.timestamp()
    except ValueError:
        return None


def _cached(answer: Answer, health: Health | None, *, now: float) -> str:
    headers = answer.headers
    for name in ("x-nextjs-cache", "x-vercel-cache", "cf-cache-status", "x-cache"):
        if headers.get(name, "").upper().startswith(("HIT", "STALE", "PRERENDER")):
            return f"{name}: {headers[name][:100]}"
    age = headers.get("age", "0")
    if age.isascii() and age.isdecimal() and int(age[:9]) > 0:
        return f"age: {age[:9]}"
    if health is None or health.made_at is None:
        return ""
    # By the server's own clock, where it tells it: ours may be wrong.
    old_s = (_server_time(headers.get("date", "")) or now) - health.made_at
    return f"it was made {old_s:.0f} s ago, by its own time stamp" if old_s > _FROZEN_S else ""


def _server_time(date: str) -> float | None:
    if not date:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
