"""What `opsctl doctor` asks of the world: secrets, credentials and scopes, ways, the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opsctl.adapters.rest import Patience
from opsctl.cli.doctor_findings import (
    Look,
    Patient,
    doubtful,
    of_error,
    unneeded,
    unseen,
    well,
    wrong,
)
from opsctl.cli.doctor_machine import references
from opsctl.cli.doctor_rights import rights
from opsctl.core.call import Call
from opsctl.core.errors import OpsError
from opsctl.core.report import Finding

if TYPE_CHECKING:
    from opsctl.adapters.pg_pooler import End

_PATIENCE = Patience(attempts=2, pause_s=0.2, longest_pause_s=2.0)
_REACH_S = 8.0
_SKEW_S, _BAD_SKEW_S = 5.0, 60.0
"""Signed tokens and S3 requests are refused at minutes; the journal's times are off before."""


def world_looks(patient: Patient) -> dict[str, Look]:
    """Return the looks at the world by name; without an environment there are few."""
    call = patient.chosen
    looks: dict[str, Look] = {"proxies": proxies}
    if call is None:
        return looks
    looks |= {
        "secrets": lambda: secrets(call),
        "database": lambda: database(call),
        "pooler": lambda: pooler(call),
        "reachability": lambda: reachability(call),
        "vercel": lambda: vercel(call),
        "supabase": lambda: supabase(call),
        "github": lambda: github(call),
        "rights": lambda: rights(call, _PATIENCE),
        "protection": lambda: protection(call),
    }
    return looks


def proxies() -> tuple[Finding, ...]:
    """Name a proxy of the environment: every request goes through it."""
    names = [
        name
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")
        if os.environ.get(name)
    ]
    if not names:
        return (well("proxies", "No proxy is set"),)
    try:
        hosts = {urlsplit(os.environ[name]).hostname or "?" for name in names}
    except ValueError:
        hosts = set()
    if not hosts or "?" in hosts:
        return (
            wrong(
                "proxies",
                "A proxy's address is not understood",
                evidence=", ".join(names),
                remedy=f"export {names[0]}=http://HOST:PORT, or unset it",
            ),
        )
    return (well("proxies", "Requests go through a proxy", ", ".join(sorted(hosts))),)


def protection(call: Call) -> tuple[Finding, ...]:
    """Judge whether what looks like production is protected."""
    bare = [
        name
        for name, environment in call.settings.environments.items()
        if name.lower().startswith("prod") and not environment.protected
    ]
    if not bare:
        return (well("protection", "Production is protected, where there is one"),)
    return (
        doubtful(
            "protection",
            f"{bare[0]} is not protected",
            evidence="what cannot be undone would be agreed to by --yes alone",
            remedy=f"set environments.{bare[0]}.protected: true",
        ),
    )


def secrets(call: Call) -> tuple[Finding, ...]:
    """Resolve every reference of the environment's settings, and show none."""
    from opsctl.core.secrets import resolve_secret

    names = references(call.environment.model_dump(mode="json"))
    missing = []
    for name in names:
        try:
            resolve_secret(name)
        except OpsError as error:
            missing.append(of_error("secrets", f"The secret {name} could not be read", error))
    if missing:
        return tuple(missing)
    return (well("secrets", "Every secret of the environment can be read", f"{len(names)}"),)


def database(call: Call) -> tuple[Finding, ...]:
    """Ask the server its version and our rights there, and find a pg_dump that fits it."""
    from opsctl.adapters.postgres import connect, needs_tls, server_facts
    from opsctl.adapters.postgres_programs import choose_clients
    from opsctl.core.secrets import resolve_secret

    settings = call.environment.database
    if settings is None:
        return (unneeded("database", "No database is looked at", "none in the settings"),)
    try:
        url = resolve_secret(settings.url)
        began = time.monotonic()
        with connect(url) as connection:
            facts = server_facts(connection)
        took_ms = (time.monotonic() - began) * 1000
    except OpsError as error:
        return (of_error("database", "The database was not reached", error),)
    found = [
        well(
            "database",
            f"PostgreSQL {facts.version} answers",
            f"as {facts.user} in {took_ms:.0f} ms",
        )
    ]
    if not (facts.superuser or facts.can_silence_triggers):
        found.append(
            doubtful(
                "database-rights",
                f"The role {facts.user} may not set session_replication_role",
                evidence="rows are put back with triggers firing",
                remedy="use the project's postgres role",
            )
        )
    else:
        found.append(well("database-rights", f"The role {facts.user} may restore rows"))
    try:
        clients = choose_clients(at_least=facts.major, needs=("tls",) if needs_tls(url) else ())
    except OpsError as error:
        found.append(
            wrong(
                "pg-dump-version",
                "No pg_dump fits the server",
                evidence=error.why,
                remedy=error.hint,
            )
        )
    else:
        found.append(
            well("pg-dump-version", "pg_dump fits the server", f"{clients.name} {clients.version}")
        )
    return tuple(found)


