"""A team's state through a real transaction pooler, as Supabase's port 6543 is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bouncer import bouncer
from opsctl.adapters.team_journal import TeamJournal
from opsctl.adapters.team_leases import TeamLeases
from opsctl.adapters.team_server import TeamServer
from opsctl.adapters.team_tables import TeamTables
from opsctl.core.errors import OpsError
from opsctl.core.journal import audit
from opsctl.core.state_place import TeamState
from team.world import World

SESSIONS = 2


@pytest.fixture
def pooled(team: Callable[[], str]) -> Iterator[str]:
    """Return the address of a team's state behind pgbouncer, in transaction mode."""
    with bouncer(team(), sessions=SESSIONS) as address:
        yield address


def test_many_write_one_chain_through_few_sessions(pooled: str) -> None:
    def write(name: int) -> None:
        server = TeamServer(TeamState(pooled))
        journal, leases = TeamJournal(server), TeamLeases(server)
        tables = TeamTables(server)
        with leases.hold(f"env{name}", actor="a", run=str(name), command="c") as held:
            for number in range(10):
                held.ensure(1.0)
                journal.append(str(name), "started", step=str(number), actor="a", data={},
                               fence=held.fence)  # fmt: skip
                with tables.write() as connection:
                    connection.execute(
                        "INSERT INTO incident_event SELECT ?, coalesce(max(seq), 0) + 1, "
                        "?, 'prod', 'k', 1, 'a', '{}', '' FROM incident_event "
                        "WHERE incident = ?",
                        ("inc", f"{name}-{number}", "inc"),
                    )
        server.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))

    server = TeamServer(TeamState(pooled))
    journal = TeamJournal(server)
    found = audit(journal.rows(), last_seq=journal.last_seq())
    assert (found.rows, found.broken_seq) == (60, None)
    count = TeamTables(server).read(
        lambda connection: connection.execute(
            "SELECT count(*), max(seq) FROM incident_event"
        ).fetchone(),
        empty=None,
    )
    assert count == (60, 60)
    server.close()


def test_an_environment_is_held_by_one_through_the_pooler(pooled: str) -> None:
    one, other = TeamServer(TeamState(pooled)), TeamServer(TeamState(pooled))
    with (
        TeamLeases(one).hold("prod", actor="ann", run="r", command="c"),
        pytest.raises(OpsError) as caught,
        TeamLeases(other).hold("prod", actor="bob", run="r", command="c"),
    ):
        pass
    one.close()
    other.close()

    assert caught.value.code == "locked"


def test_a_run_is_carried_out_through_the_pooler(tmp_path: Path, pooled: str) -> None:
    world = World(tmp_path / "run", pooled, lease_s=5.0)

    assert world.drive("start", "ann@laptop") == (0, "")

    world.prove("through the pooler")
