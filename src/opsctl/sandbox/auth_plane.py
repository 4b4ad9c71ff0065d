"""Supabase Auth of one project behind its gateway, in memory: keys, users, sessions, CORS.

Paths and shapes follow the service's openapi.yaml and its version header; the vendor's own
client signs in against it in the tests. Tokens carry no signature that means anything: only
the plane itself takes them.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from collections.abc import Mapping
from typing import Any

from opsctl.sandbox.plane import Answered, Asked, ControlPlane

_SESSION_S = 3600
_VERSION_HEADER = "x-supabase-api-version"


class AuthPlane(ControlPlane):
    """One project's Auth. Both of its keys are asked for; tests change what it allows."""

    def __init__(self, *, publishable: str, secret: str) -> None:
        super().__init__(token=secret)
        self.publishable = publishable
        self.external: dict[str, bool] = {"email": True, "phone": False, "anonymous_users": False}
        self.settings: dict[str, Any] = {
            "disable_signup": False, "mailer_autoconfirm": False, "phone_autoconfirm": False,
            "sms_provider": "", "saml_enabled": False,
        }  # fmt: skip
        self.keys: list[dict[str, Any]] = []
        """What is published at /.well-known/jwks.json."""
        self.algorithm, self.key_id = "HS256", "legacy"
        """What tokens say that they are signed with."""
        self.origins: tuple[str, ...] = ("*",)
        self.allowed_headers = "*"
        self.session_s = _SESSION_S
        self._users: dict[str, dict[str, Any]] = {}
        self._sessions: dict[str, str] = {}
        """Access token -> e-mail address."""

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    def put_user(self, email: str, password: str, *, confirmed: bool = True) -> None:
        """Keep one user."""
        self._users[email] = {
            "id": str(uuid.uuid4()), "password": password, "confirmed": confirmed
        }  # fmt: skip

    def shows_token(self, asked: Asked) -> bool:
        """Whether the gateway lets a request through; a browser's question carries no key."""
        key = asked.headers.get("apikey", "")
        return asked.method == "OPTIONS" or key in (self.publishable, self.token)

    def refuse(self, asked: Asked) -> Answered:
        """Answer as the gateway does."""
        if "apikey" not in asked.headers:
            return Answered(
                401,
                {
                    "message": "No API key found in request",
                    "hint": "No `apikey` request header or url param was found.",
                },
            )
        return Answered(401, {"message": "Invalid API key", "hint": "Double check your API key."})

    def answer(self, asked: Asked) -> Answered:
        """Answer one request."""
        if asked.method == "OPTIONS":
            return Answered(204, headers=self._cors(asked))
        if asked.parts[:2] != ("auth", "v1"):
            return Answered(404, {"message": "no Route matched with those values"})
        match (asked.method, *asked.parts[2:]):
            case ("GET", "health"):
                return Answered(
                    data={
                        "version": "v2.180.0",
                        "name": "GoTrue",
                        "description": "GoTrue is a user registration and authentication API",
                    }
                )
            case ("GET", "settings"):
                return Answered(data={"external": self.external, **self.settings})
            case ("GET", ".well-known", "jwks.json"):
                return Answered(data={"keys": self.keys})
            case ("POST", "token"):
                return self._sign_in(asked)
            case ("GET", "user"):
                return self._user(asked)
            case ("POST", "logout"):
                return self._sign_out(asked)
            case ("GET", "admin", "users"):
                return self._list_users(asked)
        return Answered(404, {"code": 404, "msg": "page not found"})

    def _sign_in(self, asked: Asked) -> Answered:
        body: Mapping[str, Any] = asked.body if isinstance(asked.body, dict) else {}
        if asked.query.get("grant_type") != "password":
            return self._error(asked, 400, "invalid_credentials", "unsupported_grant_type")
        email = str(body.get("email", ""))
        user = self._users.get(email)
        if user is None or not secrets.compare_digest(
            str(body.get("password", "")).encode(), str(user["password"]).encode()
        ):
            return self._error(asked, 400, "invalid_credentials", "Invalid login credentials")
        if not self.external["email"]:
            return self._error(asked, 422, "email_provider_disabled", "Email logins are disabled")
        if not user["confirmed"]:
            return self._error(asked, 400, "email_not_confirmed", "Email not confirmed")
        now = int(time.time())
        token = self._token(user["id"], email, now)
        self._sessions[token] = email
        return Answered(
            data={
                "access_token": token, "token_type": "bearer", "expires_in": self.session_s,
                "expires_at": now + self.session_s, "refresh_token": secrets.token_urlsafe(9),
                "user": self._shown(email),
            }
        )  # fmt: skip

    def _user(self, asked: Asked) -> Answered:
        email = self._sessions.get(_bearer(asked))
        if email is None:
            return self._error(asked, 403, "bad_jwt", "invalid JWT: unable to parse or verify")
        return Answered(data=self._shown(email))

    def _sign_out(self, asked: Asked) -> Answered:
        token = _bearer(asked)
        email = self._sessions.get(token)
        if email is None:
            return self._error(asked, 403, "bad_jwt", "invalid JWT: unable to parse or verify")
        scope = asked.query.get("scope") or "global"
        for other in [other for other, whose in self._sessions.items() if whose == email]:
            mine = other == token
            if scope == "global" or (scope == "local") == mine:
                del self._sessions[other]
        return Answered(204)

    def _list_users(self, asked: Asked) -> Answered:
        if asked.headers.get("apikey") != self.token:
            return self._error(asked, 403, "not_admin", "User not allowed")
        count = int(asked.query.get("per_page", "50"))
        shown = [self._shown(email) for email in list(self._users)[:count]]
        return Answered(data={"users": shown, "aud": "authenticated"})

    def _shown(self, email: str) -> dict[str, Any]:
        return {
            "id": self._users[email]["id"], "aud": "authenticated", "role": "authenticated",
            "email": email, "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {}, "identities": [], "is_anonymous": False,
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        }  # fmt: skip

    def _token(self, user: str, email: str, now: int) -> str:
        header = {"alg": self.algorithm, "kid": self.key_id, "typ": "JWT"}
        claims = {
            "iss": f"{self.url}/auth/v1", "sub": user, "aud": "authenticated", "email": email,
            "role": "authenticated", "iat": now, "exp": now + self.session_s, "aal": "aal1",
            "session_id": str(uuid.uuid4()), "is_anonymous": False,
        }  # fmt: skip
        parts = [json.dumps(header).encode(), json.dumps(claims).encode(), secrets.token_bytes(32)]
        return ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts)

    def _error(self, asked: Asked, status: int, code: str, text: str) -> Answered:
        """Answer an error in the form of the version that the client names."""
        if asked.headers.get(_VERSION_HEADER):
            headers = {_VERSION_HEADER: asked.headers[_VERSION_HEADER], "x-sb-error-code": code}
            return Answered(status, {"code": code, "message": text}, headers)
        return Answered(status, {"code": status, "error_code": code, "msg": text})

    def _cors(self, asked: Asked) -> dict[str, str]:
        origin = asked.headers.get("origin", "")
        if "*" not in self.origins and origin not in self.origins:
            return {"Vary": "Origin"}
        wanted = asked.headers.get("access-control-request-headers", "")
        return {
            "Access-Control-Allow-Origin": "*" if "*" in self.origins else origin,
            "Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
            "Access-Control-Allow-Headers": (
                wanted if self.allowed_headers == "*" else self.allowed_headers
            ),
        }


def _bearer(asked: Asked) -> str:
    kind, _, token = asked.headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else ""
