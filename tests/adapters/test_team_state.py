"""A team's state on a real PostgreSQL: journal, leases, roles."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from opsctl.adapters.team_journal import TeamJournal
from opsctl.adapters.team_leases import TeamLeases
from opsctl.adapters.team_schema import schema_sql
from opsctl.adapters.team_server import TeamServer
from opsctl.core.action import Command
from opsctl.core.errors import OpsError
from opsctl.core.journal import audit
from opsctl.core.lease import Fence
from opsctl.core.plan import Irreversible, Plan, Step, plan_to_json
from opsctl.core.state_place import TEAM_SCHEMA, TeamState
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


SCHEMAS = {3: "f5e6b19eb32f98c7"}
"""SHA-256 of what each version makes, comments left out, its first 16 digits."""
OLDER = Path(__file__).with_name("team_schema_2.sql")
CHANGE = Plan(
    "rollback db", "prod", True, "Roll back \udcff\u0000",
    (Step("a", "A", "idempotent", Command(("true",)), undo=Irreversible("it is a test")),),
)  # fmt: skip
LOOK = Plan("backup create", "prod", True, "Look", (Step("b", "B", "idempotent", Command(("x",))),))


def test_whoever_changes_the_tables_raises_their_version() -> None:
    """Another opsctl tells by the version alone that what it needs is there."""
    bare = " ".join(re.sub(r"--[^\n]*", "", schema_sql()).split())

    assert SCHEMAS[TEAM_SCHEMA] == hashlib.sha256(bare.encode()).hexdigest()[:16]


def test_a_state_of_another_version_is_refused_with_what_to_do(
    server: TeamServer, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        for version, code, hint in (
            (TEAM_SCHEMA - 1, "state-too-old", "opsctl state prepare"),
            (TEAM_SCHEMA + 1, "state-too-new", "pip install --upgrade opsctl"),
        ):
            owner.execute("UPDATE opsctl.opsctl_schema SET version = %s", (version,))
            for _ in range(2):
                with pytest.raises(OpsError) as caught:
                    TeamJournal(server).append("r", "planned", step=None, actor="a", data={})
                assert (caught.value.code, int(caught.value.exit)) == (code, 3)
            assert hint in caught.value.hint
            assert f"has version {version}" in caught.value.why
        with pytest.raises(psycopg.Error, match="it has version 4; this opsctl knows 3") as newer:
            owner.execute(schema_sql().encode())
        assert newer.value.sqlstate == "OC003"
        owner.execute("UPDATE opsctl.opsctl_schema SET version = %s", (TEAM_SCHEMA,))

    assert TeamJournal(server).events() == ()


def test_an_older_state_is_brought_up_to_date_while_others_write(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(OLDER.read_bytes())
        append = "SELECT opsctl.append_event(%s, NULL, NULL, 'r', NULL, 'started', 'a', '{}')"
        owner.execute(append, ("before",))
        go_on = threading.Event()

        def write(name: int) -> int:
            """Write as an older opsctl does, which looks at no version."""
            count = 0
            with psycopg.connect(database_url, autocommit=True) as connection:
                while not go_on.is_set() or count < 10:
                    connection.execute(append, (f"{name}-{count}",))
                    count += 1
            return count

        with ThreadPoolExecutor(5) as pool:
            writers = [pool.submit(write, name) for name in range(2)]
            time.sleep(0.2)
            try:
                for done in [pool.submit(prepare, database_url) for _ in range(3)]:
                    done.result(timeout=60)
            finally:
                go_on.set()
            written = 1 + sum(each.result(timeout=60) for each in writers)

    server = TeamServer(TeamState(database_url))
    journal = TeamJournal(server)
    found = audit(journal.rows(), last_seq=journal.last_seq())
    server.close()
    assert (found.rows, found.broken_seq) == (written, None)


def plan_of(journal: TeamJournal, run: str, plan: Plan, actor: str = "ann@laptop") -> None:
    data = {"plan": plan_to_json(plan), "sha256": plan.hash}
    journal.append(run, "planned", step=None, actor=actor, data=data)


def begin(journal: TeamJournal, run: str) -> str:
    """Write the intent of a run's first step, as a program does that asks for no approval."""
    try:
        journal.append(run, "started", step="a", actor="ann@laptop", data={})
    except OpsError as error:
        refused = (error.code, int(error.exit), error.hint)
        if refused != ("not-approved", 5, f"another person runs: opsctl runs approve {run}"):
            raise
        return error.why
    return "begun"


