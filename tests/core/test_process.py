"""Whether a process lives: asked of the system, and not believed of a number that cannot be one."""

from __future__ import annotations

import os
import subprocess
import sys

from opsctl.core.process import alive


def test_a_process_lives_until_it_was_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])

    assert alive(child.pid)
    child.wait()
    assert not alive(child.pid)
    assert alive(os.getpid())
    assert alive(1)  # another user's, mostly
    assert not any(map(alive, (0, -1, 2**40)))
