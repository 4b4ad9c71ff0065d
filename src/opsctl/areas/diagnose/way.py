"""Judge the way to a server, layer by layer: where it ends is named once, and nothing after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from opsctl.adapters.certificate import Certificate
from opsctl.adapters.pg_startup import SignIn
from opsctl.areas.diagnose.facts import Way
from opsctl.areas.diagnose.findings import green, not_reached, note, red, unknown, yellow
from opsctl.areas.diagnose.refusals import refused
from opsctl.core.report import Finding, Status
from opsctl.core.settings import Limits

LAYERS = (
    ("dns", "DNS"),
    ("tcp", "TCP"),
    ("tls", "TLS"),
    ("certificate", "Certificate"),
    ("sign-in", "Sign-in"),
)
"""(rule, name) of each layer, in the order they are reached."""


def judge_way(way: Way, *, limits: Limits, at: datetime) -> list[Finding]:
    """Return the findings of every layer, in order; of those after the end, that they were not
    reached. An error ends the way."""
    if way.target is None:
        error = way.error
        what = f"The URL of {way.name} could not be read"
        saw = f"{error.what}: {error.why}" if error is not None else ""
        finding = unknown("url", what, saw=saw, next=error.hint if error is not None else "")
        return [finding, *_rest(0, "its URL")]
    judges: tuple[Callable[[Way, Limits, datetime], list[Finding]], ...] = (
        _dns, _tcp, _tls, _certificate, _sign_in,
    )  # fmt: skip
    found: list[Finding] = []
    for index, (judge, (_, layer)) in enumerate(zip(judges, LAYERS, strict=True)):
        found += judge(way, limits, at)
        if any(_ends(each) for each in found):
            return [*found, *_rest(index + 1, layer)]
    return found


def ended_at(findings: list[Finding]) -> str:
    """Return the layer that a way ended at, for a person; empty where it led to the end."""
    rules = {each.rule for each in findings if _ends(each)}
    return next((name for rule, name in (("url", "its URL"), *LAYERS) if rule in rules), "")


def _ends(finding: Finding) -> bool:
    return finding.status is not Status.OK and finding.severity.value == "error"


def _rest(start: int, layer: str) -> list[Finding]:
    return [not_reached(rule, name, ends=layer) for rule, name in LAYERS[start:]]


def _where(way: Way) -> str:
    return way.target.where if way.target is not None else ""


def _dns(way: Way, limits: Limits, at: datetime) -> list[Finding]:
    addresses, where = way.addresses, _where(way)
    if addresses is None or way.target is None:
        return []
    if addresses.failure is not None:
        titles = {
            "no-such-name": "There is no such host name",
            "no-address": "The host name has no address",
            "resolver": "The host name could not be looked up: no DNS server answers",
        }
        hints = {
            "no-such-name": "is the host in the URL spelled right? A project that is paused or "
            "deleted loses its name",
            "no-address": f"dig +short {addresses.host} A {addresses.host} AAAA",
            "resolver": "is this machine online? cat /etc/resolv.conf",
        }
        return [red("dns", titles[addresses.failure], saw=addresses.host,
                    next=hints[addresses.failure], where=where)]  # fmt: skip
    if addresses.literal:
        return [green("dns", f"DNS: {way.name} is named by its address", where=where)]
    saw = ", ".join(addresses.all)
    found = [green("dns", f"DNS: {addresses.host} is {saw}", saw=saw, where=where)]
    if not addresses.v4:
        found.append(
            note(
                "dns",
                f"The host of {way.name} has IPv6 addresses alone",
                saw=saw,
                next=_IPV6_HINT + "; Vercel and GitHub Actions have no IPv6",
                where=where,
            )
        )
    if way.target.more_hosts:
        found.append(
            note("dns", "The URL names further hosts, which were not looked at", where=where)
        )
    return found


_IPV6_HINT = (
    "use the session pooler (port 5432 of the pooler's host), or buy the project's IPv4 address"
)


def _tcp(way: Way, limits: Limits, at: datetime) -> list[Finding]:
    where = _where(way)
    saw = "; ".join(
        f"{each.address}: {each.failure or 'connected'} after {each.took_ms:.0f} ms"
        for each in way.attempts
    )
    if way.reached:
        return [green("tcp", f"TCP: {way.name} accepts connections", saw=saw, where=where)]
    failures = {each.failure for each in way.attempts}
    addresses = way.addresses
    if addresses is not None and addresses.v6 and not addresses.v4 and "no-route" in failures:
        title = "The host has IPv6 addresses alone, and this machine has no IPv6"
        hint = _IPV6_HINT
    elif "refused" in failures:
        title = "Nothing listens there: the connection was refused"
        hint = "is the server up, and is it this port?"
    elif "timeout" in failures:
        title = "Nobody answers: the connection timed out"
        hint = "does a firewall or a network restriction drop it? Is the project paused?"
    elif "no-socket" in failures:
        title = "There is no such local socket"
        hint = "is the server up? ls -l /var/run/postgresql"
    elif "no-route" in failures:
        title = "There is no route to the host from here"
        hint = "is this machine online? ip route"
    else:
        title, hint = "No connection could be made", "try: nc -vz HOST PORT"
    return [red("tcp", title, saw=saw, next=hint, where=where)]


def _tls(way: Way, limits: Limits, at: datetime) -> list[Finding]:
    target, tls, where = way.target, way.tls, _where(way)
    if target is None:
        return []
    if tls is None:
        if target.loopback:
            return [green("tls", "TLS: none is needed within this machine", where=where)]
        return [
            yellow("tls", "The connection is not encrypted: the URL says so",
                   saw=f"sslmode={target.sslmode}", next="sslmode=require or verify-full",
                   where=where)
        ]  # fmt: skip
    if way.let_in_plain:
        return [
            yellow(
                "tls",
                "The server offers TLS and lets this role in without it alone",
                saw=tls.version,
                next="a hostssl line in pg_hba.conf",
                where=where,
            )
        ]
    if tls.answer == "offered" and not tls.broken:
        return [green("tls", f"TLS: {tls.version}", where=where)]
    if tls.answer == "refused":
        # The refusal says more where it is asked for: at the sign-in.
        return [green("tls", "TLS: refused together with the connection", where=where)]
    if tls.answer == "declined" or tls.broken:
        title = "The server offers no TLS" if not tls.broken else "The TLS handshake fails"
        saw = tls.broken or "it answered N"
        if target.insists_on_tls:
            return [red("tls", f"{title}, and the URL insists on it",
                        saw=f"sslmode={target.sslmode}; {saw}",
                        next="turn TLS on at the server (ssl = on), or is this the right port?",
                        where=where)]  # fmt: skip
        if target.loopback:
            return [green("tls", "TLS: none is needed within this machine", where=where)]
        return [yellow("tls", f"{title}: the connection is not encrypted", saw=saw,
                       next="turn TLS on at the server", where=where)]  # fmt: skip
    titles = {
        "stranger": "Whatever listens there is not PostgreSQL",
        "silent": "The connection was accepted and then nothing was said",
        "closed": "The server hung up at the first word",
    }
    hint = "is it the right port? A full or hanging server is silent, too"
    return [red("tls", titles[tls.answer], next=hint, where=where)]


def _certificate(way: Way, limits: Limits, at: datetime) -> list[Finding]:
    target, tls, trust, where = way.target, way.tls, way.trust, _where(way)
    if tls is None or target is None or tls.answer != "offered" or tls.broken:
        return [green("certificate", "Certificate: there is none to look at", where=where)]
    checks = trust is not None and trust.checks != "nothing"
    certificate = tls.certificate
    shown = _shown(certificate) if certificate is not None else "it could not be read"
    if trust is not None and trust.problem:
        title, hint = _DISTRUST[trust.problem]
        saw = "; ".join(each for each in (f"sslmode={target.sslmode}", trust.said, shown) if each)
        return [red("certificate", title, saw=saw, next=hint, where=where)]
    if certificate is None:
        return [yellow("certificate", "The server's certificate could not be read",
                       saw=shown, next="openssl s_client -starttls postgres -connect HOST:PORT",
                       where=where)]  # fmt: skip
    found: list[Finding] = []
    left = certificate.ends - at
    if left < timedelta(0):
        found.append(yellow("certificate", "The server's certificate has expired, and this URL "
                            "does not check it", saw=shown, next="renew it; then sslmode="
                            "verify-full", where=where))  # fmt: skip
    elif left < timedelta(days=limits.certificate_days):
        found.append(yellow("certificate", f"The server's certificate ends in {left.days} days",
                            saw=shown, next="renew it", where=where))  # fmt: skip
    if not any(_fits(name, target.host) for name in certificate.names):
        found.append(note("certificate", "The certificate is for another host: verify-full would "
                          "refuse it", saw=f"{target.host}; {shown}", where=where))  # fmt: skip
    if not checks and not target.loopback:
        found.append(note("certificate", "Nobody checks the server's certificate: the URL's "
                          "sslmode does not ask for it", saw=f"sslmode={target.sslmode}",
                          next="sslmode=verify-full with the provider's root certificate",
                          where=where))  # fmt: skip
    if not any(each.severity.value != "note" for each in found):
        words = f"checked ({trust.checks})" if trust is not None and checks else "not checked"
        title = f"Certificate: ends in {left.days} days, {words}"
        found.insert(0, green("certificate", title, saw=shown, where=where))
    return found


_DISTRUST = {
    "expired": ("The server's certificate has expired", "renew it"),
    "not-yet": ("The server's certificate is not valid yet", "is this machine's clock right?"),
    "self-signed": ("The server's certificate is not trusted: its root is not ours",
                    "sslrootcert=FILE with the provider's root certificate"),
    "unknown-issuer": ("The server's certificate is not trusted: its issuer is not known",
                       "sslrootcert=FILE with the provider's root certificate"),
    "host": ("The server's certificate is for another host",
             "is the host in the URL the certificate's?"),
    "no-roots": ("There are no root certificates to check the server's with",
                 "sslrootcert=FILE, or sslrootcert=system"),
    "other": ("The server's certificate could not be checked",
              "openssl s_client -starttls postgres -connect HOST:PORT"),
}  # fmt: skip


def _shown(certificate: Certificate) -> str:
    names = ", ".join(certificate.names[:5]) or "nobody"
    issuer = "itself" if certificate.self_signed else certificate.issuer or "somebody"
    return f"for {names}, by {issuer}, until {certificate.ends:%Y-%m-%d %H:%M} UTC"


def _fits(name: str, host: str) -> bool:
    """Whether a certificate's name fits a host; one leading label may be an asterisk (RFC 6125)."""
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    if name.startswith("*."):
        return "." in host and host.partition(".")[2] == name[2:]
    return name == host


