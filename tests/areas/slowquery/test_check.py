"""What a check says of a real server: what is lost, hidden, missing, left out, and worse."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opsctl.adapters.postgres import connect
from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.statements import find_statistics, read_snapshot


def rules(document: dict[str, Any]) -> dict[str, str]:
    """Return the gravest status of each rule."""
    found: dict[str, str] = {}
    for each in document["findings"]:
        if found.get(each["rule"], "ok") == "ok":
            found[each["rule"]] = each["status"]
    return found


def hint_of(document: dict[str, Any], rule: str) -> str:
    return next(str(each["hint"]) for each in document["findings"] if each["rule"] == rule)


def texts(document: dict[str, Any]) -> list[str]:
    return [each["text"] for each in document["data"]["statements"]]


def test_between_two_checks_it_counts_what_ran_and_not_what_was_before(room: Any) -> None:
    room.execute(*["select 1 as before"] * 3)
    room.report("--sample", "0.2s")
    room.execute(*["select 1 as meanwhile, 2"] * 30, "select pg_sleep(0.01)")

    document = room.report()

    assert 0 == document["exit_code"]
    found = {each["text"]: each for each in document["data"]["statements"]}
    assert not any("before" in text for text in found)
    assert 30 == found["select $1 as meanwhile, $2"]["calls"]
    assert 1 == found["select pg_sleep($1)"]["calls"]
    slept = found["select pg_sleep($1)"]
    assert slept["p95_low_ms"] == pytest.approx(slept["total_ms"])
    assert "sampled" == slept["p95_method"]
    assert {"p95": "ok"} == rules(document)


def test_one_slow_call_is_too_slow_and_the_default_command_says_so(room: Any) -> None:
    room.report("--sample", "0.2s")
    room.execute("select pg_sleep(0.35)")

    code, text = room.opsctl()

    assert 1 == code
    assert "A statement's P95 is over 300 ms" in text
    assert "select pg_sleep($1)" in text


def test_a_bound_that_straddles_the_limit_is_unknown(room: Any) -> None:
    room.report("--sample", "0.2s")
    # Eight of them: the extremes are known, the six between are not.
    room.execute(*(f"select pg_sleep({ms} / 1000.0)" for ms in [1, 90, *[2] * 20, 40, 50]))

    document = room.report(limits={"query_p95_ms": 48.0})

    statement = next(each for each in document["data"]["statements"] if "sleep" in each["text"])
    assert statement["p95_low_ms"] <= 50.5
    assert statement["p95_high_ms"] >= 50.0
    assert 3 == document["exit_code"]
    assert "unknown" == rules(document)["p95-statement"]


def test_nothing_ran_is_unknown_not_well(room: Any) -> None:
    document = room.report("--sample", "0.3s")

    assert 3 == document["exit_code"]
    assert "--since start" in hint_of(document, "p95")


def test_without_a_stored_snapshot_it_samples_and_says_so(room: Any, planter: Any) -> None:
    planting = planter(room.url)
    planting.plant("select /* hand */ pg_sleep(%s)", lambda: 0.02)
    with planting:
        document = room.report("--since", "last", "--sample", "1s")
        code, text = room.opsctl("check", "--sample", "1s")

    assert 0 == document["exit_code"] == code
    assert document["data"]["sampling"]["looks"] >= 8
    assert "the next check has this one" not in text
    statement = document["data"]["statements"][0]
    assert ["planter"] == statement["applications"]
    assert 20 <= statement["p95_low_ms"] <= statement["p95_high_ms"] < 100


def test_since_start_is_labelled(room: Any) -> None:
    room.execute("select pg_sleep(0.4)")

    code, text = room.opsctl("check", "--since", "start")

    assert 1 == code
    assert "since the statistics began" in text
    assert "not what is slow now" in text


def test_a_reset_is_said_and_makes_unknown(room: Any) -> None:
    room.execute(*["select 1"] * 5)
    room.report("--sample", "0.2s")
    room.execute("select pg_stat_statements_reset()", *["select 1 as after"] * 5)

    document = room.report()

    assert 3 == document["exit_code"]
    assert "unknown" == rules(document)["statistics-reset"]
    assert "select $1 as after" in texts(document)
    assert document["data"]["window"]["reset"] is True


def test_a_statement_that_was_reset_alone_is_torn(room: Any) -> None:
    room.execute(*["select 1 as torn, 2"] * 30)
    room.report("--sample", "0.2s")
    room.execute(
        "select pg_stat_statements_reset(userid, dbid, queryid) from pg_stat_statements "
        "where query like 'select $1 as torn%'",
        *["select 1 as torn, 2"] * 4,
    )

    document = room.report()

    assert 3 == document["exit_code"]
    assert "unknown" == rules(document)["statistics-torn"]
    assert 1 == document["data"]["window"]["torn_statements"]


def test_new_extremes_alone_do_not_tear(statistics_servers: Any, make_room: Any) -> None:
    server = statistics_servers.get(17) or statistics_servers[max(statistics_servers)]
    room = make_room(server.create_database())
    room.execute("create extension pg_stat_statements", *["select 1 as kept, 2"] * 30)
    room.report("--sample", "0.2s")
    room.execute("select pg_stat_statements_reset(0, 0, 0, true)", *["select 1 as kept, 2"] * 4)

    document = room.report()

    assert 0 == document["exit_code"]
    kept = next(each for each in document["data"]["statements"] if "kept" in each["text"])
    assert 4 == kept["calls"]


def test_a_crash_loses_the_counters_and_a_restart_does_not(
    small_server: ScratchServer, make_room: Any
) -> None:
    room = make_room(small_server.create_database())
    room.execute("create extension pg_stat_statements", *["select 1"] * 5)
    room.report("--sample", "0.2s")
    small_server.stop()
    small_server.start()
    room.execute("select 1 as after, 2, 3")

    calm = room.report()

    assert 0 == calm["exit_code"]
    assert calm["data"]["window"]["restarted"] is True
    assert "select $1 as after, $2, $3" in texts(calm)
    assert small_server.pid is not None
    os.kill(small_server.pid, signal.SIGKILL)
    # A killed process lives on for a moment, and would be taken for a server that runs.
    deadline = time.monotonic() + 20
    while small_server.is_running:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    small_server.start()
    room = make_room(small_server.url(room.url.rpartition("/")[2]))
    room.execute("select 1 as later")

    crashed = room.report()

    assert 3 == crashed["exit_code"]
    assert "statistics-reset" in rules(crashed)


def test_evictions_make_unknown_and_name_the_setting(
    small_server: ScratchServer, make_room: Any
) -> None:
    room = make_room(small_server.create_database())
    room.execute("create extension pg_stat_statements")
    room.report("--sample", "0.2s")
    room.execute(*(f"select {', '.join('1' * n)}" for n in range(1, 240)))

    document = room.report()

    assert 3 == document["exit_code"]
    assert "unknown" == rules(document)["statistics-evicted"]
    assert "pg_stat_statements.max = 200" in hint_of(document, "statistics-evicted")


def test_what_is_ignored_and_what_is_ours_is_left_out(room: Any) -> None:
    room.report("--sample", "0.2s")
    room.execute("SELECT  pg_sleep(0.32), 'a report'", *["begin; select 1 as one; commit"] * 3)

    document = room.report(slowquery={"ignore": ["select pg_sleep\\(.*\\), .*"]})

    assert 0 == document["exit_code"]
    assert [] == [each for each in texts(document) if "sleep" in each or "pg_stat" in each]
    again = room.report("--since", "1h")
    assert 1 == again["exit_code"]


def test_a_pattern_that_is_none_is_a_wrong_setting(new_room: Any) -> None:
    new_room.report("--sample", "0.2s")
    new_room.execute("select 1")

    document = new_room.report(slowquery={"ignore": ["select ("]})

    assert (2, "ignore-pattern") == (document["exit_code"], document["error"]["code"])


def test_a_password_in_a_statement_is_never_shown_or_stored(new_room: Any) -> None:
    password = "-".join(["canary", "slow", "91"])
    new_room.report("--sample", "0.2s")
    new_room.execute(f"create role slowquery_canary password '{password}'",
                     f"alter role slowquery_canary password $${password}$$",
                     "drop role slowquery_canary")  # fmt: skip

    outputs = [new_room.opsctl("check", "--since", "1h", "--explain", "--format", each)[1]
               for each in ("text", "json", "markdown", "junit", "github")]  # fmt: skip

    assert "create role slowquery_canary password '…'" in texts(json.loads(outputs[1]))
    assert not any(password in each for each in outputs)
    for path in (new_room.root / ".opsctl").rglob("*.gz"):
        assert password.encode() not in gzip.decompress(path.read_bytes())


def test_hidden_statements_make_unknown_and_the_hint_mends_it(
    server: ScratchServer, room: Any, make_room: Any
) -> None:
    room.execute(
        "drop role if exists modest", "create role modest login password 'modest'",
        "select pg_sleep(0.001)",
    )  # fmt: skip
    plain = re.sub(r"//[^@]*@", "//modest:modest@", room.url)
    modest = make_room(plain)
    modest.execute(*["select 1"] * 3)

    document = modest.report("--since", "start")

    assert 3 == document["exit_code"]
    assert "statistics-hidden" in rules(document)
    mend = hint_of(document, "statistics-hidden")
    assert 'grant pg_read_all_stats to "modest";' == mend
    room.execute(mend, url=room.url)
    assert "statistics-hidden" not in rules(modest.report("--since", "start"))


def test_without_the_extension_it_cannot_look_and_the_hint_mends_it(
    server: ScratchServer, make_room: Any
) -> None:
    room = make_room(server.create_database())
    room.execute("create schema extensions")

    document = room.report()

    assert (3, "statements-missing") == (document["exit_code"], document["error"]["code"])
    mend = document["error"]["hint"]
    assert "create extension if not exists pg_stat_statements with schema extensions;" == mend
    room.execute(mend)
    assert room.report("--since", "start")["error"] is None


def test_without_the_library_it_cannot_look(postgres: ScratchServer, make_room: Any) -> None:
    room = make_room(postgres.create_database())
    for statement in ("select 1", "create extension pg_stat_statements"):
        room.execute(statement)

        document = room.report()

        assert (3, "statements-not-loaded") == (document["exit_code"], document["error"]["code"])
        assert "shared_preload_libraries = 'pg_stat_statements'" in document["error"]["hint"]


def test_an_old_extension_is_to_be_updated(server: ScratchServer, make_room: Any) -> None:
    room = make_room(server.create_database())
    room.execute("create extension pg_stat_statements version '1.8'")

    document = room.report()

    assert (3, "statements-old") == (document["exit_code"], document["error"]["code"])
    room.execute(document["error"]["hint"])
    assert room.report("--since", "start")["error"] is None


@pytest.mark.parametrize("version", ["1.9", "1.10"])
def test_an_older_extension_lacks_columns_and_is_read(
    server: ScratchServer, make_room: Any, version: str
) -> None:
    room = make_room(server.create_database())
    room.execute(f"create extension pg_stat_statements version '{version}'",
                 *["select 1 as old"] * 3)  # fmt: skip

    document = room.report("--since", "start")

    old = next(each for each in document["data"]["statements"] if "old" in each["text"])
    assert (3, 3) == (old["calls"], old["rows"])


def test_nothing_is_recorded_is_said(newest: ScratchServer, new_room: Any) -> None:
    name = new_room.url.rpartition("/")[2]
    new_room.execute(f'alter database "{name}" set pg_stat_statements.track = none')

    document = new_room.report()

    assert (3, "statements-off") == (document["exit_code"], document["error"]["code"])


def test_without_a_database_it_is_a_wrong_setting(new_room: Any) -> None:
    (new_room.root / "opsctl.yaml").write_text("environments: {test: {}}\n")
    from opsctl.areas.slowquery.facts import connected
    from opsctl.core.call import Call
    from opsctl.core.errors import OpsError
    from opsctl.core.settings import Settings

    settings = Settings.model_validate({"environments": {"test": {}}})
    with pytest.raises(OpsError) as raised:
        connected(Call(settings, new_room.root, "test", print))

    assert "no-database" == raised.value.code


def test_nested_statements_are_marked_and_not_counted_twice(new_room: Any) -> None:
    new_room.execute(
        "create function f() returns void language plpgsql as "
        "$$ begin perform pg_sleep(0.35); end $$",
        "create function g(n int) returns int language sql as $$ select n $$",
    )
    name = new_room.url.rpartition("/")[2]
    new_room.execute(f"alter database \"{name}\" set pg_stat_statements.track = 'all'")
    new_room.report("--sample", "0.2s")
    new_room.execute("select f()")

    document = new_room.report()

    nested = {each["text"]: each["nested"] for each in document["data"]["statements"]}
    assert nested["select f()"] is False
    assert any(nested.values())
    overall = next(each for each in document["findings"] if each["rule"] == "p95")
    assert "of 1 calls" in overall["evidence"]


def test_only_a_role_is_shown(new_room: Any) -> None:
    new_room.execute("drop role if exists picky", "create role picky")
    new_room.report("--sample", "0.2s")
    new_room.execute("select 1 as all_roles", "set role picky; select 1 as of_picky, 2; reset role")

    document = new_room.report("--role", "picky")

    assert {"picky"} == {each["role"] for each in document["data"]["statements"]}


def test_a_baseline_finds_what_became_slower(new_room: Any) -> None:
    new_room.execute("create table numbers as select n from generate_series(1, 200000) n",
                     "create index on numbers (n)", "analyze numbers")  # fmt: skip
    query = "select count(*) from numbers where n = 77"
    new_room.execute(*[query] * 40, *["select 1 as same"] * 40)
    code, text = new_room.opsctl("baseline")
    assert 0 == code
    assert "Kept the baseline default" in text
    new_room.execute("drop index numbers_n_idx", *[query] * 40, *["select 1 as same"] * 40)

    document = new_room.report()

    worse = [each for each in document["findings"] if each["rule"] == "regression"]
    assert ["failed"] == [each["status"] for each in worse]
    assert "select count(*) from numbers" in worse[0]["evidence"]
    assert 1 == document["exit_code"]
    code, _ = new_room.opsctl("baseline", "--since", "last", "--name", "later")
    assert 0 == code
    code, text = new_room.opsctl("check", "--baseline", "never-stored")
    assert 2 == code


def test_without_change_there_is_no_regression(new_room: Any) -> None:
    new_room.execute(*["select 1 as same"] * 40)
    new_room.opsctl("baseline")
    new_room.execute(*["select 1 as same"] * 40)

    document = new_room.report()

    assert {"p95": "ok", "regression": "ok"} == rules(document)


def test_a_statement_that_still_runs_is_mentioned(new_room: Any) -> None:
    new_room.report("--sample", "0.2s")
    new_room.execute("select 1")
    thread = threading.Thread(target=new_room.execute, args=("select pg_sleep(2)",))
    thread.start()
    time.sleep(0.6)

    document = new_room.report()

    thread.join()
    late = next(each for each in document["findings"] if each["rule"] == "still-running")
    assert ("warning", 0) == (late["severity"], document["exit_code"])


def test_snapshots_are_private_and_bounded(new_room: Any) -> None:
    for _ in range(4):
        new_room.report("--since", "start", slowquery={"snapshots": 2})

    folder = new_room.root / ".opsctl" / "slowquery" / "test"
    files = list(folder.iterdir())
    assert 2 == len(files)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in files}
    assert 0o700 == folder.stat().st_mode & 0o777


def test_another_server_s_snapshot_is_not_compared(new_room: Any, statistics_servers: Any) -> None:
    new_room.report("--sample", "0.2s")
    other = statistics_servers[min(statistics_servers)]
    url = other.create_database()
    new_room.execute("create extension pg_stat_statements", url=url)
    os.environ["SLOWQUERY_TEST_URL"] = url

    code, text = new_room.opsctl("check", "--since", "last", "--sample", "0.3s")

    assert 3 == code
    assert "of another server or database" in text


def test_probes_are_timed_read_only(new_room: Any) -> None:
    new_room.execute("create table kept (n int)")
    queries = new_room.root / "probes.sql"
    queries.write_text(
        "select pg_sleep(0.02);\ninsert into kept values (1);\n"
        "with w as (insert into kept values (2) returning n) select * from w;"
    )

    document = new_room.report("--since", "start", "--probe", str(queries), "--probe-calls", "5")

    first, second, third = document["data"]["probed"]
    assert 20 <= first["p95_ms"] < 200
    assert "it is not a SELECT" == second["failure"]
    assert "25006" in third["failure"]
    with psycopg.connect(new_room.url) as connection:
        assert [(0,)] == connection.execute("select count(*) from kept").fetchall()


def test_every_format_can_show_it(room: Any) -> None:
    room.execute("select 1", 'select 1 as "\x1b[31m::error::x"')
    for each in ("text", "json", "junit", "sarif", "github", "markdown"):
        code, text = room.opsctl("check", "--since", "start", "--explain", "--format", each)

        assert 0 == code
        assert "\x1b" not in text
        assert not re.search(r"^\s*::error::x", text, re.MULTILINE)


def test_wrong_words_are_wrong_calls(new_room: Any) -> None:
    for words in (["--since", "yesterday"], ["--sample", "0"], ["--sort", "colour"]):
        code, _ = new_room.opsctl("check", *words)
        assert 2 == code


def test_the_server_is_never_reset_and_our_connection_is_read_only(room: Any) -> None:
    room.execute("select 1 as one_of_many")
    with connect(room.url) as connection:
        source = find_statistics(connection)
        before = read_snapshot(connection, source)
    room.report("--sample", "0.3s")
    room.report("--since", "start", "--explain")
    with connect(room.url) as connection:
        after = read_snapshot(connection, source)

    assert before.counts.reset_at == after.counts.reset_at
    for key, moments in before.counts.moments.items():
        assert after.counts.moments[key].calls >= moments.calls


def test_the_json_names_units(new_room: Any) -> None:
    new_room.execute("select 1 as one")
    document = new_room.report("--since", "start")

    one = next(each for each in document["data"]["statements"] if "one" in each["text"])
    wanted = {"total_ms", "mean_ms", "p95_low_ms", "p95_high_ms", "p95_method", "calls", "rows",
              "shared_hit_blocks", "shared_read_blocks", "temp_written_blocks", "wal_bytes",
              "jit_ms", "plans", "plan_ms", "role", "query_id", "text"}  # fmt: skip
    assert wanted <= set(one)
    assert json.dumps(document)
    assert isinstance(Path(new_room.root), Path)
