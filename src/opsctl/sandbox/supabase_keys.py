"""API keys, signing keys and edge-function secrets of the sandbox's Supabase project."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opsctl.sandbox.plane import Answered, Asked

Record = dict[str, Any]

_NAME = re.compile(r"[a-z_][a-z0-9_]{3,63}")
_ALGORITHMS = ("EdDSA", "ES256", "RS256", "HS256")
_NEXT = {
    "standby": {"in_use", "revoked"},
    "in_use": {"standby", "previously_used"},
    "previously_used": {"in_use", "revoked", "standby"},
    "revoked": {"standby"},
}
"""Which states a signing key may go to from which."""


def new_project_keys() -> list[Record]:
    """Return the keys that a project begins with: one of each new kind, both legacy ones."""
    return [
        _new_key("publishable", "default"),
        _new_key("secret", "default"),
        *(_legacy(name) for name in ("anon", "service_role")),
    ]


def answer_keys(keys: list[Record], asked: Asked, rest: tuple[str, ...]) -> Answered | None:
    """Answer a request below /api-keys but for /legacy; None where there is no such path."""
    shown = asked.query.get("reveal") == "true"
    body = asked.body if isinstance(asked.body, dict) else {}
    match (asked.method, rest):
        case "GET", ():
            return Answered(data=[_shown(each, reveal=shown) for each in keys])
        case "POST", ():
            kind, name = body.get("type"), body.get("name")
            if kind not in ("publishable", "secret"):
                return Answered(400, {"message": "type must be publishable or secret"})
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                return Answered(400, {"message": "name must match ^[a-z_][a-z0-9_]+$"})
            if any(each["name"] == name and each["type"] == kind for each in keys):
                return Answered(409, {"message": f"An API key named {name} exists already"})
            key = _new_key(kind, name, description=body.get("description"))
            keys.append(key)
            return Answered(201, _shown(key, reveal=shown))
        case method, (id,):
            found = next((each for each in keys if each["id"] == id), None)
            if found is None:
                return Answered(404, {"message": "API key not found"})
            if method == "PATCH":
                for field in ("name", "description"):
                    if field in body:
                        found[field] = body[field]
                found["updated_at"] = _now()
            elif method == "DELETE":
                keys.remove(found)
            elif method != "GET":
                return None
            return Answered(data=_shown(found, reveal=shown))
    return None


def answer_signing_keys(keys: list[Record], asked: Asked, rest: tuple[str, ...]) -> Answered | None:
    """Answer a request below /config/auth/signing-keys; None where there is no such path."""
    body = asked.body if isinstance(asked.body, dict) else {}
    match (asked.method, rest):
        case "GET", ():
            return Answered(data={"keys": keys})
        case "GET", ("legacy",):
            found = next((each for each in keys if each["algorithm"] == "HS256"), None)
            return Answered(data=found) if found else Answered(404, {"message": "Not Found"})
        case "POST", ():
            if body.get("algorithm") not in _ALGORITHMS:
                return Answered(400, {"message": "algorithm is unknown"})
            status = body.get("status", "standby")
            if status not in ("in_use", "standby"):
                return Answered(400, {"message": "status must be in_use or standby"})
            key = new_signing_key(body["algorithm"], status)
            if status == "in_use":
                _retire(keys)
            keys.append(key)
            return Answered(201, key)
        case method, (id,):
            found = next((each for each in keys if each["id"] == id), None)
            if found is None:
                return Answered(404, {"message": "Signing key not found"})
            if method == "GET":
                return Answered(data=found)
            if method == "DELETE":
                if found["status"] == "in_use":
                    return Answered(400, {"message": "A key that is in use cannot be deleted"})
                keys.remove(found)
                return Answered(data=found)
            if method == "PATCH":
                status = body.get("status")
                if status not in _NEXT[found["status"]]:
                    message = f"A key cannot go from {found['status']} to {status}"
                    return Answered(400, {"message": message})
                if status == "in_use":
                    _retire(keys)
                found.update(status=status, updated_at=_now())
                return Answered(data=found)
    return None


def answer_secrets(kept: dict[str, Record], asked: Asked) -> Answered | None:
    """Answer /secrets: names and digests, never values."""
    if asked.method == "GET":
        listed = [{"name": name, **record} for name, record in sorted(kept.items())]
        return Answered(data=listed)
    if asked.method == "POST" and isinstance(asked.body, list):
        for each in asked.body:
            name, value = each.get("name"), each.get("value")
            if not isinstance(name, str) or name.startswith("SUPABASE_"):
                return Answered(400, {"message": "A name must not begin with SUPABASE_"})
            digest = hashlib.sha256(str(value).encode()).hexdigest()
            kept[name] = {"value": digest, "updated_at": _now()}
        return Answered(201, b"")
    if asked.method == "DELETE" and isinstance(asked.body, list):
        for name in asked.body:
            kept.pop(name, None)
        return Answered(data={})
    return None


def new_signing_key(algorithm: str, status: str) -> Record:
    """Return a signing key."""
    now = _now()
    return {"id": str(uuid.uuid4()), "algorithm": algorithm, "status": status,
            "public_jwk": None, "created_at": now, "updated_at": now}  # fmt: skip


def count_prefixes(log: list[Record], query: Mapping[str, str]) -> list[Record]:
    """Return how often each key's prefix was used within a query's span, and when last."""
    begin, end = query.get("iso_timestamp_start", ""), query.get("iso_timestamp_end", "9")
    found: dict[str, Record] = {}
    for entry in log:
        if begin <= entry["timestamp"] < end:
            row = found.setdefault(entry["prefix"], {"prefix": entry["prefix"], "count": 0})
            row["count"] += 1
            row["last"] = max(row.get("last", ""), entry["timestamp"])
    return [found[prefix] for prefix in sorted(found)]


def _retire(keys: list[Record]) -> None:
    for each in keys:
        if each["status"] == "in_use":
            each.update(status="previously_used", updated_at=_now())


def _new_key(kind: str, name: str, *, description: Any = None) -> Record:
    value = f"sb_{kind}_{secrets.token_urlsafe(24)}"
    now = _now()
    return {
        "api_key": value,
        "id": str(uuid.uuid4()),
        "type": kind,
        "prefix": value[: len(f"sb_{kind}_") + 5],
        "name": name,
        "description": description,
        "hash": hashlib.sha256(value.encode()).hexdigest(),
        "secret_jwt_template": {"role": "service_role"} if kind == "secret" else None,
        "inserted_at": now,
        "updated_at": now,
    }


def _legacy(name: str) -> Record:
    return {"api_key": f"eyJ.{name}.{secrets.token_urlsafe(16)}", "id": name, "type": "legacy",
            "prefix": None, "name": name, "description": f"Legacy {name} API key", "hash": None,
            "secret_jwt_template": None, "inserted_at": None, "updated_at": None}  # fmt: skip


def _shown(key: Record, *, reveal: bool) -> Record:
    """Return a key as it is listed: the value of a secret one is masked unless asked for."""
    if key["type"] != "secret" or reveal:
        return key
    return {**key, "api_key": f"{key['prefix']}" + "·" * 26}


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
