"""Rules from the settings: matched by RE2, whose time is bounded whatever the pattern says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opsctl.adapters.secret_scanner.rules import Rule
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.core.settings import SecretRule


def user_rules(given: Sequence[SecretRule]) -> tuple[Rule, ...]:
    """Return the settings' rules.

    Raises OpsError `bad-rule` (exit 2) that names the rule, or `re2-missing` (exit 3).
    """
    found = []
    for each in given:
        rule = Rule(
            id=each.id,
            title=each.description,
            next=each.next,
            keywords=tuple(word.lower() for word in each.keywords),
            pattern=each.pattern,
            severity=each.severity,
            entropy=each.entropy,
            edges=False,
            user=True,
        )
        compile_user_rule(rule)
        found.append(rule)
    return tuple(found)


def compile_user_rule(rule: Rule) -> tuple[Any, Any]:
    """Return (expression that ends where a search ends, expression) for RE2, over bytes."""
    try:
        import re2
    except ImportError:
        raise OpsError(
            "Rules of the settings need RE2",
            why="the secrets extra is not installed",
            hint="pip install 'opsctl[secrets]'",
            code="re2-missing",
            exit=Exit.UNKNOWN,
        ) from None
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.never_nl = False
    try:
        whole = re2.compile(f"(?m){rule.expression}".encode("latin-1", "replace"), options)
        shortest = re2.compile(f"(?m)(?:{rule.trigger})\\z".encode("latin-1", "replace"), options)
    except re2.error as error:
        why = error.args[0] if error.args else "RE2 did not say why"
        why = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        raise _refused(rule, re.sub(r"\s+", " ", why)) from None
    if whole.search(b"") is not None:
        raise _refused(rule, "it matches the empty text, so it would match everywhere")
    return shortest, whole


def _refused(rule: Rule, why: str) -> OpsError:
    return OpsError(
        f"The rule {rule.id} was refused",
        why=why,
        hint=f"mend secrets_scan.rules, the pattern of {rule.id}: RE2 has no look-around and "
        "no back-references",
        code="bad-rule",
    )
