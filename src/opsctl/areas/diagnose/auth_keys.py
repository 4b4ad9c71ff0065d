"""Judge the project's keys: the API keys by form and by what the gateway says, the signing keys."""

from __future__ import annotations

from opsctl.areas.diagnose.auth_facts import AuthFacts, Key
from opsctl.areas.diagnose.findings import green, not_judged, note, red, unknown, yellow
from opsctl.core.report import Finding

_ROLES = {"publishable": "anon", "secret": "service_role"}
_DAYS = 30
"""Before its end a key is worth a warning."""
_PRIVATE_PARTS = ("d", "k", "p", "q")
"""Members of a JSON Web Key that only its owner may know (RFC 7518)."""


def judge_keys(facts: AuthFacts) -> list[Finding]:
    """Return the findings on both API keys and on the signing keys."""
    return [
        *_api_key(facts.publishable, "publishable", facts),
        *_api_key(facts.secret, "secret", facts),
        *_signing_keys(facts),
    ]


def _api_key(key: Key | None, name: str, facts: AuthFacts) -> list[Finding]:
    rule = f"{name}-key"
    if key is None:
        return [
            not_judged(
                rule,
                f"The {name} key was not tried",
                next=f"set supabase.{name}_key in the settings, by reference",
            )
        ]
    if key.error is not None:
        return [unknown(rule, f"The {name} key could not be read", saw=key.error.why,
                        next=key.error.hint)]  # fmt: skip
    where = key.reference
    if wrong := _wrong_kind(key, rule):
        # Nothing else matters then: a secret key in a browser is open to everybody.
        return [wrong]
    found = _form(key, rule, facts)
    answer = key.answer
    if answer.status == 200:
        if not any(each.severity.value == "error" for each in found):
            found.insert(0, green(rule, f"The {name} key is accepted", where=where))
    elif answer.status in (401, 403):
        found.append(red(rule, f"The {name} key is refused", saw=f"status {answer.status}, "
                         f"{answer.why or answer.code or 'no reason given'}", where=where,
                         next="is it this project's, was it revoked or disabled? "
                         "Project Settings, API Keys"))  # fmt: skip
    else:
        saw = f"status {answer.status}" if answer.status else answer.why
        found.append(unknown(rule, f"The {name} key could not be tried", saw=saw,
                             next="see above", where=where))  # fmt: skip
    return found


def _wrong_kind(key: Key, rule: str) -> Finding | None:
    role = key.token.role if key.token is not None else ""
    other = "secret" if key.name == "publishable" else "publishable"
    if key.kind != other and not (role and role == _ROLES[other]):
        return None
    if key.name == "publishable":
        return red(
            rule,
            "The publishable key is a secret one: browsers would have all rights",
            saw=f"its form: {role or key.kind}",
            where=key.reference,
            next="change it at once, and revoke that key if it was ever deployed",
        )
    return red(rule, "The secret key is a publishable one: the server has no rights with it",
               saw=f"its form: {role or key.kind}", where=key.reference,
               next="Project Settings, API Keys: a secret key")  # fmt: skip


def _form(key: Key, rule: str, facts: AuthFacts) -> list[Finding]:
    token, where = key.token, key.reference
    if key.kind == "other":
        return [yellow(rule, f"The {key.name} key has an unknown form", where=where,
                       saw="it is neither sb_..., nor a token",
                       next="was it cut off or quoted when it was copied?")]  # fmt: skip
    if key.kind != "legacy" or token is None:
        return []
    found = [
        note(
            rule,
            f"The {key.name} key is a legacy one: they are to end with 2026",
            where=where,
            next="make a new key, then change every place that has this one",
        )
    ]
    if facts.reference and token.reference and token.reference != facts.reference:
        found.append(red(rule, f"The {key.name} key is another project's", where=where,
                         saw=f"{token.reference}, not {facts.reference}",
                         next="Project Settings, API Keys"))  # fmt: skip
    if token.role != _ROLES[key.name]:
        found.append(yellow(rule, f"The {key.name} key has the role {token.role or 'none'}",
                            where=where, saw=f"usual is {_ROLES[key.name]}",
                            next="is that meant?"))  # fmt: skip
    if token.ends is not None and token.ends <= facts.at:
        found.append(red(rule, f"The {key.name} key has expired", where=where,
                         saw=f"{token.ends:%Y-%m-%d}", next="make a new key"))  # fmt: skip
    elif token.ends is not None and (token.ends - facts.at).days < _DAYS:
        found.append(yellow(rule, f"The {key.name} key ends in {(token.ends - facts.at).days} "
                            "days", where=where, saw=f"{token.ends:%Y-%m-%d}",
                            next="make a new key"))  # fmt: skip
    return found


def _signing_keys(facts: AuthFacts) -> list[Finding]:
    answer, keys = facts.signing_keys, facts.signing_keys.data.get("keys")
    rule = "signing-keys"
    if answer.status != 200 or not isinstance(keys, list):
        saw = f"status {answer.status}" if answer.status else answer.why
        return [unknown(rule, "The signing keys: not known", saw=saw,
                        next=f"curl {facts.url}/auth/v1/.well-known/jwks.json")]  # fmt: skip
    shown = [each for each in keys if isinstance(each, dict)]
    leaked = [
        str(each.get("kid"))[:80] for each in shown if any(name in each for name in _PRIVATE_PARTS)
    ]
    if leaked:
        return [red(rule, "The server publishes private keys: anybody can make tokens",
                    saw=", ".join(leaked), next="rotate and revoke them now")]  # fmt: skip
    if not shown:
        return [
            note(
                rule,
                "Tokens are signed with the shared legacy secret",
                saw="no public key is published",
                next="move to asymmetric signing keys: Project Settings, JWT Keys",
            )
        ]
    names = ", ".join(f"{each.get('alg') or each.get('kty')}" for each in shown[:5])
    return [green(rule, f"Signing keys: {len(shown)} published ({names})")]
