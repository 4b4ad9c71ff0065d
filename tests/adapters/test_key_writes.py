"""Keys are made, kept elsewhere and ended; no plan holds a value, and each is read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.github import DEPENDABOT, GithubApi
from opsctl.adapters.sealed_box import seal
from opsctl.adapters.supabase_gateway import read_key_use, try_key
from opsctl.adapters.supabase_keys import SupabaseKeys
from opsctl.adapters.supabase_secrets import FunctionSecrets
from opsctl.adapters.vercel import VercelApi
from opsctl.core.action import Request, action_from_json, action_to_json
from opsctl.core.settings import Github, Supabase, Vercel
from opsctl.engine.perform import perform
from opsctl.sandbox.github_plane import GithubPlane
from opsctl.sandbox.supabase_plane import SupabasePlane
from opsctl.sandbox.vercel_plane import VercelPlane

VALUE = "-".join(("a", 'quoted"', "new\\value"))


def sent(action: Request) -> str:
    """Send a request as the journal would give it back, and return the answer."""
    kept = json.loads(json.dumps(action_to_json(action)))
    assert VALUE not in json.dumps(kept)
    again = action_from_json(kept)
    assert action == again
    return perform(again, waiting=lambda text: None).text


@pytest.fixture
def value(tmp_path: Path) -> str:
    """Return a reference to the value."""
    path = tmp_path / "value"
    path.write_text(VALUE)
    return f"file:{path}"


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text("t0ken")
    return f"file:{path}"


@pytest.fixture
def supabase() -> Iterator[SupabasePlane]:
    with SupabasePlane(token="t0ken", ref="r" * 20) as plane:
        yield plane


def of_supabase(plane: SupabasePlane, token: str) -> Supabase:
    return Supabase(ref=plane.ref, url=plane.url, access_token=token, api=plane.url)


def test_a_key_is_made_found_by_its_name_and_ended(supabase: SupabasePlane, token: str) -> None:
    keys = SupabaseKeys(of_supabase(supabase, token))

    shown = sent(keys.create("secret", "opsctl_1", description="rotated"))
    made = keys.find("secret", "opsctl_1")
    value = keys.value("secret", "opsctl_1")

    assert made is not None
    assert value not in shown
    assert value.startswith(made.prefix)
    assert made == keys.hashes()[hashlib.sha256(value.encode()).hexdigest()]
    assert "accepted" == try_key(supabase.url, value, secret=True).word
    assert "refused" == try_key(supabase.url, value, secret=True, browser=True).word

    sent(keys.delete("{{id}}", reason="rotated", fill=(("id", f"cmd:echo {made.id}"),)))

    assert keys.find("secret", "opsctl_1") is None
    assert "refused" == try_key(supabase.url, value, secret=True).word


def test_legacy_keys_are_turned_off_and_on(supabase: SupabasePlane, token: str) -> None:
    keys = SupabaseKeys(of_supabase(supabase, token))
    anon = keys.value("legacy", "anon")

    sent(keys.enable_legacy(on=False))
    assert keys.legacy_enabled() is False
    assert "refused" == try_key(supabase.url, anon, secret=False).word

    sent(keys.enable_legacy(on=True))
    assert "accepted" == try_key(supabase.url, anon, secret=False).word


def test_the_gateways_log_says_which_keys_were_used(supabase: SupabasePlane, token: str) -> None:
    settings = of_supabase(supabase, token)
    keys = SupabaseKeys(settings)
    listed = keys.keys()
    used = next(each for each in listed if each.kind == "publishable")
    for _ in range(3):
        try_key(supabase.url, keys.value("publishable", used.name), secret=False)
    old = datetime.now(UTC) - timedelta(days=3)
    supabase.act("gateway", {"timestamp": f"{old:%Y-%m-%dT%H:%M:%SZ}", "prefix": "sb_secret_old"})
    now = datetime.now(UTC) + timedelta(seconds=1)

    of_today = read_key_use(settings, since=now - timedelta(hours=1), until=now)
    of_week = read_key_use(settings, since=now - timedelta(days=7), until=now)

    assert {used.prefix: 3} == {prefix: use.count for prefix, use in of_today.items()}
    assert {used.prefix: 3, "sb_secret_old": 1} == {
        prefix: use.count for prefix, use in of_week.items()
    }


def test_a_functions_secret_is_read_back_by_its_digest(
    supabase: SupabasePlane, token: str, value: str
) -> None:
    secrets = FunctionSecrets(of_supabase(supabase, token))

    sent(secrets.put("OUR_KEY", "key={{value}};", fill=(("value", value),)))

    digest = hashlib.sha256(f"key={VALUE};".encode()).hexdigest()
    assert {"OUR_KEY": digest} == secrets.digests()
    sent(secrets.delete("OUR_KEY"))
    assert {} == secrets.digests()


@pytest.mark.parametrize("scope", [None, "production", DEPENDABOT])
def test_a_secret_is_sealed_for_its_own_scope(
    scope: str | None, token: str, tmp_path: Path
) -> None:
    with GithubPlane(token="t0ken") as plane:
        plane.environments.append("production")
        api = GithubApi(Github(repository=plane.repository, token=token, api=plane.url))
        key = api.public_key(scope)
        box = tmp_path / "box"
        box.write_text(seal(VALUE, key.key))

        sent(api.put_secret(scope, "OUR_KEY", key_id=key.id, sealed=f"file:{box}"))

        assert VALUE == plane.secret("OUR_KEY", scope or "actions")
        listed = api.dependabot_secrets() if scope == DEPENDABOT else api.secrets(scope)
        assert ["OUR_KEY"] == [each.name for each in listed]
        sent(api.delete_secret(scope, "OUR_KEY"))
        assert plane.secret("OUR_KEY", scope or "actions") is None


def test_one_record_is_written_for_one_target(token: str, value: str) -> None:
    with VercelPlane(token="t0ken") as plane:
        api = VercelApi(Vercel(project="web", token=token, api=plane.url))
        plane.add_variable("KEY", "old", "production", "preview")
        (shared,) = api.variables().variables

        sent(api.set_targets(shared, ("preview",)))
        write: Any = {"sensitive": True, "fill": (("value", value),)}
        sent(api.put_variable("KEY", "production", "{{value}}", **write))

        kept = {tuple(each["target"]): (each["value"], each["type"]) for each in plane.variables}
        assert {("preview",): ("old", "encrypted"), ("production",): (VALUE, "sensitive")} == kept
        sent(api.delete_variable(plane.variables[-1]["id"]))
        assert 1 == len(plane.variables)
