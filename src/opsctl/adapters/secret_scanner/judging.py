"""What judges a match: the rule's check by its name, entropy, and placeholders."""

from __future__ import annotations

from collections.abc import Mapping

from opsctl.adapters.secret_scanner import assignments, formats, stack
from opsctl.adapters.secret_scanner.placeholders import is_placeholder
from opsctl.adapters.secret_scanner.randomness import entropy
from opsctl.adapters.secret_scanner.rules import Rule
from opsctl.adapters.secret_scanner.sighting import Buffer, Check, Place, Sighting, Verdict

CHECKS: Mapping[str, Check] = {
    "github": formats.checked_token,
    "npm": formats.checked_token,
    "random": formats.random_token,
    "random_letters": formats.random_token,
    "random_or_uuid": formats.random_or_uuid,
    "provider": formats.provider_value,
    "slack": formats.slack,
    "slack_webhook": formats.slack_webhook,
    "discord": formats.discord,
    "google_key": formats.google_key,
    "vault_token": formats.vault_token,
    "twitter_bearer": formats.twitter_bearer,
    "pem": formats.pem,
    "pem_in_base64": formats.pem_in_base64,
    "putty": formats.putty,
    "jwk": formats.jwk,
    "kubernetes": formats.kubernetes,
    "basic_auth": formats.basic_auth,
    "generic_password": assignments.generic_password,
    "generic_secret": assignments.generic_secret,
    "generic_line": assignments.generic_line,
    "generic_near": assignments.generic_near,
    "any": formats.any_value,
    "assigned": formats.assigned_value,
    "command_password": assignments.command_password,
    "bearer": assignments.bearer,
    "plain_value": assignments.plain_value,
    "password_value": assignments.password_value,
    "supabase_secret": stack.supabase_secret,
    "jwt": stack.jwt,
    "database_url": stack.database_url,
    "url_password": stack.url_password,
    "url_token": stack.url_token,
    "dsn": stack.dsn,
    "pgpass": stack.pgpass,
}
_WHOLE_VALUE = frozenset(
    """pem pem_in_base64 putty jwk kubernetes database_url jwt url_password basic_auth
    twitter_bearer""".split()  # noqa: SIM905
)
"""Checks that judge more than the group `secret`: neither entropy nor placeholders are asked."""
_OWN_ENTROPY = _WHOLE_VALUE | {"password_value", "dsn", "pgpass"}


def judge(
    rule: Rule, data: Buffer, match: tuple[int, int], secret: tuple[int, int], place: Place
) -> tuple[Verdict, str] | None:
    """Return the verdict on a match and the secret in it, or None where it is none.

    `match` and `secret` are where the rule's match and its secret begin and end in `data`; the
    secret begins at -1 where the match has no part of its own for it.
    """
    begin, stop = match
    start, end = secret if secret[0] >= 0 else match
    value = str(data[start:end], "latin-1")
    own = rule.check in _OWN_ENTROPY
    if not own and entropy(value) < rule.entropy:
        return None
    # A name and a form say little: what stands there must look drawn, too.
    check = rule.check or ("assigned" if rule.assigned else "any")
    seen = Sighting(rule, place, data, str(data[begin:stop], "latin-1"), value, start, begin)
    verdict = CHECKS[check](seen)
    # Last, since it takes longest.
    if verdict is None or (not own and is_placeholder(value, strict=rule.severity == "critical")):
        return None
    return verdict, verdict.value or value
