"""The matrix: what each actor can do to each relation, beside what it should be able to do.

What should be comes from the policy file's conditions, asked as the owner of everything. Where
there is no policy file, what belongs to tenants is at most for that tenant's people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from opsctl.areas.rls_smoke.probes import (
    DENIED,
    Outcome,
    Probe,
    run_probes,
)
from opsctl.areas.rls_smoke.script import PLAIN, STILL_OWN, Script, move_key, write_script
from opsctl.areas.rls_smoke.world import PlantedRow, World
from opsctl.core.errors import OpsError


@dataclass(frozen=True)
class Expected:
    """What a cell should be."""

    rule: str
    rows: frozenset[str]
    at_most: bool = False
    """Whether fewer is also well: what is inferred says only what must not be."""


@dataclass(frozen=True)
class Cell:
    """One actor, one verb, one relation."""

    relation: str
    actor: str
    verb: str
    got: frozenset[str]
    """Rows seen, changed or removed; for insert the patterns let through."""
    everything: frozenset[str]
    """All rows; for insert the patterns tried."""
    expected: Expected | None
    """None where nobody says."""
    state: str = ""
    message: str = ""
    probe: Probe | None = None
    given_away: frozenset[str] = frozenset()
    """update, insert: columns by which rows were made somebody else's."""
    strange: int = 0
    """select: rows that the owner of everything does not see so, such as totals of fewer rows."""

    @property
    def more(self) -> frozenset[str]:
        """Rows that should be out of reach."""
        return self.got - self.expected.rows if self.expected else frozenset()

    @property
    def less(self) -> frozenset[str]:
        """Rows that should be within reach."""
        if self.expected is None or self.expected.at_most:
            return frozenset()
        return (self.expected.rows & self.everything) - self.got

    @property
    def broken(self) -> bool:
        """Whether it ended in an error that no caller should meet."""
        outcome = Outcome(state=self.state)
        return outcome.broken and not self.got

    @property
    def wrong(self) -> bool:
        """Whether it is not as it should be."""
        if self.expected is None:
            return False
        nothing = not self.expected.rows and self.strange
        return bool(self.more or self.less or self.given_away or nothing)


@dataclass(frozen=True)
class OpenColumn:
    """A column that a role reads or changes though the file says it must not."""

    relation: str
    role: str
    column: str
    verb: str


@dataclass(frozen=True)
class Matrix:
    """Every cell, and what it took."""

    cells: tuple[Cell, ...]
    columns: tuple[OpenColumn, ...]
    probes: int
    rows: Mapping[str, tuple[PlantedRow, ...]]


def look(world: World, *, inferred: bool = False) -> Matrix:
    """Probe a world and return the matrix; `inferred` takes the model for what should be.

    Raises OpsError `policy-rule` (exit 2) where a rule of the file does not run.
    """
    script = write_script(world, inferred=inferred)
    outcomes = run_probes(world.connection, script.probes, schemas=world.schemas)
    # Only of rows that were given away need it be asked whose they may be.
    given = {
        key: script.moves[key]
        for probe, outcome in zip(script.probes, outcomes, strict=True)
        if probe.verb in STILL_OWN
        and (key := move_key(probe)) in script.moves
        and _was_moved(world, probe, outcome)
    }
    still = (
        run_probes(world.connection, tuple(given.values()), schemas=world.schemas) if given else ()
    )
    return read_matrix(
        world, script, outcomes, dict(zip(given, still, strict=True)), inferred=inferred
    )


