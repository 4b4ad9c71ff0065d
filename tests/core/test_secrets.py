"""Secrets by reference: each kind is read, and a failure names the reference and no value."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from opsctl.core.errors import OpsError
from opsctl.core.secrets import resolve_secret, without_secrets

SECRET = "-".join(["canary", "5561"])


def error_of(reference: str) -> OpsError:
    with pytest.raises(OpsError) as caught:
        resolve_secret(reference)
    return caught.value


def command(code: str) -> str:
    return "cmd:" + shlex.join([sys.executable, "-c", code])


def test_each_kind_is_read_without_its_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    monkeypatch.setenv("A_SECRET", SECRET)

    assert resolve_secret("env:A_SECRET") == SECRET
    assert resolve_secret(f"file:{path}") == SECRET
    assert resolve_secret("cmd:printenv A_SECRET") == SECRET
    assert resolve_secret(command("import os; print(os.environ['A_SECRET'])")) == SECRET


def test_a_command_is_not_run_by_a_shell(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    assert resolve_secret(f"cmd:echo a; touch {trace}") == f"a; touch {trace}"
    assert not trace.exists()


def test_an_authorization_header_is_made_and_its_token_scrubbed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_SECRET", SECRET)

    header = resolve_secret("bearer:env:A_SECRET")

    assert f"Bearer {SECRET}" == header
    assert "I got ***, that is ***" == without_secrets(
        f"I got {header}, that is {SECRET}", [header]
    )


def test_the_password_of_a_url_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_URL", "postgresql://me:a%2Fb%40c@host/db")

    assert resolve_secret("url-password:env:A_URL") == "a/b@c"


@pytest.mark.parametrize(
    "reference",
    [
        "env:NOT_SET_ANYWHERE", "file:/nowhere/at/all", "file:/", "file:/dev/null",
        "cmd:false", "cmd:true", "cmd:'", "cmd:  ", "cmd:no-such-program-anywhere",
    ],
)  # fmt: skip
def test_a_secret_that_cannot_be_read_is_unknown_not_wrong(reference: str) -> None:
    error = error_of(reference)

    assert int(error.exit) == 3
    assert error.hint


def test_what_a_failing_command_printed_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_text(f"import sys; print({SECRET!r}); print({SECRET!r}, file=sys.stderr); exit(1)")
    error = error_of("cmd:" + shlex.join([sys.executable, str(path)]))

    assert error.code == "secret-missing"
    assert SECRET not in f"{error.what} {error.why} {error.hint}"


def test_a_file_that_is_not_text_is_said_without_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(SECRET.encode() + b"\xff")
    error = error_of(f"file:{path}")

    assert "UTF-8" in error.why
    assert SECRET not in f"{error.what} {error.why} {error.hint}"


def test_a_value_in_the_place_of_a_reference_is_not_repeated() -> None:
    error = error_of(f"postgresql://u:{SECRET}@host/db")

    assert error.code == "secret-not-a-reference"
    assert SECRET not in f"{error.what} {error.why} {error.hint}"
