"""One run per environment at a time, whatever happens to its holder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsctl.core.errors import OpsError
from opsctl.engine.lock import hold, holder_of, is_alive, unlock

RACER = """
import os, sys, time
from pathlib import Path
from opsctl.core.errors import OpsError
from opsctl.engine.lock import hold
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
held = refused = overlaps = 0
while held < rounds:
    try:
        with hold(folder, "prod", actor="a", run="r", command="c"):
            try:
                os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                overlaps += 1
            time.sleep(0.0005)
            os.unlink(folder / "inside")
            held += 1
        time.sleep(0.0002)
    except OpsError as error:
        assert error.code == "locked" and int(error.exit) == 5, error.code
        refused += 1
print(held, refused, overlaps)
"""


def test_racing_runs_never_overlap(tmp_path: Path, soak: bool) -> None:
    rounds = 500 if soak else 50
    argv = [sys.executable, "-c", RACER, str(tmp_path), str(rounds)]
    racers = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    results = [tuple(map(int, racer.communicate()[0].split())) for racer in racers]

    assert sum(held for held, _, _ in results) == 4 * rounds
    assert sum(refused for _, refused, _ in results) > 0
    assert sum(overlaps for _, _, overlaps in results) == 0


HOLDER = """
import sys, time
from pathlib import Path
from opsctl.engine.lock import hold
with hold(Path(sys.argv[1]), "prod", actor="ann@laptop", run="run-1", command="rollback db"):
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_the_refusal_says_who_since_when_and_what(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)

    with pytest.raises(OpsError) as caught, hold(tmp_path, "prod", actor="b", run="r", command="c"):
        pass

    holder.kill()
    holder.communicate()
    assert (caught.value.code, int(caught.value.exit)) == ("locked", 5)
    for part in ("ann@laptop", str(holder.pid), "rollback db", "since"):
        assert part in caught.value.why
    assert "opsctl runs resume run-1" in caught.value.hint


def test_a_killed_holder_is_taken_over_at_once(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    left = holder_of(tmp_path, "prod")
    assert left is not None
    assert not is_alive(left)
    began = time.monotonic()

    with hold(tmp_path, "prod", actor="b", run="r2", command="c") as mine:
        assert holder_of(tmp_path, "prod") == mine

    assert time.monotonic() - began < 1
    assert holder_of(tmp_path, "prod") is None


def test_a_stopped_holder_keeps_its_lock(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.send_signal(signal.SIGSTOP)

    with pytest.raises(OpsError), hold(tmp_path, "prod", actor="b", run="r", command="c"):
        pass

    left = holder_of(tmp_path, "prod")
    assert left is not None
    with pytest.raises(OpsError) as caught:
        unlock(tmp_path, "prod", left.id)
    holder.kill()
    holder.communicate()
    assert caught.value.code == "lock-held"
    assert unlock(tmp_path, "prod", left.id) == left


def test_unlocking_needs_the_locks_id(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.kill()
    holder.communicate()

    with pytest.raises(OpsError) as caught:
        unlock(tmp_path, "prod", "guess")

    assert caught.value.code == "wrong-lock"


def test_environments_do_not_lock_one_another(tmp_path: Path) -> None:
    with (
        hold(tmp_path, "a/b", actor="x", run="r", command="c"),
        hold(tmp_path, "a_b", actor="x", run="r", command="c"),
    ):
        names = sorted(path.name for path in tmp_path.iterdir())

    assert names == ["a%2fb.lock", "a_b.lock"]


def test_a_damaged_lock_file_does_not_hide_that_it_is_held(tmp_path: Path) -> None:
    with hold(tmp_path, "prod", actor="x", run="r", command="c"):
        (tmp_path / "prod.lock").write_text(json.dumps({"id": 1}))

        with (
            pytest.raises(OpsError) as caught,
            hold(tmp_path, "prod", actor="y", run="r", command="c"),
        ):
            pass

    assert caught.value.code == "locked"
    assert (tmp_path / "prod.lock").stat().st_mode & 0o777 == 0o600
