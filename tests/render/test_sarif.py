"""What viewers of SARIF rely on: places, levels, fingerprints, and what was not looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Location, Report, Severity, Status
from opsctl.render.report import render_error, render_report


def run_of(*findings: Finding, **parts: Any) -> dict[str, Any]:
    document = json.loads(render_report(Report("lint", "Lint", None, findings, **parts), "sarif"))

    assert (document["version"], len(document["runs"])) == ("2.1.0", 1)
    return dict(document["runs"][0])


def hole(name: str = "public.notes", **parts: Any) -> Finding:
    return Finding("open", "Open", Status.FAILED, location=Location(object=name), **parts)


def fingerprints(*findings: Finding) -> list[str]:
    return [
        each["partialFingerprints"]["opsctlFinding/v1"] for each in run_of(*findings)["results"]
    ]


def test_an_object_of_the_database_has_a_name_and_an_address() -> None:
    """GitHub refuses a whole file for one result that lies in no file."""
    result = run_of(hole('public."Odd name"'))["results"][0]

    assert [
        {
            "logicalLocations": [{"fullyQualifiedName": 'public."Odd name"', "kind": "resource"}],
            "physicalLocation": {
                "artifactLocation": {"uri": "database/public.%22Odd%20name%22"},
                "region": {"startLine": 1},
            },
        }
    ] == result["locations"]


def test_every_result_points_at_its_rule_and_the_rule_says_why() -> None:
    found = (hole(severity=Severity.NOTE), Finding("other", "Other", Status.FAILED))
    run = run_of(*found, data={"rules": {"open": "It lets everybody in."}})
    rules = run["tool"]["driver"]["rules"]

    assert [("other", "error"), ("open", "note")] == [
        (each["ruleId"], each["level"]) for each in run["results"]
    ]
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in run["results"])
    assert {"other": "other", "open": "It lets everybody in."} == {
        each["id"]: each["help"]["text"] for each in rules
    }


def test_no_more_results_than_viewers_keep_the_gravest_first() -> None:
    """GitHub refuses a whole file of more than 25,000 results, and keeps 5,000."""
    grave = Finding("grave", "Grave", Status.FAILED)
    notes = [hole(f"t{number}", severity=Severity.NOTE) for number in range(5_004)]

    run = run_of(*notes, grave)

    assert len(run["results"]) == 5_000
    assert run["results"][0]["ruleId"] == "grave"
    assert ["5 more findings are left out: viewers take no more"] == [
        each["message"]["text"] for each in run["invocations"][0]["toolExecutionNotifications"]
    ]


def test_what_passed_is_no_result_and_what_was_not_seen_is_a_notification() -> None:
    passed = replace(hole(), status=Status.OK)
    unseen = replace(hole(), status=Status.UNKNOWN, evidence="permission denied")
    run = run_of(passed, unseen)
    invocation = run["invocations"][0]

    assert [] == run["results"]
    assert (False, 3) == (invocation["executionSuccessful"], invocation["exitCode"])
    note = invocation["toolExecutionNotifications"][0]
    assert ("error", "open") == (note["level"], note["associatedRule"]["id"])
    assert "could not look: Open\npermission denied" == note["message"]["text"]


def test_a_fingerprint_outlives_another_evidence_and_tells_objects_apart() -> None:
    one, again, other = hole(evidence="3 rows"), hole(evidence="4 rows"), hole("public.other")

    assert fingerprints(one) == fingerprints(again)
    assert 3 == len({*fingerprints(one, again), *fingerprints(other)})


def test_brackets_make_no_link() -> None:
    result = run_of(hole(evidence="[click](https://evil.example)"))["results"][0]

    assert "Open\n\\[click\\](https://evil.example)" == result["message"]["text"]


def test_an_error_is_a_run_that_did_not_succeed() -> None:
    error = OpsError("No", why="w", hint="h", code="no-database", exit=Exit.UNKNOWN)
    text = render_error(error, "sarif", command="rls-smoke lint", environment="staging")
    invocation = json.loads(text)["runs"][0]["invocations"][0]

    assert (False, 3) == (invocation["executionSuccessful"], invocation["exitCode"])
    assert ["no-database"] == [
        each["descriptor"]["id"] for each in invocation["toolExecutionNotifications"]
    ]
