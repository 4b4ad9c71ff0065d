"""Faults of Supabase Auth are found, each by its rule; a healthy project has none."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from opsctl.areas.diagnose.auth_urls import _wide, fits
from opsctl.sandbox.auth_plane import AuthPlane
from opsctl.sandbox.plane import Answered

from .conftest import Doctor, Said
from .test_provider import CALM, SUMMARY, provider

REF = "abcdefghijklmnopqrst"
OPEN = "_".join(["sb", "publishable", "canary0open"])
CLOSED = "_".join(["sb", "secret", "canary0closed"])
PASSWORD = "-".join(["canary", "password"])
SITE = "https://www.example.com"


def token(**claims: Any) -> str:
    """Return a legacy key; its signature is nothing."""
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    body = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode() for each in parts]
    return ".".join([*(each.rstrip("=") for each in body), "c2lnbmF0dXJl"])


@dataclass
class World:
    """A project, its provider, and how it is diagnosed."""

    plane: AuthPlane
    page: str
    doctor: Doctor
    database: str

    def __call__(self, *, supabase: Any = None, auth: Any = None, **settings: Any) -> Said:
        """Diagnose it; the arguments change the settings."""
        expected = {
            "site_url": SITE,
            "redirect_urls": [f"{SITE}/auth/callback"],
            "sign_ins": [{"name": "member", "email": "member@example.com",
                          "password": "env:T_PASSWORD"}],
            **(auth or {}),
        }  # fmt: skip
        project = {
            "url": self.plane.url, "status_page": self.page, "api": self.page, "ref": REF,
            "publishable_key": "env:T_OPEN", "secret_key": "env:T_CLOSED",
            "access_token": "env:T_TOKEN", **(supabase or {}),
        }  # fmt: skip
        project = {name: value for name, value in project.items() if value is not None}
        said = self.doctor(self.database, "auth", supabase=project, auth=expected, **settings)
        assert PASSWORD not in said.text
        assert "canary0" not in said.text
        assert "member@example.com" not in said.text
        return said


CONFIG = {"site_url": SITE, "uri_allow_list": f"{SITE}/auth/callback", "jwt_exp": 3600}
PAGES: dict[str, tuple[int, Any]] = {}


@pytest.fixture
def world(
    diagnose: Doctor, supabase_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setenv("T_OPEN", OPEN)
    monkeypatch.setenv("T_CLOSED", CLOSED)
    monkeypatch.setenv("T_PASSWORD", PASSWORD)
    monkeypatch.setenv("T_TOKEN", "-".join(["management", "token"]))
    PAGES.clear()
    PAGES.update({SUMMARY: (200, CALM), f"/v1/projects/{REF}/config/auth": (200, CONFIG)})
    with AuthPlane(publishable=OPEN, secret=CLOSED) as plane, provider(PAGES) as page:
        plane.put_user("member@example.com", PASSWORD)
        plane.keys = [
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "one", "x": "x", "y": "y"}
        ]
        plane.algorithm, plane.key_id = "ES256", "one"
        yield World(plane, page, diagnose, supabase_database_url)


def test_a_healthy_project_has_nothing_red(world: World) -> None:
    said = world()

    assert said.exit == 0, said.text
    assert not said.rules()
    assert not said.rules(red=False)
    assert not said.unknowns()
    assert world.plane.sessions == 0


def test_auth_that_is_not_there(world: World) -> None:
    said = world(supabase={"url": "http://127.0.0.1:1"})

    assert said.rules() == {"auth-reachable"}
    assert said.unknowns() == {
        "auth-settings", "publishable-key", "secret-key", "signing-keys", "test-sign-in", "cors",
    }  # fmt: skip


def test_auth_that_is_ill(world: World) -> None:
    world.plane.fail("/auth/v1/health", Answered(503, {"message": "no"}))

    assert world().rules() == {"auth-reachable"}


@pytest.mark.parametrize(
    ("text", "rules", "words"),
    [
        ("_".join(["sb", "publishable", "canary0other"]), {"publishable-key"},
         "is refused"),
        (CLOSED, {"publishable-key"}, "browsers would have all rights"),
        (token(role="service_role", ref=REF), {"publishable-key"},
         "browsers would have all rights"),
    ],
    ids=["revoked", "secret", "legacy-secret"],
)  # fmt: skip
def test_a_publishable_key_that_is_none(
    world: World, monkeypatch: pytest.MonkeyPatch, text: str, rules: set[str], words: str
) -> None:
    monkeypatch.setenv("T_OPEN", text)
    said = world()

    assert said.rules() == rules
    assert words in said.told("publishable-key")


def test_a_secret_key_that_is_refused_or_a_publishable_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_CLOSED", "_".join(["sb", "secret", "canary0old"]))
    assert "is refused" in world().told("secret-key")
    monkeypatch.setenv("T_CLOSED", OPEN)
    assert "no rights with it" in world().told("secret-key")


def test_legacy_keys_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = int(time.time())
    good = token(iss="supabase", role="anon", ref=REF, exp=now + 10**8)
    world.plane.publishable = good
    monkeypatch.setenv("T_OPEN", good)
    well = world()
    assert not well.rules(), well.text
    assert "legacy" in well.told("publishable-key")

    for claims, words, red in (
        ({"role": "anon", "ref": REF, "exp": now - 100}, "has expired", True),
        ({"role": "anon", "ref": "z" * 20, "exp": now + 10**8}, "another project's", True),
        ({"role": "anon", "ref": REF, "exp": now + 86400 * 5}, "ends in", False),
        ({"role": "odd", "ref": REF, "exp": now + 10**8}, "has the role odd", False),
    ):
        text = token(**claims)
        world.plane.publishable = text
        monkeypatch.setenv("T_OPEN", text)
        said = world()
        assert words in said.told("publishable-key")
        assert ("publishable-key" in said.rules()) is red
        assert ("publishable-key" in said.rules(red=False)) is not red


@pytest.mark.parametrize("text", ["canary0 x", "\u2028canary0", "'" + OPEN + "'"])
def test_a_key_of_an_unknown_form_is_no_traceback(
    world: World, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("T_OPEN", text)
    said = world()

    assert said.exit in (1, 3)
    assert "publishable-key" in said.rules() | said.unknowns()


def test_users_that_cannot_sign_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.plane.put_user("late@example.com", PASSWORD, confirmed=False)
    users = [
        {"name": "gone", "email": "gone@example.com", "password": "env:T_PASSWORD"},
        {"name": "late", "email": "late@example.com", "password": "env:T_PASSWORD"},
        {"name": "mute", "email": "mute@example.com", "password": "env:T_NOWHERE"},
    ]
    said = world(auth={"sign_ins": users})

    told = said.told("test-sign-in")
    assert "gone cannot sign in status 400, invalid_credentials" in told
    assert "late cannot sign in status 400, email_not_confirmed" in told
    assert said.unknowns() == {"test-sign-in"}
    assert "gone@" not in said.text


def test_a_guard_before_sign_in_is_unknown_and_not_a_failure(world: World) -> None:
    busy = {"code": 429, "error_code": "over_request_rate_limit", "msg": "too many"}
    world.plane.fail("/token", Answered(429, busy), times=2)
    said = world()

    assert not said.rules()
    assert said.unknowns() == {"test-sign-in", "cors"}


def test_tokens_that_are_not_right(world: World) -> None:
    world.plane.key_id = "unpublished"
    assert "not published" in world().told("test-sign-in")
    world.plane.key_id, world.plane.session_s = "one", -10
    assert "ended already" in world().told("test-sign-in")
    world.plane.session_s = 3600
    world.plane.fail("/auth/v1/user", Answered(403, {"error_code": "bad_jwt", "msg": "no"}))
    assert "not accepted" in world().told("test-sign-in")
    world.plane.fail("/logout", Answered(500, {"msg": "no"}))
    assert "could not sign out" in world().told("test-sign-in")


def test_private_keys_that_are_published(world: World) -> None:
    world.plane.keys[0]["d"] = "canary0private"

    said = world()
    assert said.rules() == {"signing-keys"}


def test_settings_that_bite(world: World) -> None:
    world.plane.settings["mailer_autoconfirm"] = True
    protected = world(protected=True)
    open_ = world()
    world.plane.external["email"] = False
    nobody = world()

    assert protected.rules(red=False) == {"auth-settings"}
    assert not open_.rules(red=False)
    assert nobody.rules() == {"auth-settings", "test-sign-in"}


def test_cors_that_keeps_the_site_out(world: World) -> None:
    world.plane.origins = ("https://other.example.com",)
    assert world().rules() == {"cors"}
    world.plane.origins = (SITE,)
    assert not world().rules()
    world.plane.allowed_headers = "content-type"
    assert "apikey, authorization" in world().told("cors")


def test_redirects_are_compared_with_what_is_expected(world: World) -> None:
    def ask(**config: Any) -> Said:
        PAGES[f"/v1/projects/{REF}/config/auth"] = (200, {**CONFIG, **config})
        return world(auth={"redirect_urls": ["https://app.example.com/back"]}, protected=True)

    assert "app.example.com/back: not allowed" in ask().told("redirects")
    assert not ask(uri_allow_list="https://app.example.com/**").rules()
    assert "another one" in ask(
        site_url="http://localhost:3000", uri_allow_list="https://app.example.com/back"
    ).told("redirects")
    wide = ask(
        uri_allow_list="https://app.example.com/back,https://*.com/**,http://localhost:3000/**"
    )
    assert not wide.rules()
    assert "hosts of anybody" in wide.told("redirects")
    assert "localhost" in wide.told("redirects")
    other = ask(uri_allow_list="https://app.example.com/back,https://old.example.com/x")
    assert "old.example.com" in other.told("redirects")


def test_a_management_api_that_refuses_is_unknown(world: World) -> None:
    PAGES[f"/v1/projects/{REF}/config/auth"] = (401, {"message": "Unauthorized"})
    assert world().unknowns() == {"redirects"}


def test_what_is_not_in_the_settings_is_not_judged(world: World) -> None:
    said = world(
        supabase={"access_token": None, "secret_key": None},
        auth={"site_url": None, "sign_ins": [], "redirect_urls": []},
    )
    assert said.exit == 0
    for rule in ("secret-key", "test-sign-in", "cors", "redirects"):
        assert "set " in said.told(rule), rule


def test_tables_of_the_api_without_row_level_security(world: World) -> None:
    import psycopg

    with psycopg.connect(world.database, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.bare (a int);CREATE TABLE public.safe (a int);"
            "ALTER TABLE public.safe ENABLE ROW LEVEL SECURITY;"
            "GRANT SELECT ON public.bare, public.safe TO anon;"
            "CREATE TABLE public.inner_one (a int);"
            "REVOKE ALL ON public.inner_one FROM anon, authenticated"
        )
    said = world()

    assert said.rules() == {"rls"}
    told = said.told("rls")
    assert "public.bare (anon" in told
    assert "inner_one" not in told
    assert "safe" not in told.split("\n")[0]


def test_without_a_project_there_is_nothing_to_ask(diagnose: Doctor) -> None:
    said = diagnose("postgresql://a@127.0.0.1:1/x", "auth")

    assert said.exit == 2
    assert said.document["error"]["code"] == "no-supabase"


def test_auth_that_hangs_is_left_in_bounded_time(world: World) -> None:
    world.plane.fail("/auth/v1/", Answered(200, {}), times=100, delay_s=11)
    began = time.monotonic()
    said = world()

    assert time.monotonic() - began < 20
    assert said.rules() == {"auth-reachable"}
    assert "test-sign-in" in said.unknowns()


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("garbage", Answered(200, b"\xff\x00")), ("huge", Answered(200, b"x" * 2_000_000)),
     ("deep", Answered(200, b"[" * 100_000)), ("list", Answered(200, [])),
     ("cut", Answered(200, {"external": {"email": True}}, cut=True)),
     ("redirect", Answered(302, {}, {"Location": "https://elsewhere.example.com/"}))],
)  # fmt: skip
def test_answers_that_are_none(world: World, kind: str, answer: Answered) -> None:
    world.plane.fail("/auth/v1/", answer, times=100)
    said = world()

    assert said.exit in (1, 3), kind
    assert {"auth-settings", "signing-keys"} <= said.unknowns()


@pytest.mark.parametrize(
    ("pattern", "url", "fit"),
    [("https://a.example.com/*", "https://a.example.com/x", True),
     ("https://a.example.com/*", "https://a.example.com/x/y", False),
     ("https://a.example.com/**", "https://a.example.com/x/y", True),
     ("https://*.example.com/**", "https://a.b.example.com/", False),
     ("https://a.example.com/x", "https://aXexample.com/x", False),
     ("https://?.example.com", "https://a.example.com", True)],
)  # fmt: skip
def test_patterns_fit_as_auths_glob_does(pattern: str, url: str, fit: bool) -> None:
    assert fits(pattern, url) is fit


@pytest.mark.parametrize(
    ("pattern", "wide"),
    [("https://**", True), ("https://*.com/x", True), ("https://*.vercel.app/**", True),
     ("https://*-team.vercel.app/**", False), ("https://*.example.com/**", False),
     ("https://www.example.com/**", False), ("**", True), ("myapp://callback", False)],
)  # fmt: skip
def test_hosts_of_anybody_are_known(pattern: str, wide: bool) -> None:
    assert _wide(pattern) is wide