def pooler(call: Call) -> tuple[Finding, ...]:
    """Tell what stands at the end of the database's addresses: the server, or which pooler."""
    from opsctl.adapters.pg_pooler import look_at_end
    from opsctl.core.secrets import resolve_secret

    settings = call.environment.database
    if settings is None:
        return (unneeded("pooler", "No pooler is looked for", "no database in the settings"),)
    found: list[Finding] = []
    for rule, setting in (("pooler", "url"), ("pooler-url", "pooler_url")):
        reference = getattr(settings, setting)
        if reference is None:
            continue
        try:
            end = look_at_end(resolve_secret(reference))
        except OpsError as error:
            # An address that is not reached is told by the look at the database; why it may be
            # so is told here.
            if error.code == "ipv6-only":
                found.append(of_error(rule, f"database.{setting} has no IPv4", error))
            elif setting == "pooler_url":
                found.append(of_error(rule, "database.pooler_url was not reached", error))
            continue
        found += judge_end(rule, setting, end)
    return tuple(found) or (
        unneeded("pooler", "Whether there is a pooler was not seen", "no connection was made"),
    )


_TITLES = {
    "direct": "leads to the server itself",
    "session": "leads to a pooler in session mode",
    "transaction": "leads to a pooler in transaction mode",
}
_IPV6 = "the session pooler (port 5432 of the pooler's host) has IPv4; or buy the IPv4 address"


def judge_end(rule: str, setting: str, end: End) -> tuple[Finding, ...]:
    """Judge one address: plans, dumps and locks need a session, an application does not."""
    title = f"database.{setting} {_TITLES[end.mode]}"
    found: list[Finding]
    if setting == "url" and end.mode == "transaction":
        found = [
            wrong(
                rule,
                title,
                evidence=f"{end.where}; locks, snapshots and dumps need a session",
                remedy="database.url: the direct host, or the session pooler (port 5432); this "
                "one is database.pooler_url",
            )
        ]
    elif setting == "pooler_url" and end.mode == "direct":
        found = [
            doubtful(
                rule,
                title,
                evidence=f"{end.where}; opsctl diagnose db looks at the pooler there",
                remedy="set database.pooler_url to the pooler's address, or leave it out",
            )
        ]
    else:
        found = [well(rule, title, end.where)]
    if end.only_ipv6:
        found.append(
            doubtful(
                f"{rule}-ipv6",
                f"The host of database.{setting} has IPv6 addresses alone",
                evidence=f"{end.where}; Vercel and GitHub Actions have no IPv6",
                remedy=_IPV6,
            )
        )
    return tuple(found)


def reachability(call: Call) -> tuple[Finding, ...]:
    """Ask each API and endpoint for anything at all, and read the time from its answer."""
    from opsctl.adapters.http import fetch_all
    from opsctl.core.settings import HealthEndpoint

    environment = call.environment
    addresses = {
        "vercel": environment.vercel.api if environment.vercel else None,
        "supabase": environment.supabase.api if environment.supabase else None,
        "supabase-project": environment.supabase.url if environment.supabase else None,
        "github": environment.github.api if environment.github else None,
        **{f"health-{each.name}": each.url for each in environment.health},
    }
    asked = [
        HealthEndpoint(name=name, url=address, timeout_s=_REACH_S)
        for name, address in addresses.items()
        if address is not None
    ]
    if not asked:
        return (unneeded("reachability", "Nobody is asked", "no API in the settings"),)
    before = time.time()
    answers = fetch_all(asked)
    found = []
    skews = []
    for each in answers:
        rule, host = f"reach-{each.name}", urlsplit(each.url).netloc
        if each.failure is not None:
            found.append(
                unseen(
                    rule,
                    f"{host} was not reached",
                    evidence=f"{each.failure}: {each.detail}",
                    remedy=_WAYS.get(each.failure, "opsctl diagnose connection"),
                )
            )
            continue
        found.append(well(rule, f"{host} answers", f"{each.status} in {each.took_ms:.0f} ms"))
        skew = _skew_s(each.headers.get("date", ""), before + each.took_ms / 1000)
        if skew is not None:
            skews.append((abs(skew), skew, host))
    return (*found, _clock(skews))


_WAYS = {
    "dns": "check the name in the settings, and this machine's resolver",
    "network": "this machine has no way out: check its network or proxy",
    "tls": "check this machine's clock and certificates",
    "timeout": "is a firewall or proxy in the way?",
}


