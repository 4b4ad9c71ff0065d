"""Gather what `diagnose auth` judges: asked of Auth, of the Management API and of the catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opsctl.adapters.jwt import Token, read_token
from opsctl.adapters.network import open_connection, resolve
from opsctl.adapters.pg_startup import sign_in
from opsctl.adapters.pg_target import read_target
from opsctl.adapters.statuspage import ProviderStatus, read_status_page
from opsctl.adapters.supabase_auth import Answer, AuthApi
from opsctl.adapters.supabase_project import AuthConfig, read_auth_config
from opsctl.adapters.vitals import Vitals, ask_questions
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret
from opsctl.core.settings import Auth, Database, SignIn, Supabase

if TYPE_CHECKING:
    from opsctl.core.call import Call

_CONNECT_S = 8.0

_EXPOSED = """
WITH exposed AS (
  SELECT trim(s) AS schema FROM regexp_split_to_table(coalesce((
    SELECT substr(x, strpos(x, '=') + 1)
    FROM pg_db_role_setting r, unnest(r.setconfig) x
    WHERE r.setrole = (SELECT oid FROM pg_roles WHERE rolname = 'authenticator')
      AND r.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND split_part(x, '=', 1) = 'pgrst.db_schemas'
    ORDER BY r.setdatabase DESC LIMIT 1), 'public'), ',') s
)
SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relrowsecurity AS secured,
       EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS policies,
       (SELECT jsonb_agg(r.rolname ORDER BY 1) FROM pg_roles r
        WHERE r.rolname IN ('anon', 'authenticated')
          AND has_schema_privilege(r.oid, n.oid, 'USAGE')
          AND has_table_privilege(r.oid, c.oid, 'SELECT,INSERT,UPDATE,DELETE')) AS roles
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN exposed e ON e.schema = n.nspname
WHERE c.relkind IN ('r', 'p') ORDER BY 1
"""
_API_ROLES = "SELECT rolname AS name FROM pg_roles WHERE rolname IN ('anon', 'authenticated')"


@dataclass(frozen=True)
class Key:
    """One API key: what it says of itself, and what the servers say to it."""

    name: str
    """`publishable` or `secret`."""
    reference: str
    error: OpsError | None = None
    """Why there is no key."""
    kind: str = ""
    """`publishable`, `secret`, `legacy` or `other`, by its form."""
    token: Token | None = None
    """What a legacy key says of itself."""
    answer: Answer = field(default_factory=Answer)


@dataclass(frozen=True)
class SignedIn:
    """One test user's sign-in. The token is gone by now; what it said is kept."""

    settings: SignIn
    error: OpsError | None = None
    answer: Answer = field(default_factory=Answer)
    token: Token | None = None
    accepted: Answer = field(default_factory=Answer)
    """Of /user, with the user's token."""
    signed_out: Answer = field(default_factory=Answer)


@dataclass(frozen=True)
class AuthFacts:
    """Everything that `diagnose auth` looks at. What was not asked is None."""

    url: str
    reference: str
    """The project's, or empty."""
    expected: Auth
    provider: ProviderStatus
    health: Answer
    settings: Answer
    signing_keys: Answer
    publishable: Key | None
    secret: Key | None
    sign_ins: tuple[SignedIn, ...]
    preflight: Answer | None
    config: AuthConfig | None
    config_error: OpsError | None
    exposed: Vitals | None
    exposed_error: OpsError | None
    at: datetime


def gather_auth(call: Call) -> AuthFacts:
    """Ask everybody at the same time; raises OpsError `no-supabase` where there is no project."""
    environment = call.environment
    supabase = environment.supabase
    url = "" if supabase is None else supabase.url or ""
    if supabase is not None and not url and supabase.ref:
        url = f"https://{supabase.ref}.supabase.co"
    if supabase is None or not url:
        raise OpsError(
            "There is no Supabase project to diagnose",
            why=f"environments.{call.name}.supabase has neither url nor ref",
            hint=f"set environments.{call.name}.supabase.url in the settings",
            code="no-supabase",
        )
    call.say(f"Auth: {url}")
    with ThreadPoolExecutor(max_workers=3) as pool:
        provider = pool.submit(read_status_page, supabase.status_page)
        config = pool.submit(_config, supabase)
        exposed = pool.submit(_exposed, environment.database)
        asked = asyncio.run(_ask(url, supabase, environment.auth))
        found, config_error = config.result()
        vitals, exposed_error = exposed.result()
        return AuthFacts(
            url=url,
            reference=supabase.ref or "",
            expected=environment.auth,
            provider=provider.result(),
            config=found,
            config_error=config_error,
            exposed=vitals,
            exposed_error=exposed_error,
            at=datetime.now(UTC),
            **asked,
        )


