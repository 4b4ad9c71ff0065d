"""Lints over the catalog: what is wrong with a schema by its definition alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches

from opsctl.adapters import postgres
from opsctl.areas.rls_smoke.expressions import Reader
from opsctl.areas.rls_smoke.lint_catalog import Catalog
from opsctl.areas.rls_smoke.lint_exposure import lint_exposure
from opsctl.areas.rls_smoke.lint_functions import lint_functions
from opsctl.areas.rls_smoke.lint_grants import lint_grants
from opsctl.areas.rls_smoke.lint_hit import Hit
from opsctl.areas.rls_smoke.lint_policies import lint_policies
from opsctl.areas.rls_smoke.lint_policy_speed import lint_policy_speed
from opsctl.areas.rls_smoke.lint_read import print_policies, read_catalog
from opsctl.areas.rls_smoke.lint_recursion import lint_recursion
from opsctl.areas.rls_smoke.lint_rules import PERFORMANCE, RULES
from opsctl.areas.rls_smoke.lint_sensitive import lint_sensitive
from opsctl.areas.rls_smoke.lint_storage import lint_storage
from opsctl.areas.rls_smoke.lint_tables import lint_tables
from opsctl.areas.rls_smoke.lint_views import lint_views
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Location, Severity, Status

_SHOWN = 8
"""Statements of a mend that a finding shows; the data have all."""


def lint(connection: postgres.Connection, *, schemas: tuple[str, ...]) -> tuple[Hit, ...]:
    """Read a database's catalog and return what is wrong, the gravest first.

    Raises OpsError `no-api-roles` (exit 3) where nobody could be exposed to.
    """
    catalog = read_catalog(connection, schemas=schemas)
    if not catalog.api_roles:
        raise OpsError(
            "The database has none of the API's roles",
            why="neither anon nor authenticated exists there",
            hint="is this a Supabase project's database?",
            code="no-api-roles",
            exit=Exit.UNKNOWN,
        )
    reader = Reader(catalog)
    beside = list(_beside_policies(catalog, reader))
    policies = list(_policies(catalog, reader))
    oids = {oid for hit in policies for oid in hit.policies}
    if oids:
        policies = list(_policies(print_policies(connection, catalog, oids), reader))
    return _by_weight([*beside, *policies])


def judge_catalog(catalog: Catalog) -> tuple[Hit, ...]:
    """Return what is wrong in a catalog, the gravest first."""
    reader = Reader(catalog)
    return _by_weight([*_beside_policies(catalog, reader), *_policies(catalog, reader)])


def _beside_policies(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    yield from lint_exposure(catalog)
    yield from lint_views(catalog, reader)
    yield from lint_sensitive(catalog, reader)
    yield from lint_functions(catalog, reader)
    yield from lint_grants(catalog)
    yield from lint_storage(catalog, reader)
    yield from lint_tables(catalog)
    yield from lint_recursion(catalog, reader)


def _policies(catalog: Catalog, reader: Reader) -> Iterator[Hit]:
    """Judge what may want the text of policies: once to know of which, once with it."""
    yield from lint_policies(catalog, reader)
    yield from lint_policy_speed(catalog, reader)


def _by_weight(hits: Iterable[Hit]) -> tuple[Hit, ...]:
    order = {severity: number for number, severity in enumerate(Severity)}
    return tuple(sorted(hits, key=lambda hit: (hit.rule in PERFORMANCE, order[hit.severity])))


def accept(hits: Iterable[Hit], meant: Iterable[str]) -> tuple[tuple[Hit, ...], tuple[str, ...]]:
    """Return the hits, those that are meant as notes, and what is meant but was not found.

    Raises OpsError `unknown-lint` where `LINT OBJECT` names a lint that does not exist.
    """
    wanted = dict.fromkeys(" ".join(each.split()) for each in meant)
    for each in wanted:
        name = each.partition(" ")[0]
        if name not in RULES:
            near = get_close_matches(name, RULES, n=1)
            raise OpsError(
                f"There is no lint {name}",
                why="rls.accept names it",
                hint=f"did you mean {near[0]}?" if near else "opsctl rls-smoke lint names them",
                code="unknown-lint",
            )
    found: set[str] = set()
    shown = []
    for hit in hits:
        key = " ".join(f"{hit.rule} {hit.object}".split())
        found.add(key)
        said = "; ".join(part for part in (hit.evidence, "meant, say the settings") if part)
        meant_so = key in wanted and hit.status is Status.FAILED
        shown.append(replace(hit, severity=Severity.NOTE, evidence=said) if meant_so else hit)
    return _by_weight(shown), tuple(each for each in wanted if each not in found)


def findings_of(hits: Iterable[Hit]) -> tuple[Finding, ...]:
    """Return hits as findings."""
    return tuple(_finding(hit) for hit in hits)


def hits_data(hits: Iterable[Hit]) -> list[dict[str, object]]:
    """Return hits as plain data, with the statements that mend each."""
    return [
        {
            "rule": hit.rule,
            "kind": "performance" if hit.rule in PERFORMANCE else "security",
            "object": hit.object,
            "objects": list(hit.objects or (hit.object,)),
            "severity": hit.severity,
            "status": hit.status,
            "mend": list(hit.mend),
        }
        for hit in hits
    ]


def _finding(hit: Hit) -> Finding:
    return Finding(
        rule=hit.rule,
        title=hit.title,
        status=hit.status,
        severity=hit.severity,
        evidence=hit.evidence,
        location=Location(object=hit.object),
        hint="\n".join(_hint(hit)),
    )


def _hint(hit: Hit) -> Iterator[str]:
    yield from (f"{statement};" for statement in hit.mend[:_SHOWN])
    if len(hit.mend) > _SHOWN:
        yield f"and {len(hit.mend) - _SHOWN} more statements, in data.lints of --format json"
    if hit.advice:
        yield hit.advice
