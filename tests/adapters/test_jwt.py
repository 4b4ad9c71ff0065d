"""What is no token is None; what is one is read without its signature."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from opsctl.adapters.jwt import read_token


def made(header: Any, claims: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()) for each in (header, claims)]
    return ".".join([*(each.decode().rstrip("=") for each in parts), "c2ln"])


def test_the_claims_that_matter_are_read() -> None:
    claims = {"role": "anon", "ref": "abc", "iss": "supabase", "exp": 1_900_000_000, "x": 1}
    token = read_token(made({"alg": "HS256", "kid": "k"}, claims))

    assert token is not None
    assert (token.algorithm, token.key_id, token.role) == ("HS256", "k", "anon")
    assert (token.reference, token.issuer) == ("abc", "supabase")
    assert token.ends == datetime.fromtimestamp(1_900_000_000, UTC)


@pytest.mark.parametrize("end", ["soon", None, True, 1e300, float("nan"), -1e18, [], {}])
def test_an_end_that_is_no_moment_is_none(end: Any) -> None:
    token = read_token(made({"alg": "HS256"}, {"exp": end, "role": ["x"]}))

    assert token is not None
    assert (token.ends, token.role) == (None, "")


@pytest.mark.parametrize(
    "text",
    ["", "a.b", "a.b.c", "..", "é.é.é", made([], {}), made({"alg": 1}, {}), made({"alg": "x"}, []),
     made({"alg": "x"}, "y"), "x" * 30_000, "W" * 8000 + "." + "W" * 8000 + ".x"],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert read_token(text) is None
