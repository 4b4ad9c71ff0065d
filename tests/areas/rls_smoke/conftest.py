"""A copy to try policies in, without a scratch server of its own for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from opsctl.adapters import postgres as database
from opsctl.adapters.scratch import ScratchServer
from opsctl.areas.rls_smoke.actors import default_file
from opsctl.areas.rls_smoke.attacks import attack
from opsctl.areas.rls_smoke.checks import judge
from opsctl.areas.rls_smoke.matrix import Matrix, look
from opsctl.areas.rls_smoke.policy_file import PolicyFile, load_policy_file
from opsctl.areas.rls_smoke.tenancy import infer
from opsctl.areas.rls_smoke.world import Copy, World
from opsctl.core.report import Finding

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(postgres: ScratchServer, _baseline: str) -> Iterator[MakeWorld]:
    """Return a function (sql, file=None) -> World of a new database with that schema."""
    with ExitStack() as stack:

        def make(*scripts: str, file: PolicyFile | None = None) -> World:
            url = postgres.create_database(template=_baseline)
            with psycopg.connect(url, autocommit=True) as connection:
                for script in scripts:
                    connection.execute(script.encode())
            connection = stack.enter_context(database.connect(url, read_only=False))
            copy = Copy(connection, ("public",))
            schema = copy.schema()
            model = infer(schema)
            return copy.populate(schema, model, file or default_file(schema, model))

        yield make


def policy_file(tmp_path: Path, world: World, rules: str) -> PolicyFile:
    """Return the default actors of a world with rules for its tables."""
    import json

    actors = {n: a.model_dump(mode="json") for n, a in world.file.actors.items()}
    path = tmp_path / "rls.yaml"
    lines = "\n".join(f"  {name}: {json.dumps(fields)}" for name, fields in actors.items())
    path.write_text(f"version: 1\nactors:\n{lines}\ntables:\n{rules}\n", encoding="utf-8")
    return load_policy_file(path)


def findings(world: World, *, inferred: bool = False) -> tuple[Finding, ...]:
    """Return what a world's check finds."""
    matrix: Matrix = look(world, inferred=inferred)
    return judge(world, matrix, attack(world, matrix), inferred=inferred)
