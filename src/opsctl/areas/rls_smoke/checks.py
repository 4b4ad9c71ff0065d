"""Judge the matrix and the attacks; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from opsctl.adapters.sql import quote_literal
from opsctl.areas.rls_smoke.attacks import Hole
from opsctl.areas.rls_smoke.matrix import Cell, Matrix
from opsctl.areas.rls_smoke.policy_file import UNKNOWN_RULE, VERBS, PolicyFile, actor_claims
from opsctl.areas.rls_smoke.world import World
from opsctl.core.report import Finding, Location, Severity, Status, Table

LEGEND = (
    "s select, i insert, u update, d delete: . no row, + some, * every row, "
    "! more than it should, - less than it should, ? not known, blank not tried"
)
_DOING = {"select": "read", "insert": "insert", "update": "change", "delete": "delete"}

WHY = {
    "rls-more": "An actor reaches rows that the policy file puts out of its reach.",
    "rls-less": "An actor does not reach rows that the policy file promises: a feature is broken.",
    "rls-given-away": "Rows can be made somebody else's, or put among another tenant's.",
    "rls-error": "The statement ends in an error that no caller should meet, such as recursion.",
    "rls-column": "A role reads or changes a column that the policy file withholds.",
    "rls-not-in-file": "A relation of which the policy file does not speak is not judged.",
    "rls-not-there": "The policy file speaks of a relation that does not exist.",
    "rls-unknown": "Nobody can tell: the rule is not known, or there are no rows to tell by.",
    "returning-leak": "A write gives back what a select hides: a trigger fills it in.",
    "view-leak": "A view shows rows of another tenant; it runs with its owner's rights.",
    "function-leak": "A function that the API offers returns another tenant's rows.",
    "function-writes": "A function that the API offers changes rows on anybody's call.",
    "tenant-foreign-key": "Foreign keys are checked without policies, so they tell what exists.",
    "tenant-unique": "Unique values are checked without policies, so they tell what exists.",
    "privilege-escalation": "A member can give itself an admin's rights.",
}


def judge(
    world: World, matrix: Matrix, holes: Iterable[Hole], *, inferred: bool
) -> tuple[Finding, ...]:
    """Return the findings of the matrix and the attacks, the worst first."""
    found = list(_cells(world, matrix))
    found += [_column(each.relation, each.role, each.column, each.verb) for each in matrix.columns]
    found += _holes(holes)
    if not inferred:
        found += _coverage(world.schema.exposed, world.file, world)
    found += _unknowns(world, matrix, inferred=inferred)
    judged = sum(cell.expected is not None for cell in matrix.cells)
    wrong = sum(cell.wrong for cell in matrix.cells)
    if judged and not wrong:
        found.append(
            Finding(
                rule="rls-matrix",
                title=f"All {judged} cells are as they should be",
                status=Status.OK,
                evidence=f"{matrix.probes} probes",
            )
        )
    return by_weight(found)


def judge_live(world: World, matrix: Matrix) -> tuple[Finding, ...]:
    """Return the findings of live rows that were read."""
    found = list(_cells(world, matrix))
    judged = sum(cell.expected is not None for cell in matrix.cells)
    if judged and not found:
        found.append(
            Finding(
                rule="rls-matrix",
                title=f"All {judged} live samples are as they should be",
                status=Status.OK,
                evidence=f"{matrix.probes} probes",
            )
        )
    return tuple(found)


def by_weight(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with the worst first."""
    order = {Status.FAILED: 0, Status.UNKNOWN: 1, Status.OK: 2}
    weight = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
    return tuple(sorted(findings, key=lambda each: (order[each.status], weight[each.severity])))


def grid(world: World, matrix: Matrix) -> Table:
    """Return the matrix as a grid: a row per relation, a column per actor."""
    cells = {(cell.relation, cell.actor, cell.verb): cell for cell in matrix.cells}
    relations = sorted({cell.relation for cell in matrix.cells})
    names = tuple(world.file.actors)
    rows = tuple(
        (key, *("".join(_sign(cells.get((key, name, verb))) for verb in VERBS) for name in names))
        for key in relations
    )
    return Table("Who can do what (siud)", ("relation", *names), rows)


