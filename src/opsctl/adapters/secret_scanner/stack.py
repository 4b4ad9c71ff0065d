"""Checks that know this stack: Supabase's keys and roles, and addresses of databases."""

from __future__ import annotations

import base64
import re
import time
from urllib.parse import unquote

from opsctl.adapters.secret_scanner.assignments import is_strong_enough, password_value
from opsctl.adapters.secret_scanner.formats import decode_jwt
from opsctl.adapters.secret_scanner.placeholders import is_placeholder, is_weak
from opsctl.adapters.secret_scanner.randomness import looks_random, surprise
from opsctl.adapters.secret_scanner.sighting import Sighting, Verdict

_REF = re.compile(r"[a-z]{20}")
_LOCAL = re.compile(
    r"^(?:localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[?::1\]?|host\.docker\.internal|"
    r"[\w-]+\.(?:local|localhost|test|example|invalid)|(?:[\w.-]+\.)?example\.(?:com|org|net))$",
    re.IGNORECASE,
)
_EXAMPLE_HOST = re.compile(
    r"^(?:host(?:name)?|server|address|your[\w.-]*|my[\w-]*host|domain\.(?:com|tld)|"
    r"(?:[\w.-]+\.)?(?:yourdomain|mydomain|foo|bar|host)\.(?:com|tld|org|io)|xxx+|\W.*)$",
    re.IGNORECASE,
)
_USER_WORDS = frozenset(
    """user username usr login name your-user youruser db_user dbuser""".split()  # noqa: SIM905
)


def supabase_secret(seen: Sighting) -> Verdict | None:
    """Confirm a secret key of the new kind."""
    body = seen.value.removeprefix("sb_secret_")
    if is_placeholder(body) or not looks_random(body.replace("_", ""), least=20):
        return None
    # The key that every local project has is in Supabase's documentation.
    if body.startswith("N7UND0UgjKTVK"):
        return None
    return Verdict()


def jwt(seen: Sighting) -> Verdict | None:
    """Read a token's role: anon is public, service_role may do anything."""
    parts = decode_jwt(seen.value)
    if parts is None:
        # Cut or damaged, it is nobody's; but a whole random one is somebody's.
        begins = str(base64.b64decode(seen.value[:8]), "latin-1").startswith('{"')
        if seen.place.is_fixture or not begins or surprise(seen.value[-20:]) < 4.2:
            return None
        return Verdict(title="JSON Web Token", severity="medium", confidence="medium")
    header, payload = parts
    if not ({"alg", "typ", "kid", "enc"} & header.keys()):
        return None
    role, issuer = payload.get("role"), str(payload.get("iss", ""))
    ref = str(payload.get("ref", ""))
    if not _REF.fullmatch(ref):
        found = re.search(r"https://([a-z]{20})\.supabase\.(?:co|in|red)", issuer)
        ref = found[1] if found else ""
    supabase = issuer.startswith("supabase") or bool(ref)
    if role == "anon" or issuer == "supabase-demo":
        return None
    if role == "service_role" and (supabase or "exp" in payload or "iat" in payload):
        return Verdict(
            title="Supabase service_role key",
            severity="critical",
            note="its role is service_role, which passes every policy",
            project=ref,
        )
    if supabase and role == "supabase_admin":
        return Verdict(title="Supabase admin token", severity="critical", project=ref)
    if payload.get("name") == "John Doe" or payload.get("sub") == "1234567890":
        return None
    if seen.place.is_fixture:
        return None
    expires = payload.get("exp")
    if isinstance(expires, int | float) and expires < time.time() and not seen.place.is_client:
        return Verdict(
            title="JSON Web Token", severity="medium", confidence="medium", note="it has expired"
        )
    title = "Session token of a Supabase user" if supabase else "JSON Web Token"
    return Verdict(title=title, severity="medium", confidence="medium", project=ref)


