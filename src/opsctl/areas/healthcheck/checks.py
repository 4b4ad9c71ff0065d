"""Judge the facts: what is well, what is ill, what could not be told."""

from __future__ import annotations

import json
from typing import Any

from opsctl.areas.healthcheck.facts import DatabaseFacts, Endpoint, HealthFacts
from opsctl.core.report import Finding, Location, Report, Severity, Status
from opsctl.core.settings import Limits

_GOOD_WORDS = frozenset({"pass", "ok", "up", "healthy"})
_WARN_WORDS = frozenset({"warn", "degraded"})
_UNKNOWABLE = frozenset({"dns", "network", "secret"})


def judge(facts: HealthFacts, *, environment: str, limits: Limits) -> Report:
    """Return the report on an environment; pure."""
    findings: list[Finding] = []
    for endpoint in facts.endpoints:
        findings += _endpoint(endpoint, limits)
    if facts.database is not None:
        findings += _database(facts.database, limits)
    if not findings:
        findings.append(
            Finding(
                rule="nothing-to-check",
                title="The environment names no endpoint and no database",
                status=Status.UNKNOWN,
                hint=f"add environments.{environment}.health to the settings",
            )
        )
    return Report(
        command="healthcheck run",
        title=f"Health of {environment}",
        environment=environment,
        findings=tuple(findings),
        data={
            "endpoints": [
                {
                    "name": each.settings.name,
                    "url": each.settings.url,
                    "status": each.fetched.status,
                    "failure": each.fetched.failure,
                    "took_ms": round(each.fetched.took_ms, 1),
                }
                for each in facts.endpoints
            ],
            "database": _database_data(facts.database),
        },
    )


def _endpoint(endpoint: Endpoint, limits: Limits) -> list[Finding]:
    settings, fetched = endpoint.settings, endpoint.fetched
    place = Location(object=settings.url)
    if fetched.failure is not None:
        # DNS and routes are this machine's: it cannot tell whether the endpoint is well.
        status = Status.UNKNOWN if fetched.failure in _UNKNOWABLE else Status.FAILED
        return [
            Finding(
                rule="health-endpoint",
                title=f"{settings.name} could not be asked"
                if status is Status.UNKNOWN
                else f"{settings.name} does not answer",
                status=status,
                evidence=fetched.detail,
                location=place,
                hint="is this machine online? Check the URL in the settings"
                if status is Status.UNKNOWN
                else f"curl -v {settings.url}",
                took_ms=fetched.took_ms,
            )
        ]
    if _protected(endpoint):
        return [
            Finding(
                rule="health-endpoint",
                title=f"{settings.name} is behind deployment protection",
                status=Status.UNKNOWN,
                evidence=f"status {fetched.status} from the platform, not from the application",
                location=place,
                hint="send the header x-vercel-protection-bypass, by reference",
                took_ms=fetched.took_ms,
            )
        ]
    found = [_answer(endpoint, place)]
    if fetched.took_ms > limits.response_ms:
        found.append(
            Finding(
                rule="health-latency",
                title=f"{settings.name} answers slowly",
                status=Status.FAILED,
                severity=Severity.WARNING,
                evidence=f"{fetched.took_ms:.0f} ms; the limit is {limits.response_ms:.0f} ms",
                location=place,
                hint="opsctl healthcheck run again: one sample proves little",
                took_ms=fetched.took_ms,
            )
        )
    cached = _cached(endpoint)
    if cached:
        found.append(
            Finding(
                rule="health-cached",
                title=f"{settings.name} is answered by a cache",
                status=Status.FAILED,
                severity=Severity.WARNING,
                evidence=cached,
                location=place,
                hint="make the route dynamic: a cached answer says nothing about now",
            )
        )
    return found