def _skew_s(date: str, now: float) -> float | None:
    """Return how far this clock is ahead of a Date header, in s, whose whole seconds lag by 0-1."""
    try:
        return now - (parsedate_to_datetime(date).timestamp() + 0.5)
    except (ValueError, TypeError):
        return None


def _clock(skews: list[tuple[float, float, str]]) -> Finding:
    if not skews:
        return unseen(
            "clock",
            "The clock was compared with nobody's",
            evidence="no answer carried a date",
            remedy="date -u; timedatectl status",
        )
    # The nearest counts: one server's clock may be off, too.
    size, skew, host = min(skews)
    text = f"{size:.1f} s {'ahead of' if skew > 0 else 'behind'} {host}"
    if size > _BAD_SKEW_S:
        return wrong(
            "clock",
            "This machine's clock is wrong",
            evidence=text,
            remedy="set it by NTP: sudo timedatectl set-ntp true",
        )
    if size > _SKEW_S:
        return doubtful(
            "clock",
            "This machine's clock is off",
            evidence=text,
            remedy="set it by NTP: sudo timedatectl set-ntp true",
        )
    return well("clock", "This machine's clock is right", text)


Ask = tuple[str, str, Callable[[], object], str]
"""Rule, what is read, how, and which commands need it."""


def vercel(call: Call) -> tuple[Finding, ...]:
    """Ask Vercel for what opsctl reads, one scope after the other."""
    settings = call.environment.vercel
    if settings is None:
        return (unneeded("vercel", "Vercel is not asked", "no vercel in the settings"),)
    from opsctl.adapters.vercel import VercelApi

    api = VercelApi(settings, patience=_PATIENCE)
    return _ask_all(
        "Vercel",
        "https://vercel.com/account/settings/tokens",
        (
            ("vercel", "the project", api.project, "rollback app"),
            ("vercel-production", "production's domains",
             lambda: api.production(api.project()), "rollback app"),
            ("vercel-variables", "the names of variables", api.variables, "rotate, backup app"),
        ),
    )  # fmt: skip


def supabase(call: Call) -> tuple[Finding, ...]:
    """Ask Supabase's Management API for what opsctl reads."""
    settings = call.environment.supabase
    if settings is None:
        return (unneeded("supabase", "Supabase is not asked", "no supabase in the settings"),)
    if settings.ref is None or settings.access_token is None:
        return (
            doubtful(
                "supabase",
                "The Management API is not asked",
                evidence="supabase.ref or supabase.access_token is not set",
                remedy="set both; a token: https://supabase.com/dashboard/account/tokens",
            ),
        )
    from opsctl.adapters.supabase_keys import SupabaseKeys
    from opsctl.adapters.supabase_project import read_auth_config, read_disk

    keys = SupabaseKeys(settings, patience=_PATIENCE)
    return _ask_all(
        "Supabase",
        "https://supabase.com/dashboard/account/tokens",
        (
            ("supabase", "the project's sign-in settings",
             lambda: read_auth_config(settings), "diagnose auth"),
            ("supabase-disk", "the disk", lambda: read_disk(settings), "healthcheck"),
            ("supabase-keys", "the names of API keys", keys.keys, "rotate"),
        ),
    )  # fmt: skip


def github(call: Call) -> tuple[Finding, ...]:
    """Ask GitHub for what opsctl reads."""
    settings = call.environment.github
    if settings is None:
        return (unneeded("github", "GitHub is not asked", "no github in the settings"),)
    from opsctl.adapters.github import GithubApi

    api = GithubApi(settings, patience=_PATIENCE)
    return _ask_all(
        "GitHub",
        "https://github.com/settings/personal-access-tokens",
        (
            ("github", "the repository", api.repository, "rollback code"),
            ("github-secrets", "the names of secrets",
             lambda: api.secrets(settings.environment), "rotate, backup app"),
            ("github-variables", "the variables",
             lambda: api.variables(settings.environment), "backup app"),
        ),
    )  # fmt: skip


def _ask_all(who: str, tokens: str, asks: tuple[Ask, ...]) -> tuple[Finding, ...]:
    """Read one thing after the other; where the token is refused, say for what."""
    found: list[Finding] = []
    for rule, what, read, needed_by in asks:
        try:
            read()
        except OpsError as error:
            if error.code.endswith("-refused"):
                found.append(
                    wrong(
                        rule,
                        f"{who} does not let the token read {what}",
                        evidence=f"{error.why}; needed by: {needed_by}",
                        remedy=f"make a token that may: {tokens}",
                    )
                )
            else:
                found.append(of_error(rule, f"{who} did not show {what}", error))
            if error.code.endswith("-unreachable") or error.code == "secret-missing":
                break
        else:
            found.append(well(rule, f"{who} shows {what}"))
    return tuple(found)
