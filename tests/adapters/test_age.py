"""Encryption with the real library: what was changed is never given back."""

from __future__ import annotations

import random
from pathlib import Path

import pyrage
import pytest

from opsctl.adapters.age import check_recipients, decrypt_file, encrypt_file
from opsctl.core.errors import OpsError

SIZES = (0, 1, 65535, 65536, 65537, 5_000_000)


def pair() -> tuple[str, str]:
    """Return (recipient, identity)."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity.to_public()), str(identity)


@pytest.mark.parametrize("size", SIZES)
def test_a_file_comes_back_as_it_was(tmp_path: Path, size: int) -> None:
    recipient, identity = pair()
    data = random.Random(size).randbytes(size)
    (tmp_path / "plain").write_bytes(data)

    encrypt_file(tmp_path / "plain", tmp_path / "sealed", [recipient])
    decrypt_file(tmp_path / "sealed", tmp_path / "back", identity)

    assert data == (tmp_path / "back").read_bytes()
    assert 0o600 == (tmp_path / "back").stat().st_mode & 0o777
    if size > 100:
        assert data[:100] not in (tmp_path / "sealed").read_bytes()


def test_each_of_two_recipients_can_read_it(tmp_path: Path) -> None:
    pairs = [pair(), pair()]
    (tmp_path / "plain").write_bytes(b"both")
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", [each[0] for each in pairs])

    for index, (_, identity) in enumerate(pairs):
        decrypt_file(tmp_path / "sealed", tmp_path / f"back{index}", identity)

        assert b"both" == (tmp_path / f"back{index}").read_bytes()


def test_every_flipped_bit_and_every_truncation_is_refused(tmp_path: Path) -> None:
    recipient, identity = pair()
    (tmp_path / "plain").write_bytes(b"some rows\n" * 30)
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", [recipient])
    good = (tmp_path / "sealed").read_bytes()
    chance = random.Random(7)
    changed = []
    for _ in range(200):
        at = chance.randrange(len(good))
        changed.append(good[:at] + bytes([good[at] ^ (1 << chance.randrange(8))]) + good[at + 1 :])
    changed += [good[:length] for length in range(0, len(good), 11)]

    for each in changed:
        (tmp_path / "sealed").write_bytes(each)
        with pytest.raises(OpsError) as caught:
            decrypt_file(tmp_path / "sealed", tmp_path / "back", identity)
        assert "backup-not-decrypted" == caught.value.code
        assert not (tmp_path / "back").exists()


def test_another_identity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"secret")
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", [pair()[0]])

    with pytest.raises(OpsError) as caught:
        decrypt_file(tmp_path / "sealed", tmp_path / "back", pair()[1])

    assert "backup-not-decrypted" == caught.value.code


def test_a_key_file_with_comments_is_read(tmp_path: Path) -> None:
    recipient, identity = pair()
    (tmp_path / "plain").write_bytes(b"rows")
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", [recipient])

    decrypt_file(tmp_path / "sealed", tmp_path / "back", f"# created: today\n\n{identity}\n")

    assert b"rows" == (tmp_path / "back").read_bytes()


def test_what_is_no_recipient_is_shown_and_a_secret_key_is_not() -> None:
    with pytest.raises(OpsError) as caught:
        check_recipients(["age1nonsense"])
    assert ("age-recipient", True) == (caught.value.code, "age1nonsense" in caught.value.what)

    secret = pair()[1]
    with pytest.raises(OpsError) as caught:
        check_recipients([secret])
    assert secret not in f"{caught.value.what}{caught.value.why}{caught.value.hint}"


def test_what_is_no_identity_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "sealed").write_bytes(b"x")
    with pytest.raises(OpsError) as caught:
        decrypt_file(tmp_path / "sealed", tmp_path / "back", "AGE-SECRET-KEY-" + "WRONG")

    assert "age-identity" == caught.value.code
    assert "WRONG" not in f"{caught.value.what}{caught.value.why}{caught.value.hint}"
