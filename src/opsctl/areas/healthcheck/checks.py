"""Judge what an endpoint answered: well, ill, or not to be told; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from opsctl.adapters.dialing import is_local
from opsctl.areas.healthcheck.body import (
    MISSING,
    Health,
    read_health,
    read_json,
    utilization,
    wrong_values,
)
from opsctl.areas.healthcheck.signs import certificate_days, warnings
from opsctl.areas.healthcheck.verdict import Moment, Verdict, sample_status
from opsctl.core.report import Finding, Location, Severity, Status

if TYPE_CHECKING:
    from opsctl.adapters.probed import Answer
    from opsctl.core.settings import HealthEndpoint, Limits

UNKNOWABLE = frozenset(
    {"resolver", "no-route", "offline", "own-limit", "secret", "proxy", "bad-url", "asleep", "late"}
)
"""Reasons that lie with this machine: it cannot tell whether the endpoint is well."""
_HINTS = {
    "dns": "is the name right, and is its DNS record still there?",
    "resolver": "is this machine online? Ask another: dig {host}",
    "no-route": "is this machine online? A host with IPv6 addresses alone needs IPv6 here",
    "offline": "is this machine online?",
    "own-limit": "allow more open files: ulimit -n",
    "secret": "set the header's value, or change its reference in the settings",
    "proxy": "check http_proxy, https_proxy and no_proxy",
    "bad-url": "mend the URL in the settings",
    "tls-expired": "renew the certificate now",
    "tls-wrong-host": "is this the right host? The certificate is for another name",
    "tls-self-signed": "let a known authority sign it, or trust yours: SSL_CERT_FILE",
    "tls-untrusted": "does the server send its intermediate certificates?",
    "tls-not-yet-valid": "is this machine's clock right?",
    "redirect-loop": "curl -sIL {url}",
    "redirect-elsewhere": "name the URL that it leads to in the settings",
    "too-large": "a health answer is small; name another URL",
}


class Pattern(Protocol):
    """A compiled pattern of RE2."""

    def search(self, text: str) -> object:
        """Return what is found, or None."""


@dataclass(frozen=True)
class Judging:
    """What an endpoint is judged by."""

    endpoint: HealthEndpoint
    limits: Limits
    pattern: Pattern | None = None
    """What `endpoint.matches` compiles to."""
    secrets: Sequence[str] = ()
    """Values of headers, should the answer repeat them."""


def judge_endpoint(
    judging: Judging, answer: Answer, *, now: float, attempts: int = 1, offline: bool = False
) -> Verdict:
    """Return the verdict on an answer; `now` is seconds since 1970.

    With `offline` this machine is, so a way that failed says nothing of the endpoint.
    """
    moment = Moment(answer.due, answer.began, answer.ended)
    reason, findings, health = _findings(judging, answer, now=now, offline=offline)
    if attempts > 1:
        findings[0] = _after_retries(findings[0], attempts)
    done = tuple(findings)
    status = sample_status(done)
    return Verdict(
        sample=moment.sample(
            judging.endpoint.name,
            status,
            "" if status == "pass" else reason,
            http_status=answer.status,
        ),
        findings=done,
        metrics=utilization(health) if health is not None else {},
        data=_data(
            judging, answer, health, now=now, attempts=attempts, status=status, reason=reason
        ),
        reached=was_reached(answer),
    )


def was_reached(answer: Answer) -> bool:
    """Whether somebody beyond this machine was connected to."""
    return bool(answer.address) and not is_local(answer.address)


def _findings(
    judging: Judging, answer: Answer, *, now: float, offline: bool
) -> tuple[str, list[Finding], Health | None]:
    """Return the reason, the findings with the main one first, and what it says of itself."""
    endpoint = judging.endpoint
    made = _Maker(judging, answer)
    failure = answer.failure
    if failure is not None:
        reason = "offline" if offline and failure.reason in OF_THE_WAY else failure.reason
        unknown = reason in UNKNOWABLE
        title = "could not be asked" if unknown else "does not answer"
        if answer.status is not None and not unknown:
            title = "does not answer as it should"
        status = Status.UNKNOWN if unknown else Status.FAILED
        hint = _HINTS.get(reason, "curl -v {url}")
        return reason, [made.main(title, status, failure.said, hint)], None
    if protection := _protection(endpoint, answer):
        hint = "send the header x-vercel-protection-bypass, by reference"
        title = "is behind deployment protection"
        return "protected", [made.main(title, Status.UNKNOWN, protection, hint)], None
    if answer.status == 407 and answer.proxy:
        said = f"the proxy {answer.proxy} wants a password (407)"
        return (
            "proxy",
            [made.main("could not be asked", Status.UNKNOWN, said, _HINTS["proxy"])],
            None,
        )
    document = read_json(answer.body) if _is_json(answer) else MISSING
    declared = "health+json" in answer.headers.get("content-type", "")
    health = read_health(document, declared=declared)
    reason, wrong, severity = _wrong(judging, answer, document, health)
    if wrong:
        main = made.main("is ill", Status.FAILED, wrong, "curl -i {url}", severity=severity)
    else:
        main = made.main("is well", Status.OK, "", "")
    findings = [main]
    for rule, why, title, evidence, hint in warnings(
        judging.endpoint, judging.limits, answer, health=health, now=now
    ):
        findings.append(made.warning(rule, title, evidence, hint))
        reason = reason or why
    return reason, findings, health


def _wrong(
    judging: Judging, answer: Answer, document: Any, health: Health | None
) -> tuple[str, str, Severity]:
    """Return the first thing that is wrong: reason, evidence, severity; empty where none is."""
    endpoint = judging.endpoint
    if answer.status != endpoint.status:
        said = f"status {answer.status} instead of {endpoint.status}"
        if answer.location:
            said += f"; it leads to {answer.location[:200]}, and redirects are not followed"
        if health is not None and health.output:
            said += f": {health.output}"
        return "wrong-status", said, Severity.ERROR
    if health is not None and health.word in ("fail", "warn"):
        bad = [f"{each.name}: {each.output or each.word}" for each in health.components
               if each.word in ("fail", "warn")]  # fmt: skip
        said = f"it says {health.said}" + (f": {health.output}" if health.output else "")
        said += f" ({'; '.join(bad[:5])})" if bad else ""
        if health.word == "fail":
            return "unhealthy", said, Severity.ERROR
        return "degraded", said, Severity.WARNING
    if endpoint.expect:
        if document is MISSING:
            return "wrong-json", _why_no_json(answer), Severity.ERROR
        wrong = list(wrong_values(document, endpoint.expect))
        if wrong:
            return "wrong-json", "; ".join(wrong[:5]), Severity.ERROR
    return _wrong_text(judging, answer)


def _wrong_text(judging: Judging, answer: Answer) -> tuple[str, str, Severity]:
    endpoint = judging.endpoint
    if not endpoint.contains and judging.pattern is None:
        return "", "", Severity.ERROR
    text = answer.body.decode("utf-8", "replace")
    cut = "" if answer.whole else " in its first 256 KiB"
    for part in endpoint.contains:
        if part not in text:
            return "wrong-body", f"its body does not hold {part[:100]!r}{cut}", Severity.ERROR
    if judging.pattern is not None and judging.pattern.search(text) is None:
        said = f"nothing in its body matches {(endpoint.matches or '')[:100]!r}{cut}"
        return "wrong-body", said, Severity.ERROR
    return "", "", Severity.ERROR


class _Maker:
    """Makes findings about one endpoint."""

    def __init__(self, judging: Judging, answer: Answer) -> None:
        self._judging = judging
        self._answer = answer

    def main(
        self,
        title: str,
        status: Status,
        evidence: str,
        hint: str,
        *,
        severity: Severity = Severity.ERROR,
    ) -> Finding:
        through = f" (through the proxy {self._answer.proxy})" if self._answer.proxy else ""
        return self._finding(
            "health-endpoint", title, status, evidence + (through if evidence else ""), hint,
            severity=severity,
        )  # fmt: skip

    def warning(self, rule: str, title: str, evidence: str, hint: str) -> Finding:
        return self._finding(
            rule, title, Status.FAILED, evidence, hint, severity=Severity.WARNING
        )  # fmt: skip

    def _finding(
        self, rule: str, title: str, status: Status, evidence: str, hint: str, *, severity: Severity
    ) -> Finding:
        endpoint, secrets = self._judging.endpoint, self._judging.secrets
        if secrets:
            from opsctl.core.secrets import without_secrets

            evidence = without_secrets(evidence, secrets)
        host = endpoint.url.partition("://")[2].partition("/")[0]
        return Finding(
            rule=rule,
            title=f"{endpoint.name} {title}",
            status=status,
            severity=severity,
            evidence=evidence,
            location=Location(object=endpoint.url),
            hint=hint.replace("{url}", endpoint.url).replace("{host}", host),
            took_ms=self._answer.took_ms,
        )


def _after_retries(finding: Finding, attempts: int) -> Finding:
    from dataclasses import replace

    said = f"attempt {attempts}; those before it failed"
    if finding.status is not Status.OK:
        said = f"{finding.evidence}; {attempts} attempts, all failed"
    return replace(finding, title=f"{finding.title}, at attempt {attempts}", evidence=said)


def _protection(endpoint: HealthEndpoint, answer: Answer) -> str:
    """Return how the platform, not the application, answered; empty where it did not."""
    headers = answer.headers
    if answer.status == endpoint.status:
        return ""
    by_vercel = headers.get("server", "").lower() == "vercel" or "x-vercel-id" in headers
    if answer.location.startswith(("https://vercel.com/sso-api", "https://vercel.com/login")):
        return f"status {answer.status}: it leads to Vercel's log-in page"
    if by_vercel and answer.status in (401, 403) and (
        answer.status == 401 or "x-vercel-challenge-token" in headers
        or headers.get("x-vercel-mitigated", "") in ("challenge", "deny")
    ):  # fmt: skip
        return f"status {answer.status} from the platform, not from the application"
    return ""


def _is_json(answer: Answer) -> bool:
    return "json" in answer.headers.get("content-type", "").lower() or answer.body[:1] in b"{["


def _why_no_json(answer: Answer) -> str:
    coding = answer.headers.get("content-encoding", "")
    if coding not in ("", "identity"):
        return f"its body was sent as {coding[:20]}, which was not asked for"
    return "its body is no JSON" if answer.whole else "its body is too large to be read as JSON"


def _data(
    judging: Judging,
    answer: Answer,
    health: Health | None,
    *,
    now: float,
    attempts: int,
    status: str,
    reason: str,
) -> dict[str, Any]:
    times = answer.times

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 2)

    return {
        "name": judging.endpoint.name,
        "url": judging.endpoint.url,
        "result": status,
        "reason": reason if status != "pass" else "",
        "status": answer.status,
        "failure": answer.failure.reason if answer.failure is not None else None,
        "address": answer.address,
        "attempts": attempts,
        "took_ms": rounded(answer.took_ms),
        "dns_ms": rounded(times.dns_ms),
        "connect_ms": rounded(times.connect_ms),
        "tls_ms": rounded(times.tls_ms),
        "first_byte_ms": rounded(times.first_byte_ms),
        "certificate_days": rounded(certificate_days(answer, now=now)),
        "components": {
            each.name: {"status": each.word, "value": each.value, "unit": each.unit}
            for each in (health.components if health is not None else ())
        },
    }


OF_THE_WAY = frozenset({"dns", "resolver", "no-route", "unreachable", "timeout", "connect"})
"""How a way fails that leads out of this machine."""
