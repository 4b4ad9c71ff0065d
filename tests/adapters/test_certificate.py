"""What is read from certificates agrees with a library made for them; nonsense is refused."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from opsctl.adapters.certificate import read_certificate

NOW = datetime.now(UTC).replace(microsecond=0)


def der(leaf: trustme.LeafCert) -> bytes:
    pem = leaf.cert_chain_pems[0].bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    "names",
    [("localhost",), ("*.example.com", "example.com"), ("127.0.0.1", "::1", "a.example"),
     tuple(f"host{number}.example.com" for number in range(300))],
    ids=["one", "wildcard", "addresses", "many"],
)  # fmt: skip
def test_it_reads_what_the_library_reads(names: tuple[str, ...]) -> None:
    leaf = trustme.CA(organization_name="Ägypten & Söhne").issue_cert(
        *names,
        common_name="a name",
        not_before=NOW - timedelta(3),
        not_after=NOW + timedelta(40000),
    )
    data = der(leaf)
    theirs = x509.load_der_x509_certificate(data)
    ours = read_certificate(data)

    alternatives = theirs.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    listed = [str(each.value) for each in alternatives]
    assert list(ours.names) == listed
    assert (ours.begins, ours.ends) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)
    assert ours.ends.year > 2050
    assert ours.issuer == "Ägypten & Söhne"
    assert not ours.self_signed


def test_an_authority_is_its_own_issuer() -> None:
    pem = trustme.CA().cert_pem.bytes()
    data = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    assert read_certificate(data).self_signed


def test_damaged_certificates_are_refused_and_nothing_else_happens() -> None:
    data = der(trustme.CA().issue_cert("localhost"))
    chance = random.Random(1)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        part = bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])])
        try:
            read_certificate(part)
        except ValueError:
            refused += 1

    assert refused > 1000
    for nothing in (b"", b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"x" * 1000):
        with pytest.raises(ValueError, match=r"."):
            read_certificate(nothing)
