"""The lints on schemas with one hole each, on their sound twins, and after their own mends."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from opsctl.adapters.scratch import providers, scratch_server
from opsctl.adapters.sql import in_one_transaction
from opsctl.areas.rls_smoke.lint_hit import Hit
from opsctl.areas.rls_smoke.lint_rules import RULES
from opsctl.areas.rls_smoke.lints import lint
from opsctl.core.report import Severity, Status

from .lint_schemas import CASES, PRELUDE, SPEED, Case

ALL = (*CASES, *SPEED)
SERVERS = sorted({each.name: each for each in reversed(providers())}.values(), key=lambda p: p.name)
"""The newest of each kind: the wheel's and the system's."""
Found = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Outcome:
    """What the lints said of one case."""

    hole: tuple[Hit, ...]
    mended: tuple[Hit, ...]
    sound: tuple[Hit, ...]


@pytest.fixture(scope="module", params=SERVERS, ids=lambda each: f"{each.name} {each.major}")
def connection(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A database of each kind of server: stored trees differ from version to version."""
    baseline = (importlib.resources.files("opsctl.sandbox") / "baseline.sql").read_bytes()
    provider = request.param
    with scratch_server(prefer=provider.name, at_least=provider.major) as server:
        url = server.create_database()
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            connection.execute(baseline)
            connection.execute(PRELUDE.encode())
            yield connection


@pytest.fixture(scope="module")
def outcomes(connection: psycopg.Connection) -> dict[str, Outcome]:
    """Try each case in a transaction that is undone: roles are the whole server's."""
    return {case.name: outcome(connection, case) for case in ALL}


def outcome(connection: psycopg.Connection, case: Case) -> Outcome:
    hole = state(connection, case, case.hole)
    mend = [s for hit in hole if (hit.rule, hit.object) == case.finds for s in hit.mend]
    mended = state(connection, case, case.hole, *in_one_transaction(";".join(mend))[0])
    return Outcome(hole, mended, state(connection, case, case.sound))


def state(connection: psycopg.Connection, case: Case, *scripts: str) -> tuple[Hit, ...]:
    with connection.transaction(force_rollback=True):
        for script in (case.base, *scripts):
            if script:
                connection.execute(script.encode())
        return lint(connection, schemas=case.schemas)


def found(hits: tuple[Hit, ...], case: Case) -> Found:
    """Return the warnings and errors, and the note that a case is about."""
    return frozenset(
        (hit.rule, hit.object)
        for hit in hits
        if hit.status is Status.FAILED
        and (hit.severity is not Severity.NOTE or (hit.rule, hit.object) == case.finds)
    )


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_the_hole_is_found_and_nothing_else(case: Case, outcomes: dict[str, Outcome]) -> None:
    said = found(outcomes[case.name].hole, case)

    assert {case.finds} <= said
    assert said <= {case.finds, *case.also}


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_its_twin_is_sound(case: Case, outcomes: dict[str, Outcome]) -> None:
    assert not found(outcomes[case.name].sound, case)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_its_mend_ends_it(case: Case, outcomes: dict[str, Outcome]) -> None:
    hits = [hit for hit in outcomes[case.name].hole if (hit.rule, hit.object) == case.finds]
    advised = all(not hit.mend and hit.advice for hit in hits)

    assert hits
    assert advised or case.finds not in found(outcomes[case.name].mended, case)


def test_precision_and_recall_are_whole(outcomes: dict[str, Outcome]) -> None:
    right = wrong = missed = 0
    for case in ALL:
        said = found(outcomes[case.name].hole, case)
        true = {case.finds, *case.also}
        right += len(said & true)
        wrong += len(said - true) + len(found(outcomes[case.name].sound, case))
        missed += case.finds not in said

    assert len(CASES) >= 40
    assert (1.0, 1.0) == (right / (right + wrong), right / (right + missed))


def test_every_rule_has_a_hole() -> None:
    tried = {case.finds[0] for case in ALL}
    elsewhere = {"policy-not-understood", "unused-index", "table-bloat",
                 "pg-graphql-authenticated-table-exposed"}  # fmt: skip

    assert set(RULES) == tried | elsewhere


def test_the_runbook_names_every_rule() -> None:
    page = (Path(__file__).parents[3] / "runbooks" / "rls-lints.md").read_text()

    assert set(RULES) == set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