def _answer(endpoint: Endpoint, place: Location) -> Finding:
    settings, fetched = endpoint.settings, endpoint.fetched
    word, output = _health_json(endpoint)
    wrong = ""
    severity = Severity.ERROR
    if fetched.status != settings.status:
        wrong = f"status {fetched.status} instead of {settings.status}"
        if fetched.status is not None and 300 <= fetched.status < 400:
            wrong += "; redirects are not followed"
    elif word and word in _WARN_WORDS:
        wrong, severity = f"it says {word}", Severity.WARNING
    elif word and word not in _GOOD_WORDS:
        wrong = f"it says {word}"
    if wrong and output:
        wrong += f": {output}"
    return Finding(
        rule="health-endpoint",
        title=f"{settings.name} is ill" if wrong else f"{settings.name} is well",
        status=Status.FAILED if wrong else Status.OK,
        severity=severity,
        evidence=wrong,
        location=place,
        hint=f"curl -i {settings.url}" if wrong else "",
        took_ms=fetched.took_ms,
    )


def _health_json(endpoint: Endpoint) -> tuple[str, str]:
    """Return (status word in lower case, output) of a health+json body; empty for others."""
    if "json" not in endpoint.fetched.headers.get("content-type", ""):
        return "", ""
    try:
        document: Any = json.loads(endpoint.fetched.body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(document, dict) or not isinstance(document.get("status"), str):
        return "", ""
    output = document.get("output")
    return document["status"].lower()[:40], output[:300] if isinstance(output, str) else ""


def _protected(endpoint: Endpoint) -> bool:
    headers = endpoint.fetched.headers
    by_vercel = headers.get("server", "").lower() == "vercel" or "x-vercel-id" in headers
    return by_vercel and endpoint.fetched.status == 401 and endpoint.settings.status != 401


def _cached(endpoint: Endpoint) -> str:
    headers = endpoint.fetched.headers
    for name in ("x-nextjs-cache", "x-vercel-cache", "cf-cache-status"):
        if headers.get(name, "").upper() == "HIT":
            return f"{name}: {headers[name]}"
    age = headers.get("age", "0")
    return f"age: {age}" if age.isdecimal() and int(age) > 0 else ""


def _database(facts: DatabaseFacts, limits: Limits) -> list[Finding]:
    place = Location(object=facts.where)
    if facts.error is not None:
        missing = facts.error.code in ("secret-missing", "database-url", "pooler-port")
        return [
            Finding(
                rule="database-reachable",
                title="The database could not be asked"
                if missing
                else "The database does not answer",
                status=Status.UNKNOWN if missing else Status.FAILED,
                evidence=f"{facts.error.what}: {facts.error.why}",
                location=place,
                hint=facts.error.hint,
                took_ms=facts.took_ms,
            )
        ]
    found = [
        Finding(
            rule="database-reachable",
            title=f"The database answers (PostgreSQL {facts.version})",
            status=Status.OK,
            location=place,
            took_ms=facts.took_ms,
        )
    ]
    share = facts.connections / facts.max_connections if facts.max_connections else 0.0
    crowded = share > limits.database_connections
    found.append(
        Finding(
            rule="database-connections",
            title="The database is short of connections"
            if crowded
            else "The database has connections to spare",
            status=Status.FAILED if crowded else Status.OK,
            evidence=f"{facts.connections} of {facts.max_connections} in use"
            + (f"; the limit is {limits.database_connections:.0%}" if crowded else ""),
            location=place,
            hint="who holds them: select usename, state, count(*) from pg_stat_activity "
            "group by 1, 2"
            if crowded
            else "",
        )
    )
    if facts.read_only:
        found.append(
            Finding(
                rule="database-read-only",
                title="The database is a standby and takes no writes",
                status=Status.FAILED,
                location=place,
                hint="is this the primary's URL?",
            )
        )
    return found


def _database_data(facts: DatabaseFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {
        "where": facts.where,
        "version": facts.version,
        "connections": facts.connections,
        "max_connections": facts.max_connections,
        "read_only": facts.read_only,
        "took_ms": round(facts.took_ms, 1),
        "error": facts.error.code if facts.error is not None else None,
    }
