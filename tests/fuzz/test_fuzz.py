"""Every parser of text from outside takes anything: its own errors alone, in bounded time and room.

A sample, always the same, here; with OPSCTL_SOAK=1 each target for a minute, never the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fuzz.runner import CORPUS
from fuzz.targets import TARGETS

_SOAK = os.environ.get("OPSCTL_SOAK") == "1"
_SAMPLE = ("--count", "25")
_LONG = ("--seconds", "60", "--seed", str(time.time_ns()))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What came of feeding every target, in a process whose memory and time are bounded."""
    keep = tmp_path_factory.mktemp("kept")
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.runner", "--keep", str(keep), *(_LONG if _SOAK else _SAMPLE)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60 * 60 * 2,
        env={**os.environ, "XDG_CACHE_HOME": str(keep)},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    # A process that died is as bad as an error, and its last words say of what.
    assert done.returncode in (0, 1), done.stderr[-4000:]
    return {each["target"]: each for each in lines}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_parser_raises_what_it_documents_and_no_more(name: str, found: Mapping[str, Any]) -> None:
    result = found[name]

    assert result["ran"] >= result["corpus"] > 0
    assert [] == [f"{each['problem']}\ninput: {each['input'][:400]}" for each in result["problems"]]


def test_every_corpus_belongs_to_a_target() -> None:
    assert sorted(TARGETS) == sorted(folder.name for folder in CORPUS.iterdir())


def test_what_is_wrong_with_a_parser_is_found() -> None:
    """An error that is not documented, a loop without an end, and all the memory there is."""
    code = (
        "from fuzz import runner, targets\n"
        "runner.MOST_CPU_S = 0.2\n"
        "runner._bound()\n"
        "def endless(data):\n    while True: pass\n"
        "calls = (lambda data: data[1 << 20], endless, lambda data: bytearray(1 << 40))\n"
        "for call in calls:\n"
        "    target = targets.Target('x', call, (ValueError,))\n"
        "    print(runner.feed(target, b'')[1].strip().splitlines()[-1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ["IndexError", "TooSlow", "MemoryError"] == [
        line.partition(":")[0] for line in done.stdout.splitlines()
    ]
