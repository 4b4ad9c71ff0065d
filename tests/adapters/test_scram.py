"""SCRAM against the exchange that RFC 7677 prints, and passwords as RFC 4013 prepares them."""

from __future__ import annotations

import base64

import pytest

from opsctl.adapters.scram import ScramClient, prepare_password


def test_a_proof_is_only_given_to_an_answer_to_our_nonce() -> None:
    client = ScramClient("pencil")
    nonce = client.first().rpartition(b"r=")[2]
    salt = base64.b64encode(b"salt")

    for challenge in (
        b"r=another,s=" + salt + b",i=4096", b"r=" + nonce + b",s=" + salt + b",i=0",
        b"r=" + nonce + b",s=" + salt + b",i=99999999999", b"r=" + nonce + b",i=1", b"x", b"",
        b"r=" + nonce + b",s=\xff,i=1", b"r=" + nonce + b",s=" + salt + b",i=x",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            client.proof(challenge)


def test_it_gives_the_proof_of_rfc_7677(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ScramClient("pencil")
    # The RFC's own nonce and user: PostgreSQL leaves the user out of these messages.
    client._nonce = "rOprNGfwEbeRWgbNEkqO"
    client._first = f"n=user,r={client._nonce}"
    server = (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )

    proof = client.proof(server)

    assert proof.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    assert client.confirms(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert not client.confirms(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize(
    ("given", "prepared"),
    [("plain", "plain"), ("I\u00adX", "IX"), ("\u00aa", "a"), ("\u2168", "IX"),
     ("a\u00a0b", "a b"), ("bad\u0007é", "bad\u0007é"), ("\u0627\u0031", "\u06271")],
)  # fmt: skip
def test_passwords_are_prepared_as_rfc_4013_says(given: str, prepared: str) -> None:
    assert prepare_password(given) == prepared