def read_matrix(
    world: World,
    script: Script,
    outcomes: tuple[Outcome, ...],
    still: Mapping[tuple[str, str, str], Outcome],
    *,
    inferred: bool,
) -> Matrix:
    """Return the matrix that outcomes add up to; `still` are those of the moves that worked."""
    _check_rules(script, outcomes)
    cells: dict[tuple[str, str, str], Cell] = {}
    whole = {key: world.everything(key) for key in world.schema.exposed}
    for probe, outcome in zip(script.probes, outcomes, strict=True):
        if not probe.actor:
            continue
        key = (probe.relation, probe.actor, probe.verb)
        everything = whole[probe.relation]
        said = script.rules[probe.relation, probe.actor, STILL_OWN.get(probe.verb, probe.verb)]
        expected = None
        if said is not None:
            if said[1] in PLAIN:
                rows = everything if said[1] == "true" else frozenset()
            else:
                rows = outcomes[script.oracles[probe.relation, said[1]]].rows
            expected = Expected(said[0], rows, at_most=inferred)
        if probe.verb == "select":
            got = _seen(world, script, outcomes, probe, outcome)
            strange = max(len(outcome.rows) - len(got), 0)
            cells[key] = Cell(
                *key, got, everything, expected, outcome.state, outcome.message, probe,
                strange=strange,
            )  # fmt: skip
        elif probe.verb in ("update", "delete"):
            got = outcome.touched(everything)
            state = "" if got else outcome.state
            cells[key] = Cell(*key, got, everything, expected, state, outcome.message, probe)
        elif probe.verb == "insert":
            cells[key] = _with_insert(cells.get(key), key, probe, outcome, expected)
        else:
            cell = cells.get((probe.relation, probe.actor, STILL_OWN[probe.verb]))
            after = still.get(move_key(probe))
            if cell is not None and after is not None and not after.rows and not after.state:
                away = cell.given_away | {probe.target}
                cells[cell.relation, cell.actor, cell.verb] = replace(cell, given_away=away)
    asked = sum(bool(probe.actor) for probe in script.probes)
    return Matrix(tuple(cells.values()), _columns(world), asked, world.rows)


def _was_moved(world: World, probe: Probe, outcome: Outcome) -> bool:
    if outcome.touched(world.everything(probe.relation)):
        return True
    return outcome.admitted and (bool(outcome.state) or outcome.count > 0)


def _with_insert(
    cell: Cell | None,
    key: tuple[str, str, str],
    probe: Probe,
    outcome: Outcome,
    expected: Expected | None,
) -> Cell:
    got = cell.got if cell else frozenset[str]()
    tried = cell.everything if cell else frozenset[str]()
    if outcome.admitted:
        got |= {probe.target}
    state = outcome.state if outcome.broken else (cell.state if cell else "")
    message = outcome.message or (cell.message if cell else "")
    return Cell(*key, got, tried | {probe.target}, expected, state, message,
                cell.probe if cell and not outcome.admitted else probe)  # fmt: skip


def _seen(
    world: World, script: Script, outcomes: tuple[Outcome, ...], probe: Probe, outcome: Outcome
) -> frozenset[str]:
    """Return the rows that were seen, by the ids that the owner knows them by."""
    index = script.hashes.get((probe.relation, probe.role))
    if index is None:
        return outcome.rows & world.everything(probe.relation)
    pairs = [text.partition(" ") for text in outcomes[index].rows]
    return frozenset(id_ for known, _, id_ in pairs if known in outcome.rows)


def _columns(world: World) -> tuple[OpenColumn, ...]:
    """Return the columns that are readable or changeable against the file."""
    found = []
    for key, rules in world.file.tables.items():
        relation = world.schema.relations.get(key)
        if relation is None:
            continue
        for said, privilege, verb in (
            (rules.hidden, "SELECT", "select"), (rules.readonly, "UPDATE", "update"),
        ):  # fmt: skip
            for role, names in said.items():
                held = relation.column_grants.get(role, {}).get(privilege, frozenset())
                found += [OpenColumn(key, role, name, verb) for name in names if name in held]
    return tuple(found)


def _check_rules(script: Script, outcomes: tuple[Outcome, ...]) -> None:
    for (relation, where), index in script.oracles.items():
        if outcomes[index].state and outcomes[index].state != DENIED:
            raise OpsError(
                "A rule of the policy file could not be asked",
                why=f"tables.{relation}: {where}: {outcomes[index].message}",
                hint="a rule is a condition on the row's own columns, with :user and :tenants",
                code="policy-rule",
            )