def matrix_data(matrix: Matrix) -> list[dict[str, object]]:
    """Return every cell as plain data."""
    return [
        {
            "relation": cell.relation,
            "actor": cell.actor,
            "verb": cell.verb,
            "reached": len(cell.got),
            "of": len(cell.everything),
            "expected": len(cell.expected.rows & cell.everything) if cell.expected else None,
            "rule": cell.expected.rule if cell.expected else None,
            "wrong": cell.wrong,
            "sqlstate": cell.state or None,
        }
        for cell in matrix.cells
    ]


def _sign(cell: Cell | None) -> str:
    if cell is None:
        return " "
    if cell.wrong:
        return "!" if cell.more or cell.given_away or cell.strange else "-"
    if cell.broken or (cell.strange and not cell.got):
        return "?"
    if not cell.got:
        return "."
    return "*" if cell.got == cell.everything else "+"


def _cells(world: World, matrix: Matrix) -> Iterator[Finding]:
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in matrix.cells:
        for kind, yes in (
            ("more", bool(cell.more) or bool(cell.wrong and cell.strange and not cell.got)),
            ("given-away", bool(cell.given_away and cell.expected)),
            ("less", bool(cell.less) and not cell.broken),
            ("error", cell.broken),
        ):
            if yes:
                groups.setdefault((cell.relation, cell.verb, kind), []).append(cell)
    for (relation, verb, kind), cells in groups.items():
        yield _finding(world, relation, verb, kind, cells)


def _finding(world: World, relation: str, verb: str, kind: str, cells: list[Cell]) -> Finding:
    names = _joined([cell.actor for cell in cells])
    doing = _DOING[verb]
    first = cells[0]
    rule = first.expected.rule if first.expected else "nobody says"
    labels = {row.id: row.label for row in world.rows.get(relation, ())}
    titles = {
        "more": f"{names} can {doing} rows of {relation} that should be out of reach",
        "less": f"{names} cannot {doing} rows of {relation} that should be within reach",
        "given-away": f"{names} can {doing} rows of {relation} so that they are somebody else's",
        "error": f"{doing.capitalize()} of {relation} ends in an error for {names}",
    }
    rows = first.more if kind == "more" else first.less
    shown = ", ".join(sorted(labels.get(each, each) for each in rows)[:4])
    more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
    evidence = {
        "more": f"should be: {rule}; {first.actor} reached {shown or 'totals of them'}{more}",
        "less": f"should be: {rule}; {first.actor} did not reach {shown}{more}",
        "given-away": f"should be: {rule}; by {', '.join(sorted(first.given_away))}",
        "error": " ".join(f"{first.message} ({first.state})".split()),
    }[kind]
    policies = [each.name for each in world.schema.relations[relation].policies]
    at_work = f"; policies: {', '.join(policies)}" if policies else "; it has no policies"
    if not world.schema.relations[relation].row_security:
        at_work = (
            "; row-level security is off" if world.schema.relations[relation].kind in "rp" else ""
        )
    return Finding(
        rule=f"rls-{kind}",
        title=titles[kind],
        status=Status.FAILED,
        evidence=evidence + at_work,
        location=Location(object=relation),
        hint=_reproduce(world, first),
    )


def _reproduce(world: World, cell: Cell) -> str:
    """Return the statements that show it again, on a copy."""
    actor = world.file.actors[cell.actor]
    claims = json.dumps(actor_claims(cell.actor, actor))
    sql = cell.probe.sql if cell.probe is not None else ""
    if cell.verb == "select":
        sql = f"SELECT * FROM {world.schema.relations[cell.relation].sql}"
    return (
        f"see it on a copy: BEGIN; SET LOCAL ROLE {actor.role}; "
        f"SET LOCAL request.jwt.claims = {quote_literal(claims)}; {sql}; ROLLBACK"
    )


def _column(relation: str, role: str, column: str, verb: str) -> Finding:
    doing = "reads" if verb == "select" else "changes"
    privilege = "SELECT" if verb == "select" else "UPDATE"
    return Finding(
        rule="rls-column",
        title=f"{role} {doing} {relation}.{column}, which the policy file withholds",
        status=Status.FAILED,
        location=Location(object=f"{relation}.{column}"),
        hint=f"REVOKE {privilege} ON {relation} FROM {role}, then GRANT {privilege} on the columns "
        "that it may have",
    )


