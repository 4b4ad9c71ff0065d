"""Kill a run at each system call of its journal: no step is lost, none is run twice unasked.

Three kinds of proof, because each misses a mutant that another catches: kills, pairs of kills
(a crash during the recovery), and the order of writes and flushes. The mutants prove that the
proofs can fail.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "driver.py"
SOURCE = Path(__file__).parent.parent.parent / "src"
CALLS = ("openat", "pwrite64", "fdatasync", "fsync", "ftruncate", "unlink")
STEPS = ["one", "two", "blind", "four", "five"]

Kill = tuple[str, int]
"""A system call, and which one of its calls on the journal's files."""


class Lost(AssertionError):
    """A step was lost, run twice, or its intent was not on disk in time."""


def strace() -> str:
    path = shutil.which("strace")
    assert path, "the kill tests need strace (Debian and Ubuntu: apt install strace)"
    return path


def drive(
    folder: Path, verb: str, *, source: Path = SOURCE, prefix: tuple[str, ...] = (), more: str = ""
) -> int:
    """Run the driver and return its exit code, negative if it was killed."""
    env = {**os.environ, "PYTHONPATH": str(source)}
    argv = [*prefix, sys.executable, str(DRIVER), str(folder), verb, *more.split()]
    return subprocess.run(argv, env=env, capture_output=True, check=False).returncode


def traced(folder: Path, *options: str) -> tuple[str, ...]:
    """Return an strace prefix that sees the journal's files alone."""
    paths = [folder / "state" / f"state.db{tail}" for tail in ("", "-wal", "-journal")]
    where = [word for path in paths for word in ("-P", str(path))]
    return (strace(), "-f", "-qq", "-o", str(folder / "trace"), *where, *options)


def kill_points(folder: Path, *, source: Path = SOURCE) -> list[Kill]:
    """Run once to the end and return every call on the journal's files."""
    folder.mkdir()
    code = drive(folder, "start", source=source,
                 prefix=traced(folder, "-e", f"trace={','.join(CALLS)}"))  # fmt: skip
    assert code == 0
    counts: dict[str, int] = {}
    for line in (folder / "trace").read_text().splitlines():
        match = re.match(r"\d+ +(\w+)\(", line)
        if match and match.group(1) in CALLS:
            counts[match.group(1)] = counts.get(match.group(1), 0) + 1
    return [(call, number) for call in CALLS for number in range(1, counts.get(call, 0) + 1)]


