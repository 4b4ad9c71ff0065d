"""Ten canary secrets through every command: none comes out anywhere.

Looked at: stdout and stderr of every command, succeeding and failing, in every format and with
--verbose; every file under .opsctl; and the command line of every process on the machine while
they run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from opsctl.adapters.scratch import ScratchServer

# Put together here, so that no scanner finds a secret in this file.
CANARIES = ["-".join(["canary", word, "9f3k"]) for word in (
    "password", "wrong", "malformed", "header", "token", "slack", "file", "command", "pooler",
    "plain",
)]  # fmt: skip
PASSWORD, WRONG, MALFORMED, HEADER, TOKEN, SLACK, FILE, COMMAND, POOLER, PLAIN = CANARIES

SETTINGS = """
environments:
  good:
    database: {url: env:GOOD_URL}
    health:
      - {name: echo, url: "http://127.0.0.1:%(port)d/", headers: {x-key: env:HEADER}}
      - {name: by-file, url: "http://127.0.0.1:%(port)d/", headers: {x-key: "file:secret"}}
      - {name: by-command, url: "http://127.0.0.1:%(port)d/",
         headers: {x-key: "cmd:cat command-secret"}}
    vercel: {project: web, token: env:TOKEN}
    channels: {slack: env:SLACK}
  wrong: {database: {url: env:WRONG_URL}}
  malformed: {database: {url: env:MALFORMED_URL}}
  pooler: {database: {url: env:POOLER_URL}}
"""

COMMANDS = [
    ("config", "show", "--origin"),
    ("config", "check"),
    ("healthcheck", "run"),
    ("rollback", "status"),
    ("rollback", "db", "--dry-run"),
    ("rollback", "stash", "list"),
    ("runs", "list"),
]


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers it was sent, and fails."""

    def do_GET(self) -> None:
        body = f'{{"status": "fail", "output": "you sent {self.headers.get("x-key")}"}}'.encode()
        self.send_response(500)
        self.send_header("Content-Type", "application/health+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class CommandLines(threading.Thread):
    """Reads the command line of every process, again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: list[str] = []
        self.samples = 0
        self.over = False

    def run(self) -> None:
        while not self.over:
            self.samples += 1
            for name in os.listdir("/proc"):  # noqa: PTH208 - names are enough
                try:
                    text = Path("/proc", name, "cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue  # not a process, or gone meanwhile
                if any(canary in text for canary in CANARIES):
                    self.seen.append(text)
            time.sleep(0.01)


def test_no_canary_comes_out(
    tmp_path: Path, postgres: ScratchServer, supabase_database_url: str
) -> None:
    name = f"canary_{os.getpid()}"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create role {name} superuser login password '{PASSWORD}'".encode())
    where = supabase_database_url.partition("@")[2]
    server = HTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "opsctl.yaml").write_text(SETTINGS % {"port": server.server_port})
    (tmp_path / "secret").write_text(FILE)
    (tmp_path / "command-secret").write_text(COMMAND)
    migrations = tmp_path / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (migrations / "20260101000000_one.sql").write_text("create table public.one (id int)")
    with psycopg.connect(supabase_database_url, autocommit=True) as connection:
        connection.execute(f"set role {name}".encode())
        connection.execute("create table public.one (id int)")
        connection.execute(
            "insert into supabase_migrations.schema_migrations values "
            "('20260101000000', array['create table public.one (id int)'], 'one')"
        )
    env = {
        **os.environ,
        "GOOD_URL": f"postgresql://{name}:{quote(PASSWORD)}@{where}",
        "WRONG_URL": f"postgresql://{name}:{WRONG}@{where}",
        "MALFORMED_URL": f"postgresql://{name}:{MALFORMED}@[{where}",
        "POOLER_URL": f"postgresql://{name}:{POOLER}@127.0.0.1:6543/x",
        "HEADER": HEADER,
        "TOKEN": TOKEN,
        "SLACK": SLACK,
        "PYTHONFAULTHANDLER": "1",
    }
    outputs: dict[str, str] = {}

    def opsctl(*argv: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "opsctl", *argv],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        outputs[" ".join(argv)] = done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    watcher = CommandLines()
    watcher.start()
    for environment in ("good", "wrong", "malformed", "pooler"):
        for number, command in enumerate(COMMANDS):
            style = ("json", "text", "github", "junit", "markdown")[number % 5]
            opsctl(*command, "--env", environment, "--format", style, "--verbose")
    rolled = opsctl("rollback", "db", "--env", "good", "--yes", "--verbose")
    runs = opsctl("runs", "list", "--env", "good", "--format", "json").stdout
    run = runs.partition('"run": "')[2].partition('"')[0]
    opsctl("runs", "show", run, "--format", "json")
    opsctl("runs", "undo", run, "--yes", "--verbose")
    opsctl("backup", "create", "--verify", "--env", "good")
    (tmp_path / "opsctl.yaml").write_text(f"environments: {{x: {{database: {{url: {PLAIN}}}}}}}")
    plain = opsctl("config", "show")
    watcher.over = True
    watcher.join()
    server.shutdown()
    server.server_close()

    assert plain.returncode == 2
    assert rolled.returncode == 4, outputs  # rolled back; the endpoints answer 500
    assert run, runs
    assert watcher.samples > 100
    assert watcher.seen == []
    for what, text in outputs.items():
        found = [canary for canary in CANARIES if canary in text]
        assert not found, f"opsctl {what} printed {found}"
    kept = [path for path in (tmp_path / ".opsctl").rglob("*") if path.is_file()]
    assert any(path.name == "state.db" for path in kept)
    for path in kept:
        data = path.read_bytes()
        assert not [canary for canary in CANARIES if canary.encode() in data], path
