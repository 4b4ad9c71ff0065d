"""Every parser of text from outside takes anything: its own errors alone, in bounded time and room.

A sample, always the same, here; with OPSCTL_SOAK=1 each target for 20 s, never the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from fuzz.runner import CORPUS
from fuzz.targets import TARGETS

_SOAK = os.environ.get("OPSCTL_SOAK") == "1"
_SAMPLE = ("--count", "25")
_LONG = ("--seconds", "20", "--seed", str(time.time_ns()))


def test_a_parser_raises_what_it_documents_and_no_more(tmp_path: Path) -> None:
    """All of them in one process, and in one test: it is to run once, however many workers."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.runner", *(_LONG if _SOAK else _SAMPLE)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )
    # A process that died is as bad as an error, and its last words say of what.
    assert done.returncode in (0, 1), done.stderr[-4000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [
        f"{each['target']}: {problem['problem']}\ninput: {problem['input'][:400]}"
        for each in found
        for problem in each["problems"]
    ]

    assert "" == "\n".join(wrong)
    assert sorted(TARGETS) == [each["target"] for each in found if each["ran"] > each["corpus"] > 0]


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
