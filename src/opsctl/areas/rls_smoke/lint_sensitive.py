"""Lints of columns whose names say that they hold secrets or somebody's identity."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsctl.adapters.sql import quote_identifier
from opsctl.areas.rls_smoke.expressions import Reader
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import READ, Column, Relation
from opsctl.areas.rls_smoke.lint_views import reachable_views

# Words of a column's name, in order, that say that its value is nobody else's business.
_SECRETS = tuple(
    tuple(words.split())
    for words in (
        "password", "passwd", "pwd", "passphrase", "passcode", "secret", "api key", "apikey",
        "token", "jwt", "auth code", "otp", "pin code", "totp", "2fa", "mfa secret",
        "private key", "secret key", "access key", "encryption key", "signing key", "ssh key",
        "pgp key", "session key", "service key", "recovery code", "recovery codes",
        "backup codes", "ssn", "social security", "driver license", "drivers license",
        "passport number", "passport no", "national id", "tax id", "credit card",
        "card number", "cvv", "cvc", "bank account", "account number", "routing number",
        "iban", "swift code", "health record", "medical record", "patient id",
        "insurance number", "diagnosis", "mac address", "imei", "device uuid", "biometric",
        "facial recognition", "fingerprint", "certificate",
    )
)  # fmt: skip

_FIRST = re.compile("|".join(sorted({words[0] for words in _SECRETS})), re.IGNORECASE)
# What makes of such a name a statement about the secret, not the secret.
_ABOUT = frozenset({
    "address", "at", "attempts", "balance", "budget", "changed", "cost", "count", "counts",
    "created", "date", "disabled", "enabled", "expiration", "expired", "expires", "expiry",
    "has", "hint", "id", "ids", "input", "is", "issuer", "kind", "label", "last", "last4",
    "length", "limit", "limits", "max", "min", "name", "names", "on", "output", "per", "policy",
    "price", "prompt", "public", "required", "standard", "state", "status", "symbol",
    "time", "title", "total", "type", "updated", "uri", "url", "usage", "used", "valid",
    "verified", "version",
})  # fmt: skip

_PLAIN = frozenset({
    "bpchar", "bytea", "citext", "json", "jsonb", "name", "text", "uuid", "varchar",
})  # fmt: skip

_NUMBERS = frozenset({
    "account", "card", "cvc", "cvv", "imei", "national", "otp", "patient", "routing", "social",
    "ssn", "tax",
})  # fmt: skip


def lint_sensitive(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    """Return where secrets and identities are read by everybody."""
    views = {view.oid: roles for view, roles, _ in reachable_views(catalog)}
    for relation in catalog.ours:
        if relation.kind in "rp":
            roles, why = _read_by_all(catalog, reader, relation)
        elif relation.kind == "m":
            roles, why = catalog.reach(relation, READ), "no policy binds a materialised view"
        elif relation.kind == "v" and relation.oid in views and not relation.invoker:
            asks = relation.reads_settings or any(map(reader.bodies.is_identity, relation.calls))
            roles = () if asks else tuple(r for r in views[relation.oid] if relation.may(r, READ))
            why = "the view reads as its owner"
        else:
            continue
        found: dict[str, list[str]] = {}
        for role in roles:
            for column in relation.reachable_columns(role):
                if is_sensitive(column):
                    found.setdefault(column.name, []).append(role)
        if found:
            who = tuple(dict.fromkeys(role for held in found.values() for role in held))
            yield Hit(
                "sensitive-columns-exposed",
                relation.key,
                f"{joined(found)} of every row of {relation.key} is open to {joined(who)}",
                ERROR,
                why,
                _withhold(relation, who, frozenset(found)),
                "or keep such columns in a private schema",
            )


def is_sensitive(column: Column) -> bool:
    """Whether a column's name and type say that it holds a secret or somebody's identity."""
    if not _FIRST.search(column.name):
        return False
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", column.name)
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]
    text = column.base in _PLAIN or column.type in _PLAIN
    for secret in _SECRETS:
        size = len(secret)
        for start in range(len(words) - size + 1):
            if tuple(words[start : start + size]) != secret:
                continue
            rest = {*words[:start], *words[start + size :]}
            if not rest & _ABOUT and (
                text or (secret[0] in _NUMBERS and column.base in ("int4", "int8", "numeric"))
            ):
                return True
    return False


def _read_by_all(catalog: Catalog, reader: Reader, table: Relation) -> tuple[tuple[str, ...], str]:
    """Return the roles that read every row of a table, and why."""
    roles = catalog.reach(table, READ)
    if not table.row_security:
        return roles, "row-level security is off"
    found, names = [], []
    for role in roles:
        policies = [
            p
            for p in catalog.policies.get(table.oid, ())
            if p.command in "r*" and role in catalog.policy_roles(p)
        ]
        says = [(p, reader.using(p)) for p in policies]
        narrow = any(not p.permissive and s is not None and not s.always for p, s in says)
        wide = [p.name for p, s in says if p.permissive and s is not None and s.always]
        if wide and not narrow:
            found.append(role)
            names += wide
    return tuple(found), f"always true: {joined(names)}"


def _withhold(
    relation: Relation, roles: tuple[str, ...], columns: frozenset[str]
) -> tuple[str, ...]:
    """Return the statements that leave a role every readable column but some."""
    statements = []
    for role in roles:
        keep = [
            quote_identifier(c.name)
            for c in relation.reachable_columns(role)
            if c.name not in columns
        ]
        revoked = f"PUBLIC, {role}" if READ in relation.public else role
        statements.append(f"REVOKE SELECT ON {relation.sql} FROM {revoked}")
        if keep:
            statements.append(f"GRANT SELECT ({', '.join(keep)}) ON {relation.sql} TO {role}")
    return tuple(statements)
