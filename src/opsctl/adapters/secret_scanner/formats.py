"""Checks of tokens that carry their own proof: checksums, structure, what decodes."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from typing import Any

from opsctl.adapters.secret_scanner.placeholders import is_placeholder, is_weak
from opsctl.adapters.secret_scanner.randomness import UUID, entropy, looks_random, surprise
from opsctl.adapters.secret_scanner.sighting import Sighting, Verdict

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PEM_BODY = re.compile(r"(?:\\[nr]|[\s\"'+,\\])*((?:[A-Za-z0-9+/=]{16,}(?:\\+[nr]|[\s\"'+,\\])*)+)")
_PEM_HEADERS = re.compile(r"^(?:(?:\\[nr]|\s)*[A-Za-z-]{3,20}: [^\n\\]{1,100}(?:\\[nr]|\s)+)+")


def base62(number: int, width: int) -> str:
    """Return a number in base 62, digits before capitals before small letters."""
    text = ""
    while number:
        number, rest = divmod(number, 62)
        text = _BASE62[rest] + text
    return text.rjust(width, "0")


def crc_fits(token: str, prefix: str) -> bool:
    """Whether the last six signs are the CRC-32 of what stands between them and the prefix."""
    body = token[len(prefix) : -6]
    return base62(zlib.crc32(body.encode()), 6) == token[-6:]


def checked_token(seen: Sighting) -> Verdict | None:
    """Confirm a token of GitHub or npm: random, and sure where its checksum fits."""
    prefix = seen.value[:4]
    if crc_fits(seen.value, prefix):
        return Verdict(note="its checksum fits")
    if entropy(seen.value[4:]) < 3.5 or surprise(seen.value[4:]) < 4.75:
        return None
    if seen.place.is_fixture:
        return None
    return Verdict(confidence="medium", note="its checksum does not fit: mistyped, or made up")


def any_value(seen: Sighting) -> Verdict | None:
    """Confirm a token whose form nothing else has."""
    return Verdict()


def assigned_value(seen: Sighting) -> Verdict | None:
    """Confirm a value of a provider's form that is assigned to the provider's name."""
    if seen.place.is_lock or seen.place.is_fixture or is_public(seen.value):
        return None
    if UUID.match(seen.value) or looks_random(seen.value, least=10):
        return Verdict(confidence="medium")
    return None


def random_token(seen: Sighting) -> Verdict | None:
    """Confirm a token whose form a word could have, too."""
    if seen.rule.assigned and seen.place.is_lock:
        return None
    body = re.sub(r"^[A-Za-z]{1,10}[_-]", "", seen.value)
    return Verdict() if looks_random(body, least=10) else None


def random_or_uuid(seen: Sighting) -> Verdict | None:
    """Confirm a value assigned to a provider's name: random, and under a name of a secret."""
    return _assigned(seen, needs_name=True)


def provider_value(seen: Sighting) -> Verdict | None:
    """Confirm a value assigned to the name of a service that has public values, too."""
    return _assigned(seen, needs_name=True)


_SECRET_NAME = re.compile(
    r"token|key|secret|pass|pwd|auth|cred|bearer|pat\b|api|dsn|private|webhook", re.IGNORECASE
)
_PUBLIC_NAME = re.compile(
    r"client[_.-]?id|app[_.-]?id|_id\b|id$|public|publishable|site[_.-]?key|search[_.-]?key|"
    r"user(?:name)?$|account|version|url|uri|host|name$|hash|sha\d|digest|integrity|commit|rev\b|"
    r"project|measurement|tracking|workspace|team|org",
    re.IGNORECASE,
)


_PUBLIC_VALUE = re.compile(
    r"sb_publishable_|pk_(?:live|test)_|phc_|pk\.ey|pub[-_]|UA-\d|G-[A-Z0-9]{8}|GTM-|ca-pub-|public_|"
    r"sq0idp-|appl_|goog_|prj_|team_|org-|user_|acct_|cus_|price_|prod_|proj_|price_"
)