def database_url(seen: Sighting) -> Verdict | None:
    """Confirm a URL with a password that is one, on a host that is one."""
    text = seen.value.replace("\\/", "/")
    if re.match(r"[a-z+0-9]+%3a", text, re.I):
        text = unquote(text)
    scheme, _, rest = text.partition("://")
    authority = re.split(r"[/?#\s]", rest, maxsplit=1)[0] if "@" not in rest else rest
    userinfo, at, tail = authority.rpartition("@") if rest.count("@") == 1 else _split(rest)
    if not at:
        return None
    user, _, password = userinfo.partition(":")
    host = re.split(r"[:/?#,\s]", tail, maxsplit=1)[0]
    verdict = _address(seen, user=user, password=password, host=host)
    if verdict is None:
        return None
    found = re.search(r"(?:^postgres\.|^db\.)?([a-z]{20})(?:$|\.supabase\.)", f"{user}")
    ref = found[1] if found else ""
    match = re.match(r"db\.([a-z]{20})\.supabase\.", host)
    ref = match[1] if match else ref
    name = scheme.split("+")[0].lower()
    title = "Database URL with a password"
    if ref or "supabase" in host:
        title = "Database URL of a Supabase project, with its password"
    elif name in ("redis", "rediss", "amqp", "amqps", "nats", "kafka", "mqtt", "mqtts", "ldap"):
        title = f"{name} URL with a password"
    return Verdict(
        title=title, confidence=verdict.confidence, note=verdict.note, project=ref, value=text
    )


def url_password(seen: Sighting) -> Verdict | None:
    """Confirm `user:password@host` in an address of another kind."""
    rest = seen.value.partition("://")[2]
    userinfo, _, tail = rest.rpartition("@")
    user, _, password = userinfo.partition(":")
    host = re.split(r"[:/?#\s]", tail, maxsplit=1)[0]
    if seen.place.is_lock or "." not in host:
        return None
    verdict = _address(seen, user=user, password=password, host=host)
    if verdict is None or not (looks_random(password, least=8) or is_strong_enough(password)):
        return None
    return Verdict(confidence="medium")


def url_token(seen: Sighting) -> Verdict | None:
    """Confirm a token in the place of a user."""
    return Verdict() if looks_random(seen.value, least=20) else None


def dsn(seen: Sighting) -> Verdict | None:
    """Confirm the password of a connection string in the form key=value."""
    host = re.search(
        r"(?:host|hostaddr|server|data source|addr(?:ess)?)\s?=\s?(?:tcp:)?([^\s;,\"']+)",
        seen.before(100) + seen.match + seen.after(100),
        re.IGNORECASE,
    )
    verdict = password_value(seen)
    if verdict is None:
        return None
    if host and (_LOCAL.match(host[1]) or "." not in host[1]):
        return verdict if looks_random(verdict.value, least=10) else None
    return verdict


def pgpass(seen: Sighting) -> Verdict | None:
    """Confirm a line host:port:database:user:password."""
    if seen.match.lstrip().startswith("#"):
        return None
    host = seen.match.strip("\"' \n").split(":")[0]
    verdict = password_value(seen)
    if verdict and _LOCAL.match(host) and not looks_random(verdict.value, least=10):
        return None
    if seen.rule.id == "pgpass-line" and "." not in host and host != "*":
        return verdict if verdict and looks_random(verdict.value, least=10) else None
    return verdict


def _split(rest: str) -> tuple[str, str, str]:
    """Part an authority whose password holds an @ at its last one before the path."""
    head = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in head:
        return head.rpartition("@")
    return rest.rpartition("@")


def _address(seen: Sighting, *, user: str, password: str, host: str) -> Verdict | None:
    """Judge the parts of an address; the same for every kind of it."""
    password = unquote(password)
    if len(password) < 2 or is_placeholder(password) or is_weak(password):
        return None
    if re.fullmatch(r"\{.*\}|<.*>|\[.*\]|\(.*\)|%.*%", password):
        return None
    if re.match(r"[\[<{(%$:*]", password) and not re.search(r"\d.*[A-Za-z]|[A-Za-z].*\d", password):
        return None
    if re.search(r"[{}<>\[\]$]", host + user) or is_placeholder(user) or _EXAMPLE_HOST.match(host):
        return None
    if password.lower() == user.lower() or re.search(r"\s", password):
        return None
    drawn = looks_random(password, least=10)
    if _LOCAL.match(host) or "." not in host:
        # A container's or this machine's: its password matters if somebody drew it.
        return Verdict(confidence="medium") if drawn and not seen.place.is_fixture else None
    if seen.place.is_fixture and not drawn:
        return None
    if user.lower() in _USER_WORDS and not drawn and surprise(password) < 4.3:
        return None
    if len(password) < 4:
        return None
    return Verdict(confidence="high" if drawn or is_strong_enough(password) else "medium")