def origin_of(url: str) -> str:
    """Return the origin of a page as a browser sends it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def _ask(url: str, supabase: Supabase, expected: Auth) -> dict[str, Any]:
    publishable, open_key = _key("publishable", supabase.publishable_key)
    secret, closed_key = _key("secret", supabase.secret_key)
    async with AuthApi(url) as api:
        health, settings, signing_keys, admitted, preflight = await asyncio.gather(
            api.health(open_key),
            api.settings(open_key),
            api.signing_keys(open_key),
            api.administer(closed_key) if closed_key else _nothing(),
            api.preflight(origin=origin_of(expected.site_url)) if expected.site_url else _nothing(),
        )
        if health.status == 0:
            signed = [SignedIn(each, None, health) for each in expected.sign_ins]
        else:
            # One after the other: many at once look like an attack, and are answered as one.
            signed = [await _sign_in(api, open_key, each) for each in expected.sign_ins]
    return {
        "health": health,
        "settings": settings,
        "signing_keys": signing_keys,
        "publishable": _answered(publishable, settings),
        "secret": _answered(secret, admitted),
        "sign_ins": tuple(signed),
        "preflight": preflight if expected.site_url else None,
    }


async def _nothing() -> Answer:
    return Answer()


def _key(name: str, reference: str | None) -> tuple[Key | None, str]:
    """Return what a key is, and the key itself; empty where there is none."""
    if reference is None:
        return None, ""
    try:
        text = resolve_secret(reference)
    except OpsError as error:
        return Key(name, reference, error), ""
    kinds = {"sb_publishable_": "publishable", "sb_secret_": "secret"}
    kind = next((kind for prefix, kind in kinds.items() if text.startswith(prefix)), "")
    token = read_token(text)
    kind = kind or ("legacy" if token is not None else "other")
    return Key(name, reference, kind=kind, token=token), text


def _answered(key: Key | None, answer: Answer) -> Key | None:
    if key is None or key.error is not None:
        return key
    return Key(key.name, key.reference, None, key.kind, key.token, answer)


async def _sign_in(api: AuthApi, key: str, settings: SignIn) -> SignedIn:
    try:
        password = resolve_secret(settings.password)
    except OpsError as error:
        return SignedIn(settings, error)
    answer = await api.sign_in(key, email=settings.email, password=password)
    token = answer.data.get("access_token")
    kept = Answer(answer.status, why=answer.why, code=answer.code, took_ms=answer.took_ms)
    if answer.status != 200 or not isinstance(token, str):
        return SignedIn(settings, None, kept)
    accepted = await api.user(key, token=token)
    signed_out = await api.sign_out(key, token=token)
    return SignedIn(settings, None, kept, read_token(token), accepted, signed_out)


def _config(supabase: Supabase) -> tuple[AuthConfig | None, OpsError | None]:
    if supabase.access_token is None or supabase.ref is None:
        return None, None
    try:
        return read_auth_config(supabase), None
    except OpsError as error:
        return None, error


def _exposed(database: Database | None) -> tuple[Vitals | None, OpsError | None]:
    if database is None:
        return None, None
    try:
        return _ask_catalog(database.url, {"exposed": _EXPOSED, "api_roles": _API_ROLES}), None
    except OpsError as error:
        return None, error


def _ask_catalog(reference: str, questions: Mapping[str, str]) -> Vitals:
    target = read_target(resolve_secret(reference))
    addresses = resolve(target.host_address or target.host)
    opened = open_connection(addresses.all, target.port, timeout_s=_CONNECT_S)
    ending = "it was not reached"
    if opened.socket is not None:
        signed_in = sign_in(target, opened.socket, timeout_s=_CONNECT_S)
        if signed_in.wire is not None:
            try:
                return ask_questions(signed_in.wire, questions, major=signed_in.major)
            finally:
                signed_in.wire.close()
        ending = f"the sign-in ended: {signed_in.ending}"
    raise OpsError(
        "The database was not asked",
        why=ending,
        hint="opsctl diagnose db",
        code="database-unreachable",
        exit=Exit.UNKNOWN,
    )