def survive(folder: Path, kills: list[Kill], *, source: Path = SOURCE) -> int:
    """Start, be killed, resume, be killed, ..., and finish; return how often it was killed.

    Raises Lost where a step's effect is missing or stands twice.
    """
    folder.mkdir()
    killed = 0
    for call, number in kills:
        options = ("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
        code = drive(folder, "start", source=source, prefix=traced(folder, *options))
        killed += code not in (0, 4)
        if code == 4:
            drive(folder, "resolve", source=source)
    for _ in range(3):
        code = drive(folder, "resume", source=source)
        if code != 4:
            break
        drive(folder, "resolve", source=source)
    effects = folder / "effects"
    found = effects.read_text().split() if effects.exists() else []
    if found != STEPS or code != 0:
        raise Lost(f"{kills}: exit {code}, effects {found}")
    shutil.rmtree(folder)
    return killed


def intents_on_disk(folder: Path, *, source: Path = SOURCE) -> int:
    """Return how many effects were preceded by an intent that was written and flushed.

    Raises Lost at the first effect that came before its intent was on disk.
    """
    folder.mkdir()
    trace = folder / "trace"
    prefix = (strace(), "-f", "-qq", "-y", "-s", "8192", "-o", str(trace),
              "-e", "trace=pwrite64,fdatasync,fsync,execve")  # fmt: skip
    assert drive(folder, "start", source=source, prefix=prefix) == 0
    unflushed = False
    intent = False
    good = 0
    for line in trace.read_text(errors="replace").splitlines():
        if "state.db-wal>" in line and "pwrite64(" in line:
            unflushed = True
            intent = intent or "started" in line
        elif "state.db-wal>" in line and ("fdatasync(" in line or "fsync(" in line):
            unflushed = False
        elif "execve(" in line and "echo " in line:
            if unflushed or not intent:
                raise Lost(f"an effect came before its intent was on disk: {line[:120]}")
            good += 1
            intent = False
    return good


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> list[Kill]:
    return kill_points(tmp_path_factory.mktemp("points") / "run")


def folders(tmp_path: Path) -> Iterator[Path]:
    number = 0
    while True:
        number += 1
        yield tmp_path / f"run{number}"


def test_a_kill_at_each_journal_call_loses_nothing_and_runs_nothing_twice(
    tmp_path: Path, points: list[Kill], soak: bool
) -> None:
    chosen = points if soak else points[:: max(len(points) // 10, 1)]
    folder = folders(tmp_path)

    killed = sum(survive(next(folder), [point]) for point in chosen)

    print(f"\n{killed} kills at {len(chosen)} of {len(points)} journal calls: 0 lost, 0 twice")
    assert len(points) >= 60
    assert killed == len(chosen)


def test_a_kill_during_the_recovery_loses_nothing(
    tmp_path: Path, points: list[Kill], soak: bool
) -> None:
    chance = random.Random(7)
    pairs = [[chance.choice(points), chance.choice(points)] for _ in range(400 if soak else 6)]
    folder = folders(tmp_path)

    killed = sum(survive(next(folder), pair) for pair in pairs)

    print(f"\n{killed} kills in {len(pairs)} pairs: 0 lost, 0 twice")
    assert killed >= len(pairs)


def test_each_intent_is_on_disk_before_its_effect(tmp_path: Path) -> None:
    assert intents_on_disk(tmp_path / "run") == len(STEPS)


def test_a_step_that_only_claims_to_have_worked_is_not_done(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    assert drive(folder, "start", more="liar") == 4


MUTANTS = {
    "no intent": ("run.py", 'self._write(run, "started", step=step.id, data={})', "pass"),
    "no verify": ("run.py", 'if word != "applied":\n                text',
                  'if word == "never":\n                text'),
    "inverted verify": ("run.py", 'if word != "applied":\n                text',
                        'if word == "applied":\n                text'),
    "uncommitted intent": ("store.py", 'self._writing.execute("COMMIT")',
                           'self._writing.execute("COMMIT" if kind != "started" else "SELECT 1")'),
    "done before effect": ("run.py", "            answer = perform(",
                           '            self._write(run, "done", step=step.id, data={})\n'
                           "            answer = perform("),
    "synchronous=NORMAL": ("../core/sqlite.py", "synchronous = FULL", "synchronous = NORMAL"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_of_the_engine_is_caught(tmp_path: Path, points: list[Kill], name: str) -> None:
    file, before, after = MUTANTS[name]
    source = tmp_path / "src"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    path = source / "opsctl" / "engine" / file
    text = path.read_text()
    assert before in text, "the mutant no longer applies: mend it"
    text = text.replace(before, after)
    if name == "uncommitted intent":
        text = text.replace(
            'self._writing.execute("BEGIN IMMEDIATE")',
            'self._writing.in_transaction or self._writing.execute("BEGIN IMMEDIATE")',
        )
    path.write_text(text)

    assert caught(tmp_path, points, source), f"the mutant {name!r} was not caught"


def caught(tmp_path: Path, points: list[Kill], source: Path) -> bool:
    """Whether one of the proofs fails on a source tree."""
    liar = tmp_path / "liar"
    liar.mkdir()
    if drive(liar, "start", source=source, more="liar") != 4:
        return True
    try:
        intents_on_disk(tmp_path / "order", source=source)
        folder = folders(tmp_path)
        # The flushes first: they are fewer, and one of them ends each event.
        writes = [point for call in ("fdatasync", "pwrite64") for point in points
                  if point[0] == call]  # fmt: skip
        for point in writes:
            survive(next(folder), [point], source=source)
    except AssertionError:
        return True
    return False
