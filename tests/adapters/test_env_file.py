"""One variable of a .env file is read and written; every other line stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.adapters.env_file import read_variable, write_variable
from opsctl.core.errors import OpsError

BEFORE = "# local\nexport A='old' # why\nB=\"two words\"\r\n\nURL=postgres://u@h/d#x\nA_B=1\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / ".env.local"
    path.write_bytes(BEFORE.encode())
    path.chmod(0o640)
    return path


def test_values_are_read_as_programs_read_them(path: Path) -> None:
    found = {name: read_variable(path, name) for name in ("A", "B", "URL", "A_B", "C")}

    assert {
        "A": "old",
        "B": "two words",
        "URL": "postgres://u@h/d#x",
        "A_B": "1",
        "C": None,
    } == found


def test_one_line_is_replaced_and_the_file_keeps_its_mode(path: Path) -> None:
    write_variable(path, "A", "new")

    assert BEFORE.replace("'old' # why", "new").encode() == path.read_bytes()
    assert 0o640 == path.stat().st_mode & 0o777
    assert [path] == list(path.parent.iterdir())


def test_a_variable_is_added_and_taken_away(path: Path) -> None:
    write_variable(path, "C", "a b$c")
    assert "a b$c" == read_variable(path, "C")

    write_variable(path, "C", None)

    assert BEFORE.encode() == path.read_bytes()


def test_a_new_file_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"

    write_variable(path, "A", "1")

    assert 0o600 == path.stat().st_mode & 0o777


def test_a_link_stays_one(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)

    write_variable(link, "A", "new")

    assert link.is_symlink()
    assert "new" == read_variable(path, "A")


def test_what_programs_would_read_in_different_ways_is_refused(path: Path) -> None:
    with pytest.raises(OpsError) as caught:
        write_variable(path, "A", "it's\nhere")

    assert "env-file" == caught.value.code
    assert BEFORE.encode() == path.read_bytes()
