"""What the commands say and refuse, without a channel to tell."""

from __future__ import annotations

import io
import json
import shlex
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from opsctl.adapters.incidents import IncidentEvent, IncidentStore
from opsctl.areas.incident import clock, work
from opsctl.areas.incident.facts import all_incidents, made_of
from opsctl.areas.incident.security import STEPS
from opsctl.areas.incident.severity import QUESTIONS, ask_all, assess
from opsctl.cli.quick_incident import understood
from opsctl.cli.rooms import ROOMS
from opsctl.cli.root import load_room
from opsctl.core.settings import Incidents
from opsctl.core.start_banner import overdue

from .conftest import World
from .driving import carry_out

THURSDAY = 1795698000.0
"""2026-11-26 13:00 UTC."""


def opened(world: World, *, at: float, **data: Any) -> str:
    """Keep an incident as if it had been opened then, and return its id."""
    given = {"title": "Payments fail", "severity": "P1", "security": False, **data}
    event = IncidentEvent("INC-20261126-test", "first", "production", "opened",
                          round(at * 1000), "me", given)  # fmt: skip
    IncidentStore(world.root / ".opsctl" / "state.db").add(event)
    return event.incident


def test_without_a_channel_it_is_kept_and_said_that_nobody_was_told(world: World) -> None:
    world.write()

    code, document = world.opsctl("open", "--title", "Slow", "--severity", "p2", "--yes")
    (incident,) = all_incidents(world.call())

    assert (0, ["record"]) == (code, [each["id"] for each in document["data"]["steps"]])
    assert ("Slow", "P2", "investigating") == (incident.title, incident.severity, incident.state)
    assert world.slack.messages == []


def test_nothing_is_sent_that_was_not_agreed_to(world: World) -> None:
    code, document = world.opsctl("open", "--title", "Down", "--severity", "P0")

    assert (5, "not-confirmed") == (code, document["error"]["code"])
    assert "We are looking into a problem with the service" in world.stderr
    assert [] == world.slack.messages + world.statuspage.incidents + all_incidents(world.call())


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("open", "--title", " ", "--severity", "P1"), "nothing-said"),
        (("open", "--title", "x" * 201, "--severity", "P1"), "title-too-long"),
        (("open", "--title", "x", "--severity", "P9"), "no-such-severity"),
        (("open", "--title", "x"), "severity-unclear"),
        (("open", "--title", "x", "--severity", "P1", "--began", "soon"), "not-a-time"),
        (("open", "--title", "x", "--severity", "P1", "--began", "2099-01-01"), "not-a-time"),
        (("open", "--title", "x", "--severity", "P1", "--only", "fax"), "no-such-channel"),
        (("update", "x"), "no-open-incident"),
        (("update", "x", "--incident", "INC-1"), "no-such-incident"),
        (("log", "x"), "no-open-incident"),
        (("show",), "no-open-incident"),
        (("postmortem", "--answer", "why"), "no-open-incident"),
    ],
    ids=lambda each: " ".join(each)[:40] if isinstance(each, tuple) else each,
)
def test_a_call_that_makes_no_sense_is_refused(
    world: World, words: tuple[str, ...], code: str
) -> None:
    exit_code, document = world.opsctl(*words)

    assert (2, code) == (exit_code, document["error"]["code"])


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("update", " "), 2, "nothing-said"),
        (("update", "x", "--state", "resolved"), 2, "no-such-state"),
        (("assign", "Ann", "--role", "king"), 2, "no-such-role"),
        (("escalate", "--reason", "x", "--to", "nobody"), 2, "no-such-contact"),
        (("escalate", "--reason", ""), 2, "nothing-said"),
        (("log", "--step", "dance"), 2, "no-such-step"),
        (("resolve", ""), 2, "nothing-said"),
        (("postmortem", "--answer", "why"), 2, "bad-answer"),
        (("postmortem", "--action", ";Ann"), 2, "bad-action-item"),
        (("postmortem", "--finish"), 5, "postmortem-unfinished"),
        (("evidence", "not-there"), 3, "evidence-not-kept"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else str(each),
)
def test_an_open_incident_refuses_what_makes_no_sense(
    world: World, words: tuple[str, ...], exit_code: int, code: str
) -> None:
    opened(world, at=time.time())

    got, document = world.opsctl(*words)

    assert (exit_code, code) == (got, document["error"]["code"])


