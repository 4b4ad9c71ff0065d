"""Policy designs against rules written by hand: sound ones pass, and each seeded bug is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.areas.rls_smoke.describe import describe, write_policy_file
from opsctl.areas.rls_smoke.matrix import look
from opsctl.areas.rls_smoke.mutants import run_mutants
from opsctl.areas.rls_smoke.policy_file import load_policy_file
from opsctl.core.report import Finding, Severity, Status

from .conftest import MakeWorld, findings, policy_file
from .designs import DESIGNS, Design

designs = pytest.mark.parametrize("design", DESIGNS, ids=[each.name for each in DESIGNS])


def errors(found: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [
        (each.rule, each.location.object or "" if each.location else "")
        for each in found
        if each.status is not Status.OK and each.severity is Severity.ERROR
    ]


@designs
def test_a_sound_design_has_nothing_wrong(
    make_world: MakeWorld, tmp_path: Path, design: Design
) -> None:
    first = make_world(design.sql)
    world = make_world(design.sql, file=policy_file(tmp_path, first, design.rules))

    assert [] == errors(findings(world))
    assert [] == errors(findings(first, inferred=True))


@designs
def test_a_seeded_bug_is_found(make_world: MakeWorld, tmp_path: Path, design: Design) -> None:
    # The file was written before the bug: claims may differ after it.
    world = make_world(design.sql, design.bug)
    world = make_world(design.sql, design.bug, file=policy_file(tmp_path, world, design.rules))

    assert design.finds in errors(findings(world))


@designs
def test_what_is_written_down_is_what_is_checked(
    make_world: MakeWorld, tmp_path: Path, design: Design
) -> None:
    world = make_world(design.sql)
    described = describe(world, look(world))
    path = tmp_path / "written.yaml"
    path.write_text(write_policy_file(world.file, described, about="a test"), encoding="utf-8")
    again = make_world(design.sql, file=load_policy_file(path))

    assert [] == errors(findings(again))
    assert [] == [mark for each in described for mark in each.marks]
    assert "?" not in {rule for each in described for may in each.may.values()
                       for rule in may.values()}  # fmt: skip


@designs
def test_hand_written_rules_notice_every_mutant_that_changes_anything(
    make_world: MakeWorld, tmp_path: Path, design: Design
) -> None:
    first = make_world(design.sql)
    world = make_world(design.sql, file=policy_file(tmp_path, first, design.rules))
    tested = run_mutants(world, look(world), inferred=False)

    assert tested.outcomes
    assert [] == [(m.policy, m.change, where) for m, outcome, where in tested.outcomes
                  if outcome not in ("noticed", "same")]  # fmt: skip
    assert tested.score == 1.0
