"""The report of one look at everything; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opsctl.areas.healthcheck.verdict import Verdict
from opsctl.core.report import Finding, Metric, Report, Status

_PLATFORMS = ("database", "supabase", "machine", "vercel")
_PHASES = ("dns", "connect", "tls", "first_byte")


def report_on(
    verdicts: Sequence[Verdict],
    *,
    environment: str,
    limit_ms: float,
    command: str = "healthcheck run",
    notes: tuple[str, ...] = (),
) -> Report:
    """Return the report on an environment; `limit_ms` is the slowest healthy answer."""
    findings = tuple(finding for verdict in verdicts for finding in verdict.findings)
    if not findings:
        findings = (
            Finding(
                rule="nothing-to-check",
                title="The environment names no endpoint and no database",
                status=Status.UNKNOWN,
                hint=f"add environments.{environment}.health to the settings",
            ),
        )
    platforms = {
        verdict.sample.check: dict(verdict.data)
        for verdict in verdicts
        if "url" not in verdict.data
    }
    return Report(
        command=command,
        title=f"Health of {environment}",
        environment=environment,
        findings=findings,
        notes=notes,
        data={
            "endpoints": [dict(verdict.data) for verdict in verdicts if "url" in verdict.data],
            **{name: platforms.get(name) for name in _PLATFORMS},
        },
        metrics=tuple(_metrics(verdicts, environment, limit_ms)),
    )


def _metrics(verdicts: Sequence[Verdict], environment: str, limit_ms: float) -> Iterator[Metric]:
    for verdict in verdicts:
        sample = verdict.sample
        labels = (("environment", environment), ("check", sample.check))
        unknown = sample.status == "unknown"
        if not unknown:
            up = float(sample.status != "fail")
            yield Metric("opsctl_health_up", "Whether a check is well: 1 or 0.", up, labels)
        said = "Whether it could not be told: 1 or 0."
        yield Metric("opsctl_health_unknown", said, float(unknown), labels)
        said = "Whether something is to be looked at: 1 or 0."
        yield Metric("opsctl_health_warning", said, float(sample.status == "warn"), labels)
        said = "When it was looked, since 1970."
        yield Metric("opsctl_health_checked_at_seconds", said, round(sample.began_at, 3), labels)
        yield from _times(verdict, labels, limit_ms)
        if sample.http_status is not None:
            said = "Status code of the answer."
            yield Metric("opsctl_health_http_status", said, sample.http_status, labels)
        days = verdict.data.get("certificate_days")
        if days is not None:
            said = "How much longer the certificate holds."
            yield Metric("opsctl_health_certificate_left_seconds", said, days * 86400, labels)
        for resource, share in verdict.metrics.items():
            said = "Share in use, of 1."
            of = (*labels, ("resource", resource))
            yield Metric("opsctl_health_in_use_ratio", said, round(share, 4), of)


def _times(
    verdict: Verdict, labels: tuple[tuple[str, str], ...], limit_ms: float
) -> Iterator[Metric]:
    name, said = "opsctl_health_duration_seconds", "How long each phase of a look took."
    if verdict.sample.took_ms is None:
        return
    before = 0.0
    for phase in _PHASES:
        ended = verdict.data.get(f"{phase}_ms")
        if ended is not None:
            took = max(ended - before, 0.0) / 1000
            yield Metric(name, said, round(took, 6), (*labels, ("phase", phase)))
            before = ended
    total = round(verdict.sample.took_ms / 1000, 6)
    yield Metric(name, said, total, (*labels, ("phase", "total")), warn_above=limit_ms / 1000)