def is_public(value: str) -> bool:
    """Whether a value says itself that it is public, or has a rule of its own that judges it."""
    if _PUBLIC_VALUE.match(value):
        return True
    return value.startswith("ey") and value.count(".") == 2 and decode_jwt(value) is not None


def _assigned(seen: Sighting, *, needs_name: bool) -> Verdict | None:
    if is_public(seen.value):
        return None
    head = seen.match[: seen.start - seen.begin]
    left = re.search(r"[\w.\-]*$", seen.before(40))
    name = (left[0] if left else "") + head.rstrip(" \t=:>\"'`([{,\\\n\r")
    name = re.sub(r"[\"'\])]\s*:?\s*\w*$", "", name)
    if needs_name and not _SECRET_NAME.search(name):
        return None
    if _PUBLIC_NAME.search(name) and not re.search(r"secret|private|admin|token|pass", name, re.I):
        return None
    if seen.place.is_lock or seen.place.is_fixture:
        return None
    if not (UUID.match(seen.value) or looks_random(seen.value, least=12)):
        return None
    return Verdict(confidence="medium")


def slack(seen: Sighting) -> Verdict | None:
    """Confirm a Slack token: groups of digits and a random end."""
    parts = seen.value.split("-")
    if len(parts) < 3 and not seen.value.lower().startswith(("xoxd", "xoxe", "xoxc")):
        return None
    tail = parts[-1]
    digits = [part for part in parts[1:-1] if part.isdigit()]
    if not digits and not looks_random(tail, least=10):
        return None
    if len(tail) < 10 and not looks_random(seen.value[5:], least=10):
        return None
    if surprise(tail) < 4.2 and not re.fullmatch(r"[0-9a-f]+", tail):
        return None
    return Verdict()


def slack_webhook(seen: Sighting) -> Verdict | None:
    """Confirm a webhook of Slack; the documentation's own is none."""
    if "T00000000" in seen.value or "XXXX" in seen.value:
        return None
    return Verdict() if surprise(seen.value.rsplit("/", 1)[-1]) > 4.5 else None


def discord(seen: Sighting) -> Verdict | None:
    """Confirm a bot's token: its first part is a number in base64."""
    first = seen.value.split(".")[0]
    decoded = _from_base64(first)
    if decoded is None or not decoded.isdigit() or not 17 <= len(decoded) <= 20:
        return None
    return Verdict(note="its first part decodes to a user id")


def google_key(seen: Sighting) -> Verdict | None:
    """Confirm a key that Google calls no secret where it is Firebase's for browsers."""
    around = seen.before(400) + seen.after(400)
    if re.search(r"authDomain|messagingSenderId|firebase|mobilesdk|NEXT_PUBLIC|maps", around, re.I):
        return None
    if surprise(seen.value[4:]) < 4.6 or seen.place.is_client:
        return None
    return Verdict(confidence="medium")


def vault_token(seen: Sighting) -> Verdict | None:
    """Confirm a token of Vault; the old form is told from a property by its neighbours."""
    body = seen.value.partition(".")[2]
    if not looks_random(body, least=20):
        return None
    if seen.value.startswith("s.") and not re.search(r"\d.*\d", body):
        return None
    return Verdict(confidence="high" if seen.value.startswith("hv") else "medium")


def twitter_bearer(seen: Sighting) -> Verdict | None:
    """Confirm a bearer token: many letters A, then a random rest."""
    return Verdict() if looks_random(seen.value.lstrip("A"), least=40) else None


