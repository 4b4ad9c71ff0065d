"""A look that could not look says so, and one that tells is quoted."""

from __future__ import annotations

import json
import sys

import pytest

from opsctl.core.action import Command, Expect, Probe, probe_from_json, probe_to_json
from opsctl.engine.perform import ask


def look(code: int, *, tells: bool = False) -> Probe:
    program = f"print('first'); print('the last line'); raise SystemExit({code})"
    return Probe(
        Command((sys.executable, "-c", program)), Expect(exit_code=0, unsure=(3,)), tells=tells
    )


@pytest.mark.parametrize(
    ("code", "tells", "expected"),
    [
        (0, False, ("applied", "")),
        (0, True, ("applied", "the last line")),
        (1, False, ("absent", "exit code 1 instead of 0: the last line")),
        (1, True, ("absent", "the last line")),
        (3, False, ("unknown", "first; the last line")),
        (3, True, ("unknown", "first; the last line")),
    ],
)
def test_what_could_not_look_is_not_absent(
    code: int, tells: bool, expected: tuple[str, str]
) -> None:
    assert expected == ask(look(code, tells=tells))


def test_a_probe_survives_the_journal_and_an_older_one_reads_as_it_was() -> None:
    probe = look(3, tells=True)
    plain = Probe(Command(("true",)), Expect(exit_code=0))

    assert probe == probe_from_json(json.loads(json.dumps(probe_to_json(probe))))
    assert plain == probe_from_json(json.loads(json.dumps(probe_to_json(plain))))
    assert "tells" not in probe_to_json(plain)
    assert "unsure" not in probe_to_json(plain)["expect"]
