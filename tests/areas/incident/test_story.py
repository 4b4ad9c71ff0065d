"""One P1 in the sandbox, from the first red check to the post-mortem, documents compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

EXPECTED = Path(__file__).parent / "expected"
FIXED = (
    (r"INC-\d{8}-\w{4}", "INC-ID"),
    (r"\d{8}-\d{6}-\w{4}", "RUN"),
    (r"dpl\\?_\w+", "DEPLOYMENT"),
    (r"of [0-9a-f]{7}\b", "of COMMIT"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "SECOND"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "MINUTE"),
    (r"(?<!\d)\d\d:\d\d UTC", "CLOCK"),
    (r"/incidents/\w+", "/incidents/PAGE-ID"),
    (r"\b\d+(\.\d+)? (s|ms|min)\b", "SPAN"),
    (r"#[a-z0-9]{8}", "#KEY"),
    (r"as of [a-z0-9]{8}", "as of KEY"),
    (r"\b[\w.-]+@[\w.-]+\b", "SOMEBODY"),
)


def fixed(text: str) -> str:
    """Return a text with what differs from run to run named alike."""
    for pattern, word in FIXED:
        text = re.sub(pattern, word, text)
    return text


def compare(name: str, text: str) -> None:
    """Hold a document to the one beside this file; WRITE_EXPECTED=1 writes it anew."""
    path = EXPECTED / name
    if os.environ.get("WRITE_EXPECTED") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    assert path.read_text() == text


def test_one_p1_from_open_to_post_mortem(tmp_path: Path) -> None:
    def opsctl(*words: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
        argv = [sys.executable, "-m", "opsctl", *words, "--format", "json"]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode in codes, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    env = ("--env", "sandbox")
    opsctl("sandbox", "up")
    try:
        opsctl("healthcheck", "run", *env, codes=(1,))
        opsctl(
            "incident", "open", "--title", "Invoices cannot be paid", "--major", "--no-down",
            "--no-data-lost", "--no-breach", "--system", "invoices", "--found-by", "healthcheck",
            "--lead", "Ann", "--yes", *env,
        )  # fmt: skip
        shown = opsctl("incident", "update", "x", "--dry-run", *env)["data"]
        opsctl("sandbox", "fault", "statuspage", "error-before", "--path", "/incidents", "--times",
               "1", "--method", "PATCH")  # fmt: skip
        update = ("incident", "update", "The last migration took a column away", "--state",
                  "identified", "--yes", *env)  # fmt: skip
        opsctl(*update, codes=(4,))
        told = opsctl("incident", "update", "--retry", "--yes", *env)["data"]["steps"]
        due = json.loads((tmp_path / ".opsctl/sandbox/planes/slack.json").read_text())["scheduled"]
        opsctl("rollback", "db", "--yes", *env)
        opsctl("healthcheck", "run", *env)
        opsctl("incident", "resolve", "Rolled the migration back", "--yes", *env)
        opsctl("incident", "postmortem", "--finish", *env, codes=(5,))
        opsctl("incident", "postmortem", "--answer", "cause=A migration took a column away",
               "--answer", "impact=Nobody could pay an invoice", "--action",
               "Try migrations on a copy; Ann; 2026-12-01", "--finish", *env)  # fmt: skip
        status = opsctl("incident", "status", *env)
        planes = {
            kind: json.loads((tmp_path / f".opsctl/sandbox/planes/{kind}.json").read_text())
            for kind in ("slack", "statuspage")
        }
    finally:
        opsctl("sandbox", "down")
    (document,) = (tmp_path / "postmortems").glob("*.md")

    assert "x" in json.dumps(shown)
    assert [("statuspage", "done")] == [(each["id"].split(":")[1], each["status"]) for each in told]
    assert 2 == len(due)
    assert [] == planes["slack"]["scheduled"]
    assert [] == [each for each in status["findings"] if each["status"] != "ok"]
    compare("postmortem.md", fixed(document.read_text()))
    compare("slack.txt", fixed("\n\n".join(each["text"] for each in planes["slack"]["messages"])))
    (incident,) = planes["statuspage"]["incidents"]
    page = [f"{each['status']}: {each['body']}" for each in incident["incident_updates"]]
    compare("statuspage.txt", fixed("\n".join([incident["name"], *reversed(page)])))
