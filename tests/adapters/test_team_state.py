"""A team's state on a real PostgreSQL: journal, leases, roles."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg
import pytest

from opsctl.adapters.team_journal import TeamJournal
from opsctl.adapters.team_leases import TeamLeases
from opsctl.adapters.team_schema import schema_sql
from opsctl.adapters.team_server import TeamServer
from opsctl.core.errors import OpsError
from opsctl.core.journal import audit
from opsctl.core.lease import Fence
from opsctl.core.state_place import TeamState
from team.world import login


def prepare(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema_sql().encode())


@pytest.fixture
def server(database_url: str) -> Iterator[TeamServer]:
    prepare(database_url)
    server = TeamServer(TeamState(database_url))
    yield server
    server.close()


def test_python_and_the_server_make_the_same_chain(server: TeamServer) -> None:
    journal = TeamJournal(server)
    journal.append("r", "planned", step=None, actor="änn@lap", data={"ü": "☃\u0000", "n": [1]})
    journal.append("r", "started", step="one", actor="b", data={})
    with TeamLeases(server).hold("prod", actor="a", run="r", command="c") as held:
        journal.append("r", "done", step="one", actor="b", data={}, fence=held.fence)

    found = audit(journal.rows(), last_seq=journal.last_seq())

    assert (found.rows, found.unchained, found.broken_seq) == (3, 0, None)
    first, second, third = journal.events()
    assert first.data == {"ü": "☃\u0000", "n": [1]}
    assert (second.step, third.kind, first.user) == ("one", "done", "postgres")
    assert [event.seq for event in journal.events("r")] == [1, 2, 3]
    assert journal.events("other") == ()


def test_preparing_again_keeps_what_is_there(server: TeamServer, database_url: str) -> None:
    journal = TeamJournal(server)
    journal.append("r", "planned", step=None, actor="a", data={})

    prepare(database_url)

    assert audit(journal.rows(), last_seq=journal.last_seq()).rows == 1


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE opsctl.event SET actor = 'bob' WHERE seq = 2", 2),
        ("DELETE FROM opsctl.event WHERE seq = 2", 2),
        ("DELETE FROM opsctl.event WHERE seq = 3", 3),
    ],
)
def test_not_even_the_owner_changes_a_row_unnoticed(
    server: TeamServer, database_url: str, statement: str, seq: int
) -> None:
    journal = TeamJournal(server)
    for number in range(3):
        journal.append("r", "started", step=str(number), actor="a", data={})

    with psycopg.connect(database_url, autocommit=True) as owner:
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            owner.execute(statement.encode())
        owner.execute("ALTER TABLE opsctl.event DISABLE TRIGGER ALL")
        owner.execute(statement.encode())

    assert audit(journal.rows(), last_seq=journal.last_seq()).broken_seq == seq


def test_writers_at_once_make_one_chain(server: TeamServer) -> None:
    def write(name: int) -> None:
        journal = TeamJournal(TeamServer(server.place))
        for number in range(25):
            journal.append(str(name), "started", step=str(number), actor="a", data={})
        journal.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))

    journal = TeamJournal(server)
    found = audit(journal.rows(), last_seq=journal.last_seq())
    assert (found.rows, found.broken_seq) == (100, None)
    assert [event.step for event in journal.events("2")] == [str(n) for n in range(25)]


def test_one_holds_it_and_the_other_hears_who(server: TeamServer) -> None:
    leases = TeamLeases(server)
    with leases.hold("prod", actor="ann@laptop", run="run-1", command="rollback db") as held:
        with (
            pytest.raises(OpsError) as caught,
            leases.hold("prod", actor="bob@desk", run="run-2", command="restore db"),
        ):
            pass
        assert leases.holder_of("prod") == held.holder
        assert leases.is_alive(held.holder)
        with pytest.raises(OpsError):
            leases.refuse_if_held("prod")
        with leases.hold("staging", actor="bob@desk", run="run-2", command="restore db"):
            pass

    assert (caught.value.code, int(caught.value.exit)) == ("locked", 5)
    for part in ("ann@laptop", "rollback db", "since"):
        assert part in caught.value.why
    assert leases.holder_of("prod") is None
    leases.refuse_if_held("prod")


def test_numbers_only_grow_and_an_older_one_writes_nothing(server: TeamServer) -> None:
    leases, journal = TeamLeases(server), TeamJournal(server)
    with leases.hold("prod", actor="a", run="r1", command="c") as first:
        journal.append("r1", "planned", step=None, actor="a", data={}, fence=first.fence)
    with leases.hold("prod", actor="b", run="r2", command="c") as second:
        assert second.fence.number == first.fence.number + 1
        for fence in (first.fence, Fence("prod", second.fence.number + 1), Fence("other", 1)):
            with pytest.raises(OpsError) as caught:
                journal.append("r1", "done", step="x", actor="a", data={}, fence=fence)
            assert (caught.value.code, int(caught.value.exit)) == ("lease-lost", 4)
    with pytest.raises(OpsError):
        journal.append("r2", "done", step="x", actor="a", data={}, fence=second.fence)

    assert [event.kind for event in journal.events()] == ["planned"]


def test_a_beating_heart_keeps_it_and_a_silent_one_loses_it(server: TeamServer) -> None:
    leases = TeamLeases(server, lease_s=0.6)
    with leases.hold("prod", actor="a", run="r1", command="c") as first:
        time.sleep(1.5)
        with pytest.raises(OpsError), leases.hold("prod", actor="b", run="r2", command="c"):
            pass
        first.stop.set()
        time.sleep(1.0)
        with TeamLeases(server).hold("prod", actor="b", run="r2", command="c") as second:
            assert second.fence.number == first.fence.number + 1
            for act in (lambda: first.ensure(1.0), first.check):
                with pytest.raises(OpsError) as caught:
                    act()
                assert caught.value.code == "lease-lost"


def test_it_lasts_until_the_step_must_be_over(server: TeamServer) -> None:
    leases = TeamLeases(server, lease_s=0.4)
    with leases.hold("prod", actor="a", run="r1", command="c") as first:
        first.ensure(2.0)
        first.stop.set()
        time.sleep(0.8)
        with pytest.raises(OpsError), leases.hold("prod", actor="b", run="r2", command="c"):
            pass
        # It stood still for longer than was left beyond the step.
        with pytest.raises(OpsError) as caught:
            first.check()
        assert caught.value.code == "lease-lost"
        first.ensure(0.0)
        first.check()
        time.sleep(0.6)
        with leases.hold("prod", actor="b", run="r2", command="c"):
            pass


def test_freeing_needs_the_id_and_a_silent_holder(server: TeamServer) -> None:
    leases = TeamLeases(server, lease_s=0.5)
    with leases.hold("prod", actor="ann@laptop", run="run-1", command="c") as held:
        held.ensure(3600.0)
        codes = []
        for id in ("guess", held.holder.id):
            with pytest.raises(OpsError) as caught:
                leases.unlock("prod", id)
            codes.append(caught.value.code)
        assert codes == ["wrong-lock", "lock-held"]
        held.stop.set()
        time.sleep(0.8)
        with pytest.raises(OpsError) as caught:
            leases.refuse_if_held("prod")
        assert f"runs unlock {held.holder.id}" in caught.value.hint

        assert leases.unlock("prod", held.holder.id) == held.holder

        leases.refuse_if_held("prod")
        with pytest.raises(OpsError) as caught:
            TeamJournal(server).append(
                "run-1", "done", step="x", actor="a", data={}, fence=held.fence
            )
        assert caught.value.code == "lease-lost"
    with pytest.raises(OpsError) as caught:
        leases.unlock("prod", held.holder.id)
    assert caught.value.code == "not-locked"


def test_racers_never_overlap(server: TeamServer, soak: bool) -> None:
    rounds = 100 if soak else 12
    inside = threading.Lock()
    overlaps: list[int] = []
    held: list[int] = []
    refusals: list[str] = []

    def race(name: int) -> None:
        mine = TeamServer(server.place)
        done = 0
        while done < rounds:
            try:
                with TeamLeases(mine).hold("prod", actor=str(name), run="r", command="c") as lease:
                    if not inside.acquire(blocking=False):
                        overlaps.append(name)
                        continue
                    held.append(lease.fence.number)
                    inside.release()
                    done += 1
            except OpsError as error:
                refusals.append(error.code)
        mine.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(race, range(3)))

    assert overlaps == []
    assert set(refusals) <= {"locked"}
    assert len(held) == len(set(held)) == 3 * rounds


def test_roles_do_what_they_may_and_no_more(server: TeamServer, database_url: str) -> None:
    operator = login(database_url, "team_ann", "opsctl_operator")
    reader = login(database_url, "team_bob", "opsctl_reader")
    other = login(database_url, "team_eve", None)

    anns = TeamServer(TeamState(operator))
    with TeamLeases(anns).hold("prod", actor="ann", run="r", command="c") as held:
        TeamJournal(anns).append("r", "planned", step=None, actor="x", data={}, fence=held.fence)
    assert TeamJournal(anns).events()[0].user == "team_ann"
    for statement in (
        "INSERT INTO opsctl.event (seq, run, kind, at, actor, data) VALUES (9,'','','','','{}')",
        "UPDATE opsctl.lease SET fence = 0",
        "UPDATE opsctl.journal_head SET seq = 0",
        "TRUNCATE opsctl.event",
        "ALTER TABLE opsctl.event DISABLE TRIGGER ALL",
    ):
        with (
            psycopg.connect(operator, autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())
    bobs = TeamServer(TeamState(reader))
    assert len(TeamJournal(bobs).events()) == 1
    with pytest.raises(OpsError) as caught:
        TeamJournal(bobs).append("r", "done", step="x", actor="b", data={})
    assert (caught.value.code, int(caught.value.exit)) == ("state-forbidden", 3)
    eves = TeamServer(TeamState(other))
    with pytest.raises(OpsError) as caught:
        TeamJournal(eves).events()
    assert caught.value.code == "state-forbidden"
    for each in (anns, bobs, eves):
        each.close()


def test_what_is_not_there_is_said_without_a_password(database_url: str) -> None:
    word = "hunter" + "2hunter"
    parts = urlsplit(database_url)
    cases = {
        "state-not-prepared": database_url,
        "state-unreachable": f"postgresql://ann:{word}@127.0.0.1:1/x",
        "state-not-postgresql": f"postgresql://ann:{word}@[::1/x?nonsense=1",
    }
    assert parts.scheme == "postgresql"
    for code, url in cases.items():
        server = TeamServer(TeamState(url), patience_s=0)

        with pytest.raises(OpsError) as caught:
            TeamJournal(server).events()

        assert caught.value.code == code
        said = caught.value.what + caught.value.why + caught.value.hint
        assert word not in said.replace(url, "")


def test_a_server_that_was_never_reached_is_not_waited_for_long() -> None:
    server = TeamServer(TeamState("postgresql://127.0.0.1:1/x"))
    began = time.monotonic()

    with pytest.raises(OpsError) as caught:
        TeamJournal(server).events()

    assert (caught.value.code, int(caught.value.exit)) == ("state-unreachable", 3)
    assert "OPSCTL_STATE" in caught.value.hint
    assert time.monotonic() - began < 8


def test_an_owner_who_is_no_superuser_prepares_it(database_url: str) -> None:
    owner = login(database_url, "team_owner", None)
    with psycopg.connect(database_url, autocommit=True) as connection:
        # As on Supabase, where `postgres` is none.
        connection.execute(b"ALTER ROLE team_owner CREATEROLE")
        for role in (b"opsctl_operator", b"opsctl_reader"):
            connection.execute(
                b"DO $$ BEGIN CREATE ROLE " + role + b" NOLOGIN; "
                b"EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            )
        name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
        connection.execute(f"GRANT CREATE ON DATABASE {name} TO team_owner".encode())
    prepare(owner)
    prepare(owner)
    operator = TeamServer(TeamState(login(database_url, "team_op", "opsctl_operator")))

    with TeamLeases(operator).hold("prod", actor="a", run="r", command="c") as held:
        TeamJournal(operator).append("r", "planned", step=None, actor="a", data={},
                                     fence=held.fence)  # fmt: skip

    assert TeamJournal(operator).runs() == ("r",)
    operator.close()
