"""Supabase's own Auth client and the adapter are treated alike by the plane."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.supabase_auth import Answer, AuthApi
from opsctl.core.process import run_program
from opsctl.sandbox.auth_plane import AuthPlane

pytestmark = pytest.mark.node
KEY = "_".join(["sb", "publishable", "canary"])
SECRET = "_".join(["sb", "secret", "canary"])
EMAIL, PASSWORD = "member@example.com", "-".join(["canary", "password"])


def client(project: Path, plane: AuthPlane, *, key: str = KEY) -> dict[str, Any]:
    shutil.copy(Path(__file__).with_name("auth.mjs"), project)
    done = run_program(
        [str(shutil.which("node")), "auth.mjs", plane.url, EMAIL],
        env={"API_KEY": key, "PASSWORD": PASSWORD}, cwd=str(project), timeout_s=60,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def ours(plane: AuthPlane, password: str) -> tuple[Answer, Answer, Answer, Answer]:
    """Sign in, ask who we are, sign out, ask again."""

    async def ask() -> tuple[Answer, Answer, Answer, Answer]:
        async with AuthApi(plane.url) as api:
            signed_in = await api.sign_in(KEY, email=EMAIL, password=password)
            token = str(signed_in.data.get("access_token", "none"))
            return (
                signed_in,
                await api.user(KEY, token=token),
                await api.sign_out(KEY, token=token),
                await api.user(KEY, token=token),
            )

    return asyncio.run(ask())


def test_the_client_and_the_adapter_sign_in_and_out_alike(project: Path) -> None:
    with AuthPlane(publishable=KEY, secret=SECRET) as plane:
        plane.put_user(EMAIL, PASSWORD)
        told = client(project, plane)
        left_by_the_client = plane.sessions
        signed_in, user, signed_out, afterwards = ours(plane, PASSWORD)
        wrong = ours(plane, "not it")[0]

    assert told["signed_in"] is None
    assert (told["token_type"], told["expires_in"]) == ("bearer", 3600)
    assert (told["user"], told["role"]) == (EMAIL, "authenticated")
    assert told["wrong"] == {
        "name": "AuthApiError", "status": wrong.status, "code": wrong.code
    }  # fmt: skip
    assert told["signed_out"] is None
    assert told["afterwards"]["status"] == afterwards.status == 403
    assert (signed_in.status, user.status, signed_out.status) == (200, 200, 204)
    # The client's first sign-in is left: its second one took its place in the client alone.
    assert left_by_the_client == plane.sessions == 1


def test_the_client_is_refused_with_another_key(project: Path) -> None:
    with AuthPlane(publishable=KEY, secret=SECRET) as plane:
        plane.put_user(EMAIL, PASSWORD)
        told = client(project, plane, key="another")

    assert told["signed_in"]["status"] == 401
