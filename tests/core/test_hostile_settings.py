"""Crafted and mutated settings: each loads or gives one clear error, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from opsctl.core.errors import OpsError
from opsctl.core.sources import load_settings

EXAMPLE = Path(__file__).parent.parent.parent / "config" / "opsctl.example.yaml"
SEEDS = 8
TOKENS = (
    b"&a ", b"*a", b"!!python/none ", b"{", b"}", b"[", b"]", b": ", b"? ", b"- ", b"|\n", b">\n",
    b"%YAML 1.2\n", b"---\n", b"...\n", b"\t", b"\x00", b"\xff", b"\xef\xbb\xbf", b"<<: *a\n",
    b"1e999", b".nan", b"0x1F", b"~", b"'", b'"', b"#", b"\r", b"\xe2\x80\xae", b"9" * 400,
    b"[" * 70, b"{a: " * 70, b"!<tag:yaml.org,2002:str> ", b"\x1b[31m", b"=", b"!!binary x",
)  # fmt: skip
VALUES = (
    b"true", b"12", b"-0.5", b"null", b"[]", b"{}", b"[1, {a: b}]", b"{a: [b]}", b"'true'",
    b"NO", b"1:30", b".inf", b"env:X", b"file:", b"https://x", b"https://u@x", b"!!int 1", b"|",
)  # fmt: skip

CRAFTED: dict[str, tuple[bytes, str]] = {
    "nul": (b"state: a\0b", "yaml-control"),
    "escaped nul": (b'state: "a\\0b"', "yaml-control"),
    "escape sequence": (b"state: \x1b]52;c;aGk=\x07", "yaml-control"),
    "escaped escape sequence": (b'state: "\\e[2J"', "yaml-control"),
    "utf-16": ("state: a".encode("utf-16"), "yaml-encoding"),
    "latin-1": (b"state: caf\xe9", "yaml-encoding"),
    "overlong utf-8": (b"state: \xc0\xaf", "yaml-encoding"),
    "escaped surrogate": (b'state: "\\ud800"', "yaml-syntax"),
    "old line ends": (b"state: a\rversion: 1", "yaml-control"),
    "deep lists": (b"[" * 100_000, "yaml-too-deep"),
    "deep mappings": (b"{a: " * 100_000, "yaml-too-deep"),
    "deep block lists": (b"- " * 100_000, "yaml-too-deep"),
    "deep keys": (b"? " * 100_000, "yaml-key"),
    "too many bytes": (b"#" * (1024 * 1024 + 1), "yaml-too-large"),
    "too many values": (b"a: [" + b"1," * 60_000 + b"]", "yaml-too-large"),
    "too many unknown keys": (b"".join(b"k%d: 1\n" % n for n in range(5_000)), "settings-invalid"),
    "alias bomb": (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "yaml-alias"),
    "alias to itself": (b"a: &a [*a]", "yaml-alias"),
    "merge key": (b"<<: {state: a}", "settings-invalid"),
    "python object": (b"state: !!python/object/apply:os.system [id]", "yaml-tag"),
    "binary": (b"state: !!binary aGk=", "yaml-tag"),
    "timestamp": (b"state: !!timestamp 2001-01-01", "yaml-tag"),
    "tag of another kind": (b"version: !!int x", "yaml-tag"),
    "tag by directive": (b"%TAG ! tag:x,2000:\n---\nstate: !y a", "yaml-tag"),
    "unknown directive": (b"%HELLO 1\n---\nstate: a", "yaml-syntax"),
    "another YAML": (b"%YAML 2.9\n---\nstate: a", "yaml-syntax"),
    "key twice": (b"state: a\nstate: b", "yaml-duplicate-key"),
    "environment twice": (b"environments:\n  a: {}\n  'a': {}", "yaml-duplicate-key"),
    "key that is a list": (b"[a]: 1", "yaml-key"),
    "key that is empty": (b"'': 1", "yaml-key"),
    "two documents": (b"version: 1\n---\nversion: 1", "yaml-documents"),
    "tab": (b"environments:\n\tp: {}", "yaml-syntax"),
    "open quote": (b"state: 'a", "yaml-syntax"),
    "a list": (b"- a", "settings-invalid"),
    "a word": (b"hello", "settings-invalid"),
    "a number": (b"5", "settings-invalid"),
    "no environments": (b"environments:", "settings-invalid"),
    "infinity": (b"environments: {p: {limits: {response_ms: .inf}}}", "settings-invalid"),
    "not a number": (b"environments: {p: {limits: {response_ms: .nan}}}", "settings-invalid"),
    "overflow": (b"environments: {p: {limits: {response_ms: 1e999}}}", "settings-invalid"),
    "five thousand digits": (b"version: " + b"9" * 5_000, "settings-invalid"),
    "base sixty": (b"environments: {p: {limits: {response_ms: 1:30}}}", "settings-invalid"),
    "yes": (b"environments: {p: {protected: yes}}", "settings-invalid"),
    "text for a number": (b"version: '1'", "settings-invalid"),
    "path for a name": (b"environments: {../../etc: {}}", "settings-invalid"),
    "writing backwards": ("environments: {\u202ep: {}}".encode(), "settings-invalid"),
    "other schemes": (b"environments: {p: {health: [{name: a, url: 'file:///etc'}]}}",
                      "settings-invalid"),
    "state elsewhere": (b"state: https://h/d", "settings-invalid"),
    "reference to nothing": (b"environments: {p: {database: {url: 'env:'}}}", "settings-invalid"),
    "variable that is none": (b"environments: {p: {database: {url: 'env:A B'}}}",
                              "settings-invalid"),
    "default elsewhere": (b"default_environment: p", "settings-invalid"),
}  # fmt: skip


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return data with one to four small changes."""
    for _ in range(chance.randint(1, 4)):
        lines = data.split(b"\n")
        place = chance.randrange(len(data) + 1)
        line = chance.randrange(len(lines))
        kind = chance.randrange(9)
        if kind == 0 and data:
            place = min(place, len(data) - 1)
            data = data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
        elif kind == 1:
            data = data[:place] + chance.choice(TOKENS) + data[place:]
        elif kind == 2:
            data = b"\n".join([*lines[:line], lines[line], *lines[line:]])
        elif kind == 3:
            data = b"\n".join([*lines[:line], *lines[line + 1 :]])
        elif kind == 4:
            data = b"\n".join([*lines[:line], b" " + lines[line], *lines[line + 1 :]])
        elif kind == 5:
            data = data[:place]
        elif kind == 6:
            other = chance.randrange(len(lines))
            lines[line], lines[other] = lines[other], lines[line]
            data = b"\n".join(lines)
        else:
            key, colon, _ = lines[line].partition(b": ")
            lines[line] = key + colon + chance.choice(VALUES if kind == 7 else TOKENS)
            data = b"\n".join(lines)
    return data


