"""Where `--output` goes to: a file is replaced whole, anything else is written to."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from opsctl.cli.screen import write_result
from opsctl.core.errors import OpsError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_text("before")

    write_result("after", output=path)

    assert path.read_text() == "after\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(path.read_text()))
    reader.start()

    write_result("result", output=path)

    reader.join(timeout=10)
    assert heard == ["result\n"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_directory_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OpsError) as caught:
        write_result("result", output=tmp_path)

    assert caught.value.code == "output-failed"
