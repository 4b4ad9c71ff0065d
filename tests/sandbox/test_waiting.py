"""A process of the sandbox that comes or goes is waited for; one that does not is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from opsctl.core.errors import Exit, OpsError
from opsctl.sandbox.waiting import end


def test_nobody_is_ended_where_nobody_runs() -> None:
    assert end(lambda: None, name="It", code="gone") is False


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that can be ignored")
def test_a_process_that_will_not_go_is_not_said_to_be_gone(tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch(); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as stubborn:
        while not (tmp_path / "up").exists():
            assert stubborn.poll() is None
        with pytest.raises(OpsError) as caught:
            end(lambda: stubborn.pid, name="It", code="stuck")
        stubborn.kill()

    assert ("stuck", Exit.UNKNOWN) == (caught.value.code, caught.value.exit)
    assert str(stubborn.pid) in caught.value.hint


def test_one_that_goes_is_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        assert end(lambda: None if process.poll() is not None else process.pid,
                   name="It", code="stuck")  # fmt: skip

    assert process.poll() is not None
