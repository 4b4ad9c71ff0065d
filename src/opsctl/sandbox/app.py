"""The sample application's HTTP side: a page, and two endpoints that depend on the database.

It runs with the variables that the live deployment was built with. Run as
`python -m opsctl.sandbox.app FOLDER PORT`; the folder holds `database-url` and `app.name`. One
page more, /.sandbox, says who answers, so that nobody is taken for it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg

_SECRET = "SUPABASE_SECRET_KEY"  # noqa: S105 - a name
_SCRIPT = "/_next/static/chunks/main.js"
_PAGE = f"""<!doctype html><html lang="en"><title>Sample</title>
<p>The sample application.</p><script src="{_SCRIPT}"></script></html>
"""
_PERSON = "00000000-0000-4000-8000-000000000001"


def main() -> None:
    """Serve until killed."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    own_name = (folder / "app.name").read_text(encoding="utf-8").strip()

    class Handler(_Handler):
        """Knows its sandbox."""

        sandbox = folder
        name = own_name

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


class _Handler(BaseHTTPRequestHandler):
    sandbox = Path()
    name = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer the page, its script, /api/health, /api/selftest and /.sandbox."""
        if self.path == "/.sandbox":
            self._answer(200, {"name": self.name, "pid": os.getpid()})
            return
        if self.path == "/":
            self._send(200, "text/html", _PAGE.encode())
            return
        if self.path.partition("?")[0] == _SCRIPT:
            key = self._built_with().get("NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY", "")
            script = f"globalThis.supabase={{key:{json.dumps(key)}}};"
            self._send(200, "text/javascript", script.encode())
            return
        checks = {"/api/health": self._health, "/api/selftest": self._selftest}
        check = checks.get(self.path.partition("?")[0])
        if check is None:
            self._answer(404, {"status": "fail", "output": "no such page"})
            return
        began = time.monotonic()
        try:
            wrong = check()
        except psycopg.Error as error:
            wrong = f"the database said {error.sqlstate or 'nothing'}"
        except OSError:
            wrong = "the file database-url cannot be read"
        took_ms = round((time.monotonic() - began) * 1000, 1)
        document: dict[str, Any] = {
            "status": "fail" if wrong else "pass",
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "checks": {"database:responseTime": [{"observedValue": took_ms, "observedUnit": "ms"}]},
        }
        if wrong:
            document["output"] = wrong
        secret = self._built_with().get(_SECRET)
        if secret:
            # A fingerprint says which key it has, and gives nothing of it away.
            document["credentials"] = {_SECRET: hashlib.sha256(secret.encode()).hexdigest()[:16]}
        self._answer((503 if check == self._health else 500) if wrong else 200, document)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: the log is for errors."""

    @property
    def database(self) -> str:
        """The database's URL, read anew: a server that was started again may have moved."""
        return (self.sandbox / "database-url").read_text(encoding="utf-8").strip()

    def _health(self) -> str:
        with psycopg.connect(self.database, connect_timeout=3) as connection:
            connection.execute("SELECT 1")
        return ""

    def _selftest(self) -> str:
        """Read and write as one of the application's people; nothing stays."""
        claims = json.dumps({"sub": _PERSON, "role": "authenticated"})
        with psycopg.connect(self.database, connect_timeout=3) as connection:
            connection.execute("SET LOCAL statement_timeout = '5s'")
            connection.execute("SELECT set_config('request.jwt.claims', %s, true)", (claims,))
            connection.execute("SET LOCAL ROLE authenticated")
            row = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE paid_on IS NULL), "
                "count(DISTINCT tenant_id) FROM public.invoices"
            ).fetchone()
            wrote = connection.execute(
                "UPDATE public.projects SET archived = NOT archived WHERE id = "
                "(SELECT min(id) FROM public.projects)"
            ).rowcount
            connection.rollback()
        everything, unpaid, tenants = row or (0, 0, 0)
        if not everything or tenants != 1:
            return f"a person sees {everything} invoices of {tenants} companies"
        if not unpaid:
            return "a person sees no unpaid invoice of their own company"
        if wrote != 1:
            return "a person cannot change a project of their own company"
        return self._gateway()

    def _gateway(self) -> str:
        """Ask the project's gateway with the secret key, as a server-side page would."""
        secret = self._built_with().get(_SECRET)
        try:
            port = json.loads((self.sandbox / "planes" / "ports.json").read_bytes())["supabase"]
        except (OSError, ValueError, KeyError):
            return ""  # there is none to ask
        if not secret:
            return ""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request(
                "GET", "/auth/v1/admin/users?per_page=1",
                headers={"apikey": secret, "User-Agent": "sample-application"},
            )  # fmt: skip
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return ""  # the sandbox is being stopped
        finally:
            connection.close()
        return "Supabase refuses the application's secret key" if status in (401, 403) else ""

    def _built_with(self) -> dict[str, str]:
        """Return the variables of the deployment that production points to."""
        try:
            kept = json.loads((self.sandbox / "planes" / "vercel.json").read_bytes())
            live = kept["aliases"][kept["domains"][0]["name"]]
            return dict(kept["deployments"][live].get("env", {}))
        except (OSError, ValueError, KeyError, IndexError):
            return {}

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        self._send(status, "application/health+json", json.dumps(document).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    main()
