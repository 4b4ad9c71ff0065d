"""Mutated settings: each loads or gives one clear error; nothing else ever comes out."""

from __future__ import annotations

import random
from pathlib import Path

from opsctl.core.errors import OpsError
from opsctl.core.sources import load_settings

EXAMPLE = Path(__file__).parent.parent.parent / "config" / "opsctl.example.yaml"
MUTANTS = 8_000
TOKENS = (
    b"&a ", b"*a", b"!!python/none ", b"{", b"}", b"[", b"]", b": ", b"? ", b"- ", b"|\n", b">\n",
    b"%YAML 1.2\n", b"---\n", b"...\n", b"\t", b"\x00", b"\xff", b"\xef\xbb\xbf", b"<<: *a\n",
    b"1e999", b".nan", b"0x1F", b"~", b"'", b'"', b"#", b"\r", b"\xe2\x80\xae", b"9" * 400,
    b"[" * 70, b"{a: " * 70, b"!<tag:yaml.org,2002:str> ", b"\x1b[31m", b"=", b"!!binary x",
)  # fmt: skip


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return data with one to four small changes."""
    for _ in range(chance.randint(1, 4)):
        lines = data.split(b"\n")
        place = chance.randrange(len(data) + 1)
        line = chance.randrange(len(lines))
        kind = chance.randrange(8)
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
            lines[line] = key + colon + chance.choice(TOKENS)
            data = b"\n".join(lines)
    return data


def error_of(path: Path) -> OpsError | None:
    """Return the error that loading gives, if any; whatever else is raised gets out."""
    try:
        load_settings(config=str(path), start=path.parent, environ={})
    except OpsError as error:
        return error
    return None


def test_mutated_settings_load_or_give_one_clear_error(tmp_path: Path) -> None:
    chance = random.Random(20260101)
    example = b"\n".join(
        line for line in EXAMPLE.read_bytes().split(b"\n") if not line.strip().startswith(b"#")
    )
    path = tmp_path / "opsctl.yaml"
    errors = 0
    for number in range(MUTANTS):
        path.write_bytes(mutate(example, chance))
        error = error_of(path)
        if error is not None:
            errors += 1
            assert int(error.exit) == 2, number
            assert all((error.what, error.why, error.hint, error.code)), number
            assert "\n" not in error.what, number

    assert errors > MUTANTS / 2
