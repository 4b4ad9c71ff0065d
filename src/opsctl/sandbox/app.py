"""The sample application's HTTP side: two endpoints whose answers depend on the database.

Run as `python -m opsctl.sandbox.app FOLDER PORT`; the folder holds `database-url` and
`app.name`. A third page, /.sandbox, says who answers, so that nobody is taken for it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg

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
        """Answer /api/health, /api/selftest and /.sandbox."""
        if self.path == "/.sandbox":
            self._answer(200, {"name": self.name, "pid": os.getpid()})
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
        document = {
            "status": "fail" if wrong else "pass",
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "checks": {"database:responseTime": [{"observedValue": took_ms, "observedUnit": "ms"}]},
        }
        if wrong:
            document["output"] = wrong
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
        return "" if wrote == 1 else "a person cannot change a project of their own company"

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/health+json")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    main()