def test_an_update_that_is_late_makes_exit_1_and_every_command_says_so(world: World) -> None:
    incident = opened(world, at=time.time() - 17.5 * 60, roles={"lead": "Ann"})

    code, document = world.opsctl("status")
    _, _ = world.opsctl("list")
    said = world.stderr
    assert overdue(str(world.root / "opsctl.yaml" / "below")) != []

    assert 1 == code
    assert [("incident-update", "failed")] == [
        (each["rule"], each["status"]) for each in document["findings"]
    ]
    assert said.startswith(f"OVERDUE by 2 min: update of {incident} P1 (Payments fail): ")
    assert f"update 'How it stands' --incident {incident} --env production" in said


def test_without_an_open_incident_there_is_nothing_to_look_at(world: World) -> None:
    code, _ = world.opsctl("status")

    assert 0 == code
    assert "" == world.stderr
    assert not (world.root / ".opsctl").exists()


def test_a_post_mortem_is_due_a_day_after_and_nagged_until_it_is_finished(world: World) -> None:
    incident = opened(world, at=time.time() - 30 * 3600)
    store = IncidentStore(world.root / ".opsctl" / "state.db")
    at = round((time.time() - 25 * 3600) * 1000)
    store.add(IncidentEvent(incident, "last", "production", "resolved", at, "me", {"text": "x"}))

    late, _ = world.opsctl("status")
    world.opsctl("postmortem", "--answer", "cause=A", "--answer", "impact=B", "--action", "C; D")
    draft, document = world.opsctl("status")
    finished, _ = world.opsctl("postmortem", "--finish")
    done, _ = world.opsctl("status")

    assert (1, 1, 0, 0) == (late, draft, finished, done)
    assert ["incident-post-mortem"] == [each["rule"] for each in document["findings"]]


def test_what_somebody_wrote_into_the_post_mortem_is_not_written_over(world: World) -> None:
    incident = opened(world, at=time.time() - 60)
    world.opsctl("postmortem")
    path = world.root / "postmortems" / f"{incident}.md"
    path.write_text(path.read_text() + "My own words.\n")

    code, document = world.opsctl("postmortem")
    elsewhere, _ = world.opsctl("postmortem", "--into", "other")
    replaced, _ = world.opsctl("postmortem", "--replace")

    assert (5, "postmortem-changed", 0, 0) == (code, document["error"]["code"], elsewhere, replaced)
    assert "My own words" not in path.read_text()


def test_what_comes_from_outside_is_no_markup(world: World) -> None:
    incident = opened(world, at=time.time() - 60, title="<script>x</script> | *a* \u202e\x1b[31m")

    world.opsctl("postmortem")
    page = (world.root / "postmortems" / f"{incident}.html").read_text()
    text = (world.root / "postmortems" / f"{incident}.md").read_text()

    assert "<script" not in page
    assert "\u202e" not in page + text
    assert "\x1b" not in page + text
    assert r"\<script\>x\</script\> \| \*a\*" in text


def test_evidence_is_copied_hashed_and_read_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(world, at=time.time(), security=True, severity="P0")
    (world.root / "app.log").write_bytes(b"who was it\n" * 1000)

    class Pipe:
        buffer = io.BytesIO(b"from a pipe")

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stdin", Pipe())
    world.opsctl("evidence", "app.log", "--note", "vercel logs")
    world.opsctl("evidence", "-", "--name", "../piped log")
    well, document = world.opsctl("evidence")
    kept = [Path(each["kept"]) for each in document["data"]["evidence"]]
    modes = [(world.root / each).stat().st_mode & 0o777 for each in kept]
    (world.root / kept[1]).chmod(0o600)
    (world.root / kept[1]).write_bytes(b"something else")
    ill, changed = world.opsctl("evidence")

    assert (0, 1) == (well, ill)
    assert [0o400, 0o400] == modes
    assert ["ok", "failed"] == [each["status"] for each in changed["findings"]]
    assert "app.log" in kept[0].name
    assert "/" not in kept[1].name


