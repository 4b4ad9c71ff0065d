"""Reviews: due by when they were done last, overdue ones exit 1, and nothing without evidence."""

from __future__ import annotations

import hashlib
import time

import pytest

from opsctl.areas.maintenance.checks import ReviewDone, judge_reviews
from opsctl.core.maintenance import Review

from .conftest import World

DAY = 86400.0
NOW = 1_800_000_000.0
MONTHLY = Review(name="runbooks", every_days=30.0, about="Read one.")


@pytest.mark.parametrize(
    ("days_ago", "status", "severity", "title"),
    [
        (1.0, "ok", "error", "runbooks is due 2027-02-13 08:00 UTC"),
        (26.9, "ok", "error", "runbooks is due 2027-01-18 10:24 UTC"),
        (27.1, "failed", "warning", "runbooks is due 2027-01-18 05:36 UTC"),
        (30.0, "failed", "error", "runbooks is overdue by 0 days"),
        (42.0, "failed", "error", "runbooks is overdue by 12 days"),
    ],
)
def test_a_review_is_due_so_long_after_the_last(
    days_ago: float, status: str, severity: str, title: str
) -> None:
    done = [ReviewDone("runbooks", NOW - days_ago * DAY, "me", ("x",)),
            ReviewDone("runbooks", NOW - 300 * DAY, "me", ("x",)),
            ReviewDone("other", NOW, "me", ("x",))]  # fmt: skip
    (finding,) = judge_reviews([MONTHLY], done, now=NOW)

    assert (finding.status.value, finding.severity.value, finding.title) == (
        status, severity, title,
    )  # fmt: skip


def test_without_settings_there_are_the_three_of_the_runbook_and_none_was_done(
    world: World,
) -> None:
    code, document = world.opsctl("review", "list")

    assert code == 1
    assert [(each["name"], each["every_days"]) for each in document["data"]["reviews"]] == [
        ("runbooks", 31.0), ("procedures", 92.0), ("disaster-recovery", 366.0),
    ]  # fmt: skip
    assert [each["title"] for each in document["findings"]] == [
        "runbooks was never done", "procedures was never done", "disaster-recovery was never done",
    ]  # fmt: skip


def test_all_done_is_well_and_the_evidence_is_kept(world: World) -> None:
    file = world.root / "drill.json"
    file.write_bytes(b"{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    world.opsctl("review", "done", "runbooks", "--evidence", "https://example.com/42")
    world.opsctl("review", "done", "procedures", "--evidence", "Ann was there", "--at", "3d")
    code, document = world.opsctl("review", "done", "disaster-recovery", "--evidence", "drill.json",
                                  "--evidence", "20260101-000000-aaaa")  # fmt: skip
    listed, reviews = world.opsctl("review", "list")
    done = {each["name"]: each for each in reviews["data"]["done"]}

    assert code == 0
    assert document["data"]["evidence"] == [
        f"drill.json (SHA-256 {digest})", "20260101-000000-aaaa",
    ]  # fmt: skip
    assert (listed, reviews["status"]) == (0, "ok")
    assert abs(done["procedures"]["at"] - (time.time() - 3 * DAY)) < 60
    assert done["runbooks"]["evidence"] == ["https://example.com/42"]


def test_one_that_was_done_longer_ago_and_is_said_later_does_not_count(world: World) -> None:
    world.write(maintenance={"reviews": [{"name": "runbooks", "every_days": 10.0, "about": "x"}]})
    world.opsctl("review", "done", "runbooks", "--evidence", "x", "--at", "2d")
    world.opsctl("review", "done", "runbooks", "--evidence", "y", "--at", "20d")

    assert world.opsctl("review", "list")[0] == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("coffee", "--evidence", "x"), "no-such-review"),
        (("runbooks", "--evidence", "  "), "bad-review"),
        (("runbooks", "--evidence", "x", "--at", "2999-01-01"), "bad-review"),
        (("runbooks", "--evidence", "x", "--at", "soon"), "not-a-time"),
    ],
    ids=str,
)
def test_what_is_no_review_is_not_kept(world: World, words: tuple[str, ...], code: str) -> None:
    exit_code, document = world.opsctl("review", "done", *words)

    assert (exit_code, document["error"]["code"]) == (2, code)
    assert world.opsctl("review", "list")[1]["data"]["done"] == []
