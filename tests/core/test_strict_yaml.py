"""The YAML loader: plain data or one error with a place; nothing clever, nothing surprising."""

from __future__ import annotations

import subprocess
import sys

import pytest

from opsctl.core.errors import OpsError
from opsctl.core.strict_yaml import load_yaml, scalar, shown_key


def error_of(text: bytes | str) -> OpsError:
    with pytest.raises(OpsError) as caught:
        load_yaml(text, source="f.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("12", 12), ("-3", -3), ("+3", 3), ("0", 0), ("1.5", 1.5), ("-0.25", -0.25),
    ],
)  # fmt: skip
def test_few_words_are_other_than_text(text: str, value: object) -> None:
    assert (scalar(text), type(scalar(text))) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    ["yes", "no", "NO", "on", "off", "y", "n", "True", "TRUE", "Null", "NULL", ".inf", "-.INF",
     ".nan", "nan", "inf", "1e3", "1E400", "1_000", "0o17", "017", "0x1F", "0b1", "1:30", "1.",
     ".5", "2026-01-01", "2026-01-01T00:00:00Z", "=", "<<", "9" * 19, "9" * 5_000, "١٢"],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_all_else_is_text(text: str) -> None:
    data, _ = load_yaml(f"a: {text}", source="f.yaml")

    assert data == {"a": text}


def test_quotes_and_tags_make_text_and_only_fitting_tags_pass() -> None:
    data, _ = load_yaml(
        "a: '1'\nb: \"true\"\nc: !!str 1\nd: !!int 5\ne: !!bool true\nf: !!null ~\ng: ! 7",
        source="f.yaml",
    )

    assert data == {"a": "1", "b": "true", "c": "1", "d": 5, "e": True, "f": None, "g": "7"}


def test_keys_are_text_whatever_they_look_like() -> None:
    data, _ = load_yaml("NO: 1\n1: 2\nnull: 3\ntrue: 4\n<<: {a: 5}", source="f.yaml")

    assert data == {"NO": 1, "1": 2, "null": 3, "true": 4, "<<": {"a": 5}}


def test_lines_are_those_of_the_keys() -> None:
    _, lines = load_yaml("a:\n  b:\n    1\n  c:\n  - x\n  - y: 2\n", source="f.yaml")

    assert lines == {
        (): 1, ("a",): 1, ("a", "b"): 2, ("a", "c"): 4, ("a", "c", 0): 5, ("a", "c", 1): 6,
        ("a", "c", 1, "y"): 6,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b"a: 1\nb: \xe9", "yaml-encoding", "f.yaml:2:4"),
        ("a: 1".encode("utf-16"), "yaml-encoding", "f.yaml:1:1"),
        (b"a: x\0y", "yaml-control", "f.yaml:1:5"),
        (b"a: 1\n\nb: \x1b[31m", "yaml-control", "f.yaml:3:4"),
        (b"a: 1\rb: 2", "yaml-control", "f.yaml:1:5"),
        (b'a: "x\\0"', "yaml-control", "f.yaml:1:4"),
        ("a: \u0085", "yaml-control", "f.yaml:1:4"),
        ("a: \ud800", "yaml-control", "f.yaml:1:4"),
        ("a: \uffff", "yaml-syntax", "f.yaml:1:4"),
        ("a:\n\tb: 1", "yaml-syntax", "f.yaml:2:1"),
        ("a: [1", "yaml-syntax", "f.yaml:2:1"),
        ("a: 1\nb: {x: 1, x: 2}", "yaml-duplicate-key", "f.yaml:2:11"),
        ("a: &b 1", "yaml-alias", "f.yaml:1:4"),
        ("a: *b", "yaml-alias", "f.yaml:1:4"),
        ("a: !!python/name:os.system x", "yaml-tag", "f.yaml:1:4"),
        ("a: !!int x", "yaml-tag", "f.yaml:1:4"),
        ("a: !!map x", "yaml-tag", "f.yaml:1:4"),
        ("a: !!set {x}", "yaml-tag", "f.yaml:1:4"),
        ("? [a]\n: 1", "yaml-key", "f.yaml:1:3"),
        ("'': 1", "yaml-key", "f.yaml:1:1"),
        ("a: 1\n---\nb: 2", "yaml-documents", "f.yaml:2:1"),
        ("[" * 65, "yaml-too-deep", "f.yaml:1:65"),
        ("a: [" + "1," * 50_000 + "]", "yaml-too-large", "f.yaml:1:"),
        ("#" * (1024 * 1024 + 1), "yaml-too-large", "f.yaml"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_an_error_has_a_place_and_a_hint(text: bytes | str, code: str, place: str) -> None:
    error = error_of(text)

    assert (error.code, int(error.exit)) == (code, 2)
    assert place in error.what
    assert "\n" not in error.what + error.why + error.hint
    assert error.why
    assert error.hint


def test_a_mark_at_the_start_and_windows_line_ends_are_well() -> None:
    data, lines = load_yaml(b"\xef\xbb\xbfa: 1\r\nb: x\r\n", source="f.yaml")

    assert data == {"a": 1, "b": "x"}
    assert lines[("b",)] == 2


def test_sixty_four_levels_are_well() -> None:
    data, _ = load_yaml("[" * 64 + "]" * 64, source="f.yaml")

    for _level in range(63):
        (data,) = data
    assert data == []


@pytest.mark.parametrize("token", ["[", "{a: ", "- ", "{? ", "[{a: "])
def test_a_hundred_thousand_levels_do_not_end_the_process(token: str) -> None:
    """In a process of its own: composing such a document ends it with a signal."""
    code = (
        "import sys\n"
        "from opsctl.core.errors import OpsError\n"
        "from opsctl.core.strict_yaml import load_yaml\n"
        "try:\n    load_yaml(sys.argv[1] * 100_000, source='f')\n"
        "except OpsError as error:\n    print(error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, token], capture_output=True, text=True, check=False
    )

    # Two levels a token, or a key that is a mapping, or more bytes than a file may have.
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("yaml-too-deep", "yaml-key", "yaml-too-large")


def test_a_key_that_may_be_a_secret_is_not_shown() -> None:
    token = "".join(["sk", "live", "4242", "8080"])

    assert shown_key("lock_timeout_s") == "lock_timeout_s"
    assert shown_key("eu2-prod") == "eu2-prod"
    assert shown_key(3) == "3"
    assert token not in shown_key(token)
    assert "pw" not in shown_key("postgresql://u:pw@host/db")
    assert token not in error_of(f"{token}: 1\n{token}: 2").what
