"""The manual page is made from the program, and man can read it."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import typer

from opsctl.cli.manual import manual_page
from opsctl.cli.rooms import ROOMS
from opsctl.cli.root import load_room


def test_every_room_and_option_stands_in_it() -> None:
    page = manual_page()

    for room in ROOMS:
        assert f".SS {room.name}".replace("-", "\\-") in page
        for name, command in typer.main.get_group(load_room(room)).commands.items():
            if command.hidden or hasattr(command, "commands"):
                continue
            for each in command.params:
                for option in () if getattr(each, "hidden", False) else each.opts:
                    assert option.replace("-", "\\-") in page or option == each.name, name


def test_no_line_is_taken_for_a_request() -> None:
    known = (".TH", ".SH", ".SS", ".PP", ".TP", ".RS", ".RE", ".B", ".I", ".nf", ".fi")
    for line in manual_page().splitlines():
        assert not line.startswith((".", "'")) or line.split()[0] in known, line


@pytest.mark.parametrize("reader", [each for each in ("groff", "mandoc") if shutil.which(each)])
def test_readers_of_manual_pages_have_nothing_to_complain(reader: str) -> None:
    argv = {
        "groff": ["groff", "-man", "-Tutf8", "-ww"],
        "mandoc": ["mandoc", "-T", "lint", "-W", "error"],
    }
    done = subprocess.run(
        argv[reader], input=manual_page(), capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout[:2000]
    assert done.stderr == ""
    if reader == "groff":
        assert "opsctl rollback db" in re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