def test_the_server_begins_no_change_that_others_did_not_approve(
    server: TeamServer, database_url: str
) -> None:
    people = {
        name: TeamJournal(TeamServer(TeamState(login(database_url, f"team_{name}",
                                                     "opsctl_operator"))))
        for name in ("ann", "bob", "eve")
    }  # fmt: skip
    ann = people["ann"]
    server.rows("SELECT opsctl.set_approvals('prod', 2)")

    def approve(who: str, run: str, actor: str, **data: Any) -> None:
        given = {"how": "runs approve", "plan_hash": CHANGE.hash, **data}
        people[who].append(run, "approved", step=None, actor=actor, data=given)

    assert ann.approvals_demanded("prod") == 2
    plan_of(ann, "one", CHANGE)
    ann.append("one", "approved", step=None, actor="ann@laptop", data={"how": "--yes"})
    assert begin(ann, "one") == "0 of 2 approvals by others than ann@laptop"
    approve("ann", "one", "bob@desk")
    approve("bob", "one", "ann@laptop")
    approve("bob", "one", "bob@desk", plan_hash="0" * 64)
    approve("bob", "one", "bob@desk", how="--yes")
    assert begin(ann, "one") == "0 of 2 approvals by others than ann@laptop"
    approve("bob", "one", "bob@desk")
    approve("bob", "one", "bob@elsewhere")
    assert begin(ann, "one") == "1 of 2 approvals by others than ann@laptop"
    approve("eve", "one", "eve@desk")
    assert begin(ann, "one") == "begun"
    # What has begun may be finished, whatever is demanded later.
    server.rows("SELECT opsctl.set_approvals('prod', 5)")
    assert begin(ann, "one") == "begun"
    plan_of(ann, "look", LOOK)
    assert begin(ann, "look") == "begun"
    assert begin(ann, "unplanned") == "begun"
    server.rows("SELECT opsctl.set_approvals('*', 1)")
    assert begin(ann, "unplanned too") == "0 of 1 approvals by others than whoever planned it"
    plan_of(ann, "elsewhere", replace_environment("staging"))
    assert begin(ann, "elsewhere") == "0 of 1 approvals by others than ann@laptop"
    server.rows("SELECT opsctl.set_approvals('staging', 0)")
    assert begin(ann, "elsewhere") == "begun"
    for journal in people.values():
        journal.close()


def replace_environment(name: str) -> Plan:
    return Plan(CHANGE.command, name, True, CHANGE.title, CHANGE.steps)


def test_an_approval_on_the_server_holds_for_four_hours(
    server: TeamServer, database_url: str
) -> None:
    ann = TeamJournal(TeamServer(TeamState(login(database_url, "team_ann", "opsctl_operator"))))
    bob = TeamJournal(TeamServer(TeamState(login(database_url, "team_bob", "opsctl_operator"))))
    server.rows("SELECT opsctl.set_approvals('prod', 1)")
    told = []
    for run, age in (("old", "4 hours 1 minute"), ("fresh", "3 hours 59 minutes")):
        plan_of(ann, run, CHANGE)
        bob.append(run, "approved", step=None, actor="bob@desk",
                   data={"how": "runs approve", "plan_hash": CHANGE.hash})  # fmt: skip
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("ALTER TABLE opsctl.event DISABLE TRIGGER ALL")
            owner.execute(
                "UPDATE opsctl.event SET at = to_char((clock_timestamp() - %s::interval) "
                "AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"+00:00\"') "
                "WHERE run = %s AND kind = 'approved'",
                (age, run),
            )
        told.append(begin(ann, run))
    ann.close()
    bob.close()

    assert told == ["0 of 1 approvals by others than ann@laptop", "begun"]


def test_who_carries_plans_out_does_not_say_who_approves_them(
    server: TeamServer, database_url: str
) -> None:
    operator = login(database_url, "team_ann", "opsctl_operator")
    keeper = login(database_url, "team_cara", "opsctl_keeper")
    statements = (
        "SELECT opsctl.set_approvals('prod', 0)",
        "INSERT INTO opsctl.approval_rule (environment, approvals, set_at, db_user) "
        "VALUES ('prod', 0, now(), 'x')",
        "DELETE FROM opsctl.approval_rule",
        "SET SESSION AUTHORIZATION postgres",
    )
    with psycopg.connect(keeper, autocommit=True) as cara:
        cara.execute("SELECT opsctl.set_approvals('prod', 1)")
        for statement in (*statements[1:], "SELECT opsctl.append_event('','',0,'','','','','')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                cara.execute(statement.encode())
    with psycopg.connect(operator, autocommit=True) as ann:
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                ann.execute(statement.encode())
    for statement in ("UPDATE opsctl.approval_rule SET approvals = 0", statements[2]):
        with pytest.raises(OpsError) as caught:
            server.rows(statement + " RETURNING 1")
        assert "append-only" in caught.value.why

    assert server.rows("SELECT environment, approvals, db_user FROM opsctl.approval_rule") == [
        ("prod", 1, "team_cara")
    ]