def _holes(holes: Iterable[Hole]) -> Iterator[Finding]:
    groups: dict[tuple[str, str], list[Hole]] = {}
    for hole in holes:
        groups.setdefault((hole.rule, hole.object), []).append(hole)
    for (rule, where), found in groups.items():
        first = found[0]
        yield Finding(
            rule=rule,
            title=f"{_joined([hole.actor for hole in found])} can {first.what}: {where}",
            status=Status.FAILED,
            severity=Severity.WARNING if first.warning else Severity.ERROR,
            evidence=" ".join(first.evidence.split()),
            location=Location(object=where),
            hint=_MENDS[rule],
        )


_MENDS = {
    "returning-leak": "keep the trigger's lookup to the caller's tenant, or make its function "
    "SECURITY INVOKER",
    "view-leak": "ALTER VIEW ... SET (security_invoker = true), or REVOKE SELECT from anon and "
    "authenticated",
    "function-leak": "check auth.uid() in the function, or REVOKE EXECUTE from PUBLIC, anon and "
    "authenticated",
    "function-writes": "check auth.uid() in the function, or REVOKE EXECUTE from PUBLIC, anon and "
    "authenticated",
    "tenant-foreign-key": "make the key (tenant, id), or ask in WITH CHECK whose row it points at",
    "tenant-unique": "put the tenant's column first in the unique index",
    "privilege-escalation": "REVOKE UPDATE on the column, or hold it still in WITH CHECK; if it is "
    "meant, name it under `open` in the policy file",
}


def _coverage(exposed: Iterable[str], file: PolicyFile, world: World) -> Iterator[Finding]:
    for key in exposed:
        relation = world.schema.relations[key]
        reachable = any(
            relation.grants.get(role) or relation.readable(role)
            for role in ("anon", "authenticated")
        )
        if key not in file.tables and reachable:
            yield Finding(
                rule="rls-not-in-file",
                title=f"The policy file does not speak of {key}",
                status=Status.FAILED,
                evidence="anon or authenticated has privileges on it",
                location=Location(object=key),
                hint="opsctl rls-smoke init shows what it does today; or revoke the privileges",
            )
    for key in file.tables:
        if key not in exposed:
            yield Finding(
                rule="rls-not-there",
                title=f"The policy file speaks of {key}, which is not in the API",
                status=Status.FAILED,
                location=Location(object=key),
                hint="was it renamed or dropped? Take it out of the file",
            )


def _unknowns(world: World, matrix: Matrix, *, inferred: bool) -> Iterator[Finding]:
    for key, why in world.not_made.items():
        if key in world.schema.exposed:
            yield _unknown(
                f"No rows could be made up for {key}", " ".join(why.split()), key,
                "write rows for it: `seed: FILE.sql` in the policy file",
            )  # fmt: skip
    questions: dict[str, list[str]] = {}
    for key, rules in world.file.tables.items():
        for who, said in rules.may.items():
            verbs = said.items() if isinstance(said, Mapping) else [("all verbs", said)]
            questions.setdefault(key, []).extend(
                f"{who} {v}" for v, r in verbs if r == UNKNOWN_RULE
            )
    for key, cells in questions.items():
        if cells and not inferred:
            yield _unknown(
                f"The policy file does not know the rule for {key}", ", ".join(cells), key,
                "put a rule in the place of each ? in the file",
            )  # fmt: skip
    for key in sorted({cell.relation for cell in matrix.cells}):
        links = world.model.links.get(key)
        if links is None or links.tenant is None or key in world.not_made:
            continue
        tenants = world.tenants(key)
        if tenants is not None and len(tenants) < 2:
            yield _unknown(
                f"Isolation of tenants is not known for {key}",
                "fewer than two tenants have rows there", key,
                "give it rows of two tenants: `seed: FILE.sql` in the policy file",
            )  # fmt: skip
    if not world.rows or not any(world.rows.values()):
        yield _unknown("There are no rows to tell by", "the API exposes no relation with rows", "",
                       "is `rls.schemas` in the settings right?")  # fmt: skip


def _unknown(title: str, evidence: str, where: str, hint: str) -> Finding:
    return Finding(
        rule="rls-unknown",
        title=title,
        status=Status.UNKNOWN,
        evidence=evidence,
        location=Location(object=where) if where else None,
        hint=hint,
    )


def _joined(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