def pem(seen: Sighting) -> Verdict | None:
    """Confirm a private key: a body of base64 follows its first line."""
    if seen.place.is_fixture:
        return None
    rest = seen.after(6000)
    rest = _PEM_HEADERS.sub("", rest)
    found = _PEM_BODY.match(rest)
    if found is None:
        return None
    body = re.sub(r"\\+[nr]|[\s\"'+,\\]", "", found[1])
    if len(body) < 60 or len(set(body)) < 20:
        return None
    protected = "ENCRYPTED" in seen.value or "ENCRYPTED" in seen.after(120)
    note = "it is protected by a passphrase" if protected else ""
    return Verdict(severity="high" if protected else "", note=note, value=body[:4000])


def pem_in_base64(seen: Sighting) -> Verdict | None:
    """Confirm a private key that was put into base64 whole."""
    decoded = _from_base64(re.sub(r"\s", "", seen.value)[:200]) or ""
    return Verdict() if "PRIVATE KEY" in decoded else None


def putty(seen: Sighting) -> Verdict | None:
    """Confirm a private key of PuTTY: it holds private lines."""
    return Verdict() if "Private-Lines:" in seen.after(6000) else None


def jwk(seen: Sighting) -> Verdict | None:
    """Confirm a JSON Web Key: `d`, or `k` of a symmetric one, is its private part."""
    kind = re.findall(r"RSA|EC|OKP|oct", seen.match)[-1]
    before, after = seen.before(3000), seen.after(6000)
    opened = before.rfind("{")
    closed = after.find("}")
    inside = before[opened + 1 :] + seen.match + (after[:closed] if closed >= 0 else after)
    part = "k" if kind == "oct" else "d"
    found = re.search(rf'\\*"{part}\\*"\s{{0,3}}:\s{{0,3}}\\*"([A-Za-z0-9_=-]{{20,}})', inside)
    if found is None or is_placeholder(found[1]) or seen.place.is_fixture:
        return None
    return Verdict(value=found[1])


def kubernetes(seen: Sighting) -> Verdict | None:
    """Confirm a manifest of a Secret that holds values which are not sealed."""
    text = seen.after(4000).split("\n---")[0]
    text = seen.before(2000).split("\n---")[-1] + seen.match + text
    if "sops:" in text or "SealedSecret" in text or seen.place.is_fixture:
        return None
    section = re.search(
        r"^[\"\s]{0,8}(?:data|stringData)\"?:[ \t{]*\r?\n?((?:[ \t]+[^\n]*\r?\n?)+)", text, re.M
    )
    if section is None:
        return None
    for line in section[1].splitlines():
        name, _, raw = line.strip().partition(":")
        value = raw.strip().strip("\"',")
        decoded = _from_base64(value) if len(value) >= 8 else None
        if not re.search(r"pass|secret|token|key|cred|auth|pwd|dsn|url", name, re.I):
            continue
        for each in (value, decoded or ""):
            if _is_telling(each) and not is_placeholder(each) and not is_weak(each):
                return Verdict(value=value, note=f"its entry {name[:60]} holds a value")
    return None


def basic_auth(seen: Sighting) -> Verdict | None:
    """Confirm `user:password` in base64."""
    decoded = _from_base64(seen.value)
    if decoded is None or ":" not in decoded:
        return None
    user, _, password = decoded.partition(":")
    if not decoded.isprintable() or not user or len(password) < 4:
        return None
    if is_weak(password) or is_placeholder(password) or is_placeholder(user):
        return None
    if seen.place.is_fixture:
        return None
    return Verdict(note="it decodes to a user and a password")


def decode_jwt(token: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return a token's header and payload, or None where it is none."""
    parts = []
    for part in token.split(".")[:2]:
        text = _from_base64(part)
        if text is None:
            return None
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(data, dict):
            return None
        parts.append(data)
    return (parts[0], parts[1]) if len(parts) == 2 else None


def _is_telling(value: str) -> bool:
    return looks_random(value, least=8) or (len(value) >= 8 and bool(re.search(r"\d", value)))


def _from_base64(text: str) -> str | None:
    """Return decoded UTF-8 text of either alphabet, or None."""
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        return raw.decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
