"""Lints of functions: whose rights they run with, where they look names up, whom they answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsctl.adapters.sql import quote_identifier
from opsctl.areas.rls_smoke.expressions import Reader
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_hit import ERROR, NOTE, WARNING, Hit, joined
from opsctl.areas.rls_smoke.lint_objects import FunctionRow

_WRITES = re.compile(
    r"\b(insert\s+into|update\s+(only\s+)?[\w.\"]+(\s+(as\s+)?\w+)?\s+set|delete\s+from|truncate|"
    r"merge\s+into)\b",
    re.IGNORECASE,
)
_TREE_WRITES = re.compile(r"\{QUERY :commandType [2345] ")
_OUTBOUND = re.compile(
    r"\bnet\.http_\w+|\b(extensions\.|http\.|public\.)?http_(get|post|put|patch|delete|head)\s*\(|"
    r"\bdblink(_exec|_connect|_send_query)?\s*\(|\bcopy\b[^;]*\bprogram\b",
    re.IGNORECASE,
)
_OUTBOUND_NAMES = re.compile(
    r"http(_\w+)?|dblink(_\w+)?|pg_file_\w+|_?http_\w+|urlencode", re.IGNORECASE
)


def lint_functions(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    """Return what is wrong with functions."""
    helpers = _policy_helpers(catalog, reader)
    for function in catalog.our_functions:
        yield from _search_path(catalog, function)
        yield from _definer(catalog, reader, function, helpers)
        yield from _wrapper(catalog, reader, function)
    yield from _outbound(catalog)


def writes(function: FunctionRow) -> bool:
    """Whether a function's body changes rows."""
    return bool(_WRITES.search(function.code)) or bool(
        function.body and _TREE_WRITES.search(function.body)
    )


def _policy_helpers(catalog: Catalog, reader: Reader) -> dict[int, set[str]]:
    """Return the functions that policies call, with the API roles that they call them as."""
    found: dict[int, set[str]] = {}
    for policies in catalog.policies.values():
        for policy in policies:
            roles = catalog.policy_roles(policy)
            for reading in reader.both(policy):
                for call in reading.calls:
                    found.setdefault(call.function, set()).update(roles)
    return found


def _search_path(catalog: Catalog, function: FunctionRow) -> Iterator[Hit]:
    if function.language in ("c", "internal") or function.kind == "a" or function.body:
        return
    path = next((each for each in function.config if each.startswith("search_path=")), None)
    who = (
        "it runs with its owner's rights"
        if function.definer
        else "it runs with its caller's rights"
    )
    if path is None:
        extra = ", extensions" if "extensions" in catalog.schemas else ""
        schema = quote_identifier(function.schema)
        yield Hit(
            "function-search-path-mutable",
            function.key,
            f"Where {function.key} looks names up is up to its caller",
            WARNING if function.definer else NOTE,
            f"it has no SET search_path; {who}",
            (f"ALTER {function.sql} SET search_path = {schema}{extra}, pg_temp",),
            "'' is safer still, where every name in the body has its schema",
        )
        return
    names = [name.strip().strip('"') for name in path.partition("=")[2].split(",")]
    open_ = [n for n in names if n in catalog.schemas and catalog.schemas[n].creatable]
    if function.definer and (open_ or "$user" in names):
        why = f"{joined(open_)} lets API roles create objects" if open_ else "it begins at $user"
        yield Hit(
            "function-search-path-mutable",
            function.key,
            f"{function.key} looks names up where callers may put theirs",
            ERROR,
            f"{why}; {who}",
            tuple(
                f"REVOKE CREATE ON SCHEMA {quote_identifier(n)} FROM PUBLIC, "
                f"{', '.join(catalog.api_roles)}"
                for n in open_
            )
            or (
                f"ALTER {function.sql} SET search_path = "
                f"{quote_identifier(function.schema)}, pg_temp",
            ),
        )


def _definer(
    catalog: Catalog, reader: Reader, function: FunctionRow, helpers: dict[int, set[str]]
) -> Iterator[Hit]:
    if not function.definer:
        return
    owner = catalog.roles.get(function.owner)
    if owner is not None and owner.name in catalog.api_roles:
        return
    asks = reader.bodies.asks_who(function.oid)
    does = "writes" if writes(function) else "reads"
    for role in catalog.callable_by(function):
        if role in helpers.get(function.oid, ()) and (role == "authenticated" or asks):
            continue  # a policy calls it as this role, so the role must be able to
        severity = NOTE if asks or (role == "authenticated" and does == "reads") else WARNING
        if does == "writes" and not asks:
            severity = ERROR if role == "anon" else WARNING
        others = [each for each in catalog.callable_by(function) if each != role]
        whose = f" of {owner.name}" if owner is not None else ""
        yield Hit(
            f"{role}-security-definer-function-executable",
            function.key,
            f"{role} may call {function.key}, which runs with the rights{whose}",
            severity,
            f"it {does} past every policy and "
            + ("asks who calls" if asks else "does not ask who calls"),
            _revoke(catalog, function, role, others),
            "or check in the function who calls, or move it to a schema out of the API",
        )


def _revoke(
    catalog: Catalog, function: FunctionRow, role: str, others: list[str]
) -> tuple[str, ...]:
    """Return the statements that take a call from one role and leave it to others."""
    statements = [f"REVOKE EXECUTE ON {function.sql} FROM PUBLIC, {role}"]
    server = [r.name for r in catalog.roles.values() if r.name == "service_role"]
    keep = [*others, *server] if function.public else []
    if keep:
        statements.append(f"GRANT EXECUTE ON {function.sql} TO {', '.join(keep)}")
    return tuple(statements)


def _wrapper(catalog: Catalog, reader: Reader, function: FunctionRow) -> Iterator[Hit]:
    callers = catalog.callable_by(function)
    if callers and _OUTBOUND.search(function.code) and not reader.bodies.asks_who(function.oid):
        yield Hit(
            "outbound-http-callable",
            function.key,
            f"{joined(callers)} may make the database send requests: {function.key}",
            WARNING,
            "its body reaches out of the database and does not ask who calls",
            (f"REVOKE EXECUTE ON {function.sql} FROM PUBLIC, {', '.join(callers)}",),
        )


def _outbound(catalog: Catalog) -> Iterator[Hit]:
    """Group by extension: its functions come and go together."""
    groups: dict[tuple[str, str], list[FunctionRow]] = {}
    for function in catalog.functions.values():
        if function.extension is None or not _OUTBOUND_NAMES.fullmatch(function.name):
            continue
        if any(
            r in function.callers and catalog.uses(r, function.schema) for r in catalog.api_roles
        ):
            groups.setdefault((function.extension, function.schema), []).append(function)
    for (extension, schema), functions in groups.items():
        roles = joined(r for r in catalog.api_roles if any(r in f.callers for f in functions))
        exposed = schema in catalog.exposed
        names = tuple(function.key for function in functions)
        yield Hit(
            "outbound-http-callable",
            f"extension {extension}",
            f"{roles} may make the database send requests: {extension}",
            ERROR if exposed else NOTE,
            (
                "the API exposes"
                if exposed
                else "not through the API, but by any SQL that runs as them:"
            )
            + f" {joined(names, most=4)}",
            tuple(
                f"REVOKE EXECUTE ON {each.sql} FROM PUBLIC, {', '.join(catalog.api_roles)}"
                for each in functions
            ),
            objects=names,
        )