def test_an_assessment_says_who_must_respond_and_changes_what_is_open(world: World) -> None:
    no = ("--no-down", "--no-data-lost", "--no-breach", "--no-major", "--minor")
    _, alone = world.opsctl("assess", *no)
    opened(world, at=time.time(), severity="P2")
    _, same = world.opsctl("assess", *no)
    code, graver = world.opsctl("assess", "--breach", "--dry-run")
    plan = graver["data"]["plan"]

    assert ("P2", ["Ann"]) == (
        alone["data"]["severity"], [each["name"] for each in alone["data"]["contacts"]]
    )  # fmt: skip
    assert "P2" == same["data"]["severity"]
    assert 0 == code
    assert "Make INC-20261126-test P0, it was P2" == plan["title"]
    # It is a security incident now, and the public is told nothing unasked.
    assert ["record", "tell", "slack-upkeep"] == [
        step["id"].partition(":")[0] for step in plan["steps"]
    ]


def test_an_escalation_calls_the_next_contact_and_mentions_them(world: World) -> None:
    opened(world, at=time.time())

    _, next_one = world.opsctl("escalate", "--reason", "No progress", "--dry-run")
    _, security = world.opsctl("escalate", "--reason", "A key", "--to", "security", "--dry-run")

    assert "Escalate INC-20261126-test to Eve +49 30 2" == next_one["data"]["plan"]["title"]
    assert "Escalate INC-20261126-test to Sam sam@example.com" == security["data"]["plan"]["title"]
    assert "statuspage" not in json.dumps(next_one["data"]["plan"]["steps"])


def test_a_resolve_that_tells_nobody_takes_the_reminders_back_all_the_same(world: World) -> None:
    world.write("slack")
    call = world.call()
    opening = work.Opening("Down", "P1", {})
    carry_out(call, work.open_incident(call, opening, work.Saying()), "one")
    reminders, said = len(world.slack.scheduled), list(world.said())
    quiet = work.Saying(notify=False)
    carry_out(call, work.resolve(call, None, "Mended", recovered=None, saying=quiet), "two")
    (root,) = (each["text"] for each in world.slack.messages if "thread_ts" not in each)

    assert (2, 0) == (reminders, len(world.slack.scheduled))
    assert said == world.said()
    assert said[0].startswith("<@U0ANN0001> *[production] P1 opened: Down*")
    assert "State: *resolved*" in root


def test_the_steps_of_a_plan_start_on_kept_settings_and_nothing_else_does(world: World) -> None:
    _, document = world.opsctl("open", "--title", "Down", "--severity", "P1", "--dry-run")
    steps = document["data"]["plan"]["steps"]
    argvs = [each["action"]["argv"] for each in steps]
    argvs += [each["check"]["action"]["argv"] for each in steps if each["check"]]

    assert 7 == len(argvs)
    assert ["opsctl", "incident"] == argvs[0][:2]
    assert all(understood(argv[1:]) for argv in argvs)
    for words in ("incident", "incident list --quiet", "incident tell --quiet",
                  "incident told slack --env a --quiet", "incident record --env a",
                  "incident tell slack --env a --incident b --format json --quiet",
                  "incident tell slack --env --incident b --quiet"):  # fmt: skip
        assert understood(words.split()) is None


def test_a_security_incident_tells_the_public_nothing_unasked(world: World) -> None:
    code, silent = world.opsctl(
        "open", "--title", "Key leaked", "--severity", "P0", "--security", "--dry-run"
    )
    _, public = world.opsctl(
        "open", "--title", "Key leaked", "--severity", "P0", "--security", "--dry-run",
        "--public", "We had to end all sessions.",
    )  # fmt: skip

    def steps(document: dict[str, Any]) -> list[str]:
        return [step["id"].rpartition(":")[0] for step in document["data"]["plan"]["steps"]]

    assert 0 == code
    assert ["", "tell:slack", ""] == steps(silent)
    assert ["", "tell:slack", "tell:statuspage", ""] == steps(public)
    _, alone = world.opsctl(
        "open", "--title", "Slow", "--severity", "P2", "--only", "statuspage", "--dry-run"
    )
    assert ["", "tell:statuspage"] == steps(alone)