def error_of(path: Path) -> OpsError | None:
    """Return the error that loading gives, if any; whatever else is raised gets out."""
    try:
        load_settings(config=str(path), start=path.parent, environ={})
    except OpsError as error:
        return error
    return None


def bare_example() -> bytes:
    """Return the example without its comments, so that every mutation meets something."""
    lines = EXAMPLE.read_bytes().split(b"\n")
    return b"\n".join(line for line in lines if not line.strip().startswith(b"#"))


def assert_clear(error: OpsError) -> None:
    """Assert that an error is one line with why, hint and code, and exits with 2."""
    assert int(error.exit) == 2
    assert all((error.what, error.why, error.hint, error.code))
    assert "\n" not in error.what + error.hint
    assert len(error.why.splitlines()) <= 21


def secrets() -> list[str]:
    """Return values that look like secrets, put together here so that no scanner finds them."""
    word = "".join(["canary", "7391", "X"])
    return [
        f"postgresql://app:{word}@db.example.com:5432/app",
        "_".join(["sk", "live", word, "0042"]),
        ".".join(["eyJ" + word, word, word]),
        f"{word} with spaces",
    ]


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_settings_give_one_clear_error(tmp_path: Path, name: str) -> None:
    data, code = CRAFTED[name]
    path = tmp_path / "opsctl.yaml"
    path.write_bytes(data)

    error = error_of(path)

    assert error is not None
    assert error.code == code
    assert str(path) in error.what + error.why
    assert_clear(error)


def test_a_secret_in_any_wrong_place_is_never_repeated(tmp_path: Path, soak: bool) -> None:
    """Each line of the example gets a secret as value, as key, as tag, in a list, and more.

    Without OPSCTL_SOAK each line gets one of the four, by turns.
    """
    path = tmp_path / "opsctl.yaml"
    lines = bare_example().decode().split("\n")
    errors = 0
    for number, line in enumerate(lines):
        key, colon, _ = line.partition(": ")
        blanks = line[: len(line) - len(line.lstrip())]
        for secret in secrets() if soak else secrets()[number % 4 :][:1]:
            for wrong in (
                f"{key}{colon or ' '}{secret}",
                f"{key}{colon or ' '}'{secret}'",
                f"{key}{colon or ' '}[{secret!r}]",
                f"{key}{colon or ' '}{{{secret!r}: 1}}",
                f"{blanks}{secret!r}: 1",
                f"{blanks}{secret!r}: 1\n{blanks}{secret!r}: 2",
                f"{key}{colon or ' '}!{secret} x",
                f"{key}{colon or ' '}&{secret} x",
                f"{key}{colon or ' '}'{secret}",
                f"{blanks}{secret}",
            ):
                path.write_text("\n".join([*lines[:number], wrong, *lines[number + 1 :]]))
                error = error_of(path)
                if error is not None:
                    errors += 1
                    assert "7391" not in f"{error.what}\n{error.why}\n{error.hint}", wrong

    assert errors > 1_000


@pytest.mark.parametrize("seed", range(SEEDS))
def test_mutated_settings_load_or_give_one_clear_error(
    tmp_path: Path, seed: int, soak: bool
) -> None:
    mutants = 1_000 if soak else 200
    chance = random.Random(20260101 + seed)
    example = bare_example()
    path = tmp_path / "opsctl.yaml"
    errors = 0
    for number in range(mutants):
        path.write_bytes(mutate(example, chance))
        error = error_of(path)
        if error is not None:
            errors += 1
            try:
                assert_clear(error)
            except AssertionError:
                raise AssertionError(f"mutant {number}: {error.code}: {error.why}") from None

    assert mutants // 2 < errors < mutants