def _sign_in(way: Way, limits: Limits, at: datetime) -> list[Finding]:
    signed_in, target, where = way.signed_in, way.target, _where(way)
    if signed_in is None or target is None:
        return []
    if signed_in.ending == "refused" and signed_in.refusal is not None:
        return [refused(way)]
    if signed_in.ending == "ready":
        who = f"{target.user} on {target.database}"
        return [green("sign-in", f"Sign-in: {who}, by {signed_in.method}", where=where)]
    return [_no_sign_in(signed_in, where)]


def _no_sign_in(signed_in: SignIn, where: str) -> Finding:
    method = signed_in.method
    if signed_in.ending == "unsupported":
        return unknown("sign-in", f"The server asks for a proof that opsctl cannot give: {method}",
                       saw=method, next="a role with a password", where=where)  # fmt: skip
    title, hint = {
        "no-password": (
            "The server wants a password and the URL has none",
            "is the whole URL in the secret?",
        ),
        "plaintext": (
            "The server wants the password unencrypted, and was not told it",
            "sslmode=require",
        ),
        "impostor": (
            "The server did not prove that it knows the password: it may be another one",
            "is the host right? Change the password if you do not know that server",
        ),
        "untrusted": (
            "The server's certificate changed between two connections",
            "who stands in between? openssl s_client -starttls postgres",
        ),
        "stranger": ("What answers the sign-in is not PostgreSQL", "is it the right port?"),
        "silent": (
            "The server accepted the connection and did not answer the sign-in",
            "is it overloaded or hanging? Look at its log and its processes",
        ),
    }.get(
        signed_in.ending,
        (
            "The server hung up during the sign-in",
            "look at its log: did a process crash, was it out of memory?",
        ),
    )
    return red("sign-in", title, saw=signed_in.ending, next=hint, where=where)