def test_the_steps_of_a_security_incident_name_commands_that_exist(world: World) -> None:
    opened(world, at=time.time(), security=True, severity="P0")

    world.opsctl("log", "--step", "isolate")
    _, document = world.opsctl("show")

    timeline = [each["text"] for each in document["data"]["timeline"]]
    assert "Done: Isolate: isolate is done" in timeline
    for step in STEPS:
        words = shlex.split(step.command)
        if not words:
            continue
        room = next(room for room in ROOMS if room.name == words[1])
        rest = words[2:]
        if room.alone or (room.default and not rest):
            rest = [room.default, *rest]
        command: Any = typer.main.get_group(load_room(room))
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        known = {option for each in command.params for option in each.opts}
        assert {word for word in rest if word.startswith("--")} <= known, step.command


def test_an_event_that_was_changed_in_the_file_is_noticed(world: World) -> None:
    incident = opened(world, at=time.time())
    world.opsctl("log", "we saw it")
    with sqlite3.connect(world.root / ".opsctl" / "state.db") as connection:
        connection.execute("UPDATE incident_event SET actor = 'nobody' WHERE seq = 1")
    connection.close()

    code, document = world.opsctl("status")

    assert 1 == code
    assert [f"{incident}: the record was changed by somebody"] == [
        each["title"] for each in document["findings"] if each["rule"] == "incident-damaged"
    ]


def test_an_event_that_is_written_twice_is_kept_once(tmp_path: Path) -> None:
    store = IncidentStore(tmp_path / "state.db")
    event = IncidentEvent("I", "E", "production", "opened", 1, "me", {"title": "x"})

    assert (True, False) == (store.add(event), store.add(event))
    assert 1 == len(store.of("I"))


@pytest.mark.parametrize(
    ("severity", "due"),
    [("P0", THURSDAY + 300), ("P1", THURSDAY + 300), ("P2", THURSDAY + 4 * 3600)],
)
def test_who_must_respond_by_when(severity: str, due: float) -> None:
    assert due == clock.response_due(severity, Incidents(), since=THURSDAY)


def test_a_p2_of_friday_evening_is_seen_to_on_monday() -> None:
    friday_evening = THURSDAY + 86400 + 6 * 3600

    assert THURSDAY + 4 * 86400 + 4 * 3600 == clock.response_due(
        "P2", Incidents(), since=friday_evening
    )


def test_the_gravest_yes_decides_and_what_is_open_above_it_is_asked() -> None:
    names = [each.name for each in QUESTIONS]
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "y" if "major" in question else "n"

    answers = ask_all(dict.fromkeys(names), answer)

    assert ["P0", "P1", "P2", "P3"] == [
        assess({name: name == yes for name in names}).severity
        for yes in ("breach", "major", "minor", "none")
    ]
    assert "" == assess({"minor": True}).severity
    assert "P1" == assess(answers).severity
    assert [f"{each.text} [y/N] " for each in QUESTIONS[:4]] == asked


def test_an_incident_is_what_its_events_make_it() -> None:
    def event(kind: str, at: int, **data: Any) -> IncidentEvent:
        return IncidentEvent("I", f"{kind}{at}", "production", kind, at * 1000, "me", data)

    incident = made_of(
        [
            event("opened", 0, title="x", severity="P1"),
            event("assigned", 5, role="lead", who="Ann"),
            event("assessed", 6, severity="P0"),
            event("updated", 10, state="identified", text="found"),
            event("resolved", 20, text="over", recovered_at=15.0),
        ]
    )

    assert ("P0", "resolved", "Ann") == (incident.severity, incident.state, incident.lead)
    assert (5.0, 15.0, 20.0) == (
        incident.responded_at, incident.recovered_at, incident.resolved_at
    )  # fmt: skip
