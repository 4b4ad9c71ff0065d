"""The policy file: who acts, and what each may do to which rows; it knows no policies.

A rule is `none`, `all`, words that `rows` defines joined by and, or and not, or an SQL condition
on the row's columns with `:user` and `:tenants`. What is not written down is not allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from opsctl.adapters.sql import quote_literal
from opsctl.core.errors import OpsError

VERBS = ("select", "insert", "update", "delete")
UNKNOWN_RULE = "?"

_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[()]|\s+")
_VARIABLE = re.compile(r"(?<!:):(user|tenants)\b")
_JOINS = frozenset({"and", "or", "not", "(", ")"})


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", text):
        raise ValueError("a name is made of small letters, digits and _, at most 31 of them")
    return text


Name = Annotated[str, AfterValidator(_name)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Actor(_Model):
    """Somebody who calls the API."""

    role: Literal["anon", "authenticated", "service_role"]
    user: str | int | None = None
    """Its user's id; the claim `sub`."""
    tenants: tuple[str | int, ...] = ()
    """Ids of the tenants it belongs to."""
    member_as: str | None = None
    """Its role within the tenant, as the database's rows spell it."""
    claims: dict[str, Any] = Field(default_factory=dict)
    """Further claims of its token."""


class Members(_Model):
    """The table that says who belongs to which tenant."""

    table: str
    user: str
    tenant: str


class Tenancy(_Model):
    """Which table holds tenants, and who belongs to them."""

    tenants: str | None = None
    """A row per tenant."""
    members: Members | None = None


class TableRules(_Model):
    """What may be done to the rows of one table or view."""

    rows: dict[Name, str] = Field(default_factory=dict)
    may: dict[str, str | dict[Literal["select", "insert", "update", "delete"], str]] = Field(
        default_factory=dict
    )
    """By actor or by role; the actor's own entry goes first."""
    hidden: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """By role: columns that it must not read."""
    readonly: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """By role: columns that it must not change."""
    open: tuple[str, ...] = ()
    """Columns that look like rights but may be set by whom they are about."""


class PolicyFile(_Model):
    """The whole file."""

    version: Literal[1] = 1
    actors: dict[Name, Actor]
    tenancy: Tenancy = Tenancy()
    seed: str | None = None
    """SQL file beside this one that fills the scratch copy, in the place of made-up rows."""
    tables: dict[str, TableRules] = Field(default_factory=dict)

    def rule(self, table: str, actor: str, verb: str) -> str | None:
        """Return the rule for one cell; None where the file does not speak of the table."""
        rules = self.tables.get(table)
        if rules is None:
            return None
        who = rules.may.get(actor, rules.may.get(self.actors[actor].role, "none"))
        return who if isinstance(who, str) else who.get(verb, "none")  # type: ignore[call-overload]


def load_policy_file(path: Path) -> PolicyFile:
    """Read a policy file; raises OpsError `no-policy-file` or `policy-file` (both exit 2)."""
    from opsctl.core.strict_yaml import load_yaml

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise OpsError(
            "There is no policy file",
            why=f"{path} does not exist",
            hint="opsctl rls-smoke init writes one from what the database does today",
            code="no-policy-file",
        ) from None
    except OSError as error:
        raise OpsError(
            "The policy file was not read",
            why=f"{path}: {error.strerror}",
            hint="is it a file that you may read?",
            code="policy-file",
        ) from None
    document, lines = load_yaml(data, source=str(path))
    try:
        found = PolicyFile.model_validate(_with_tuples(document or {}))
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)
        where = [tuple(each["loc"]) for each in first]
        text = "\n".join(
            f"{_place(path, lines, at)}: {_dotted(at)}: {each['msg']}"
            for at, each in list(zip(where, first, strict=True))[:10]
        )
        raise OpsError(
            "The policy file is not valid",
            why=text,
            hint="opsctl rls-smoke init --output example.yaml writes one that is",
            code="policy-file",
        ) from None
    _check_rules(found, path)
    return found


def condition(rule: str, *, rows: Mapping[str, str], actor: Actor) -> str:
    """Return the SQL condition that a rule means for an actor."""
    if rule == "all":
        return "true"
    if rule == "none":
        return "false"
    text = _expand(rule, rows)
    return _VARIABLE.sub(lambda found: _value(found[1], actor), text)


def actor_claims(name: str, actor: Actor) -> dict[str, Any]:
    """Return the claims of an actor's token, as Supabase Auth would make them."""
    if actor.role == "anon":
        return {"role": "anon", **actor.claims}
    if actor.user is None:
        return {"role": actor.role, **actor.claims}
    return {
        "sub": str(actor.user),
        "role": actor.role,
        "aud": "authenticated",
        "email": f"{name}@example.com",
        "is_anonymous": False,
        **actor.claims,
    }


def _expand(rule: str, rows: Mapping[str, str]) -> str:
    """Put each row's condition where its name stands, if the rule is made of names alone."""
    if "".join(_WORDS.findall(rule)) != rule:
        return rule
    words = [word for word in _WORDS.findall(rule) if word.strip()]
    if not all(word in rows or word.lower() in _JOINS for word in words):
        return rule
    return " ".join(f"({rows[word]})" if word in rows else word for word in words)


def _value(variable: str, actor: Actor) -> str:
    if variable == "user":
        return "NULL" if actor.user is None else quote_literal(str(actor.user))
    return ", ".join(quote_literal(str(each)) for each in actor.tenants) or "NULL"


def _check_rules(found: PolicyFile, path: Path) -> None:
    known = set(found.actors) | {"anon", "authenticated", "service_role"}
    for table, rules in found.tables.items():
        for section in (rules.may, rules.hidden, rules.readonly):
            for who in section:
                if who not in known:
                    raise OpsError(
                        f"The policy file speaks of {who!r}, whom it does not name",
                        why=f"{path}: tables.{table}: known are {', '.join(sorted(known))}",
                        hint="add it to actors, or is it misspelt?",
                        code="policy-file",
                    )


def _with_tuples(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _with_tuples(value) for key, value in node.items()}
    if isinstance(node, list):
        return tuple(_with_tuples(value) for value in node)
    return node


def _place(path: Path, lines: Mapping[Any, Any], at: tuple[Any, ...]) -> str:
    for length in range(len(at), 0, -1):
        if at[:length] in lines:
            return f"{path}:{lines[at[:length]]}"
    return str(path)


def _dotted(at: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in at) or "the file"
