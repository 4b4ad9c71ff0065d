"""Every parser of text from outside: what it is fed, and the errors that it documents.

A target takes bytes. Whatever it raises beside what it documents is a fault of the parser, and
so is more than some seconds or a gigabyte. Files are written into a directory of this process.
"""

from __future__ import annotations

import atexit
import contextlib
import gzip
import json
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from opsctl.core.errors import OpsError


@dataclass(frozen=True)
class Target:
    """One parser. `documented` is what it says that it raises."""

    name: str
    call: Callable[[bytes], object]
    documented: tuple[type[Exception], ...]


TARGETS: dict[str, Target] = {}
Parser = Callable[[bytes], object]


def target(*documented: type[Exception]) -> Callable[[Parser], Parser]:
    """Make a target of a function; its name is the function's, with dashes."""

    def register(function: Parser) -> Parser:
        name = function.__name__.replace("_", "-")
        TARGETS[name] = Target(name, function, documented)
        return function

    return register


class NotOurs(Exception):
    """The input is none for this target: JSON was wanted, and only what is in it is fuzzed."""


@cache
def folder() -> Path:
    """Return this process's directory, which goes with it."""
    path = Path(tempfile.mkdtemp(prefix="opsctl-fuzz-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def written(name: str, data: bytes) -> Path:
    """Return a file with this content."""
    path = folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def text_of(data: bytes) -> str:
    """Return bytes as programs' output is read."""
    return data.decode("utf-8", "replace")


def json_of(data: bytes) -> Any:
    """Return the JSON in an input, as an API's client gives it on."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise NotOurs from None


def object_of(data: bytes) -> dict[str, Any]:
    """Return the JSON object in an input."""
    document = json_of(data)
    if not isinstance(document, dict):
        raise NotOurs
    return document


# ---- settings, policies, runbooks -----------------------------------------------------------


@target(OpsError)
def strict_yaml(data: bytes) -> object:
    from opsctl.core.strict_yaml import load_yaml

    return load_yaml(data, source="settings")


@target(OpsError)
def settings(data: bytes) -> object:
    from opsctl.core.sources import choose_environment, load_settings

    path = written("settings/opsctl.yaml", data)
    loaded = load_settings(config=str(path), start=path.parent, environ={})
    return choose_environment(loaded, None, {})


@target(OpsError)
def settings_variables(data: bytes) -> object:
    from opsctl.core.sources import load_settings

    pairs = (line.partition("=") for line in data.decode("utf-8", "surrogateescape").split("\n"))
    environ = {name: value for name, _, value in pairs if name.startswith("OPSCTL_")}
    environ.pop("OPSCTL_CONFIG", None)
    return load_settings(config=None, start=folder(), environ=environ)


@target(OpsError)
def policy_file(data: bytes) -> object:
    from opsctl.areas.rls_smoke.policy_file import actor_claims, condition, load_policy_file

    found = load_policy_file(written("policies.yaml", data))
    for name, actor in found.actors.items():
        actor_claims(name, actor)
        for rules in found.tables.values():
            condition("own or $user", rows=rules.rows, actor=actor)
    return found


@target(OpsError)
def runbook(data: bytes) -> object:
    from opsctl.adapters.command_line import own_words
    from opsctl.adapters.runbook_files import read_runbook
    from opsctl.cli.runbook_lint import dangers_in

    found = read_runbook(written("runbook.md", data))
    for item in found.items:
        own_words(item.text)
        if item.kind == "line":
            dangers_in(item.text)
    return found.steps


@target(ValueError)
def command_line(data: bytes) -> object:
    from opsctl.adapters.command_line import has_hole, own_words, split_line

    text = text_of(data)
    return has_hole(text), own_words(text), split_line(text)


@target()
def command_help(data: bytes) -> object:
    from opsctl.adapters.command_help import parse_help

    return parse_help(text_of(data))


@target(OpsError)
def dotenv(data: bytes) -> object:
    from opsctl.adapters.bundle_environment import parse_env
    from opsctl.adapters.env_file import read_variable, write_variable

    path = written(".env", data)
    parse_env(text_of(data))
    write_variable(path, "ADDED", "value")
    assert read_variable(path, "ADDED") == "value"
    return read_variable(path, "DATABASE_URL")


@target(OpsError)
def durations(data: bytes) -> object:
    from opsctl.core.times import format_moment, parse_duration, parse_moment

    text = text_of(data)
    with contextlib.suppress(OpsError):
        parse_duration(text, "--for")
    return format_moment(parse_moment(text, "--since", now=1.8e9))


@target(OpsError)
def user_rules(data: bytes) -> object:
    from opsctl.adapters.secret_scanner.rules import Rule
    from opsctl.adapters.secret_scanner.user_rules import compile_user_rule

    pattern = text_of(data)
    rule = Rule(id="x", title="x", next="x", keywords=("a",), pattern=pattern, edges=False,
                user=True)  # fmt: skip
    _, whole = compile_user_rule(rule)
    return whole.search(b"a" * 20_000)


@target(OpsError)
def scan_exceptions(data: bytes) -> object:
    from opsctl.adapters.secret_scanner.allow import allowed_by

    path = written("baseline", data)
    words = text_of(data).splitlines()[:20]
    return allowed_by(paths=words, values=(), baseline=path, ignore_file=path)


# ---- addresses, HTTP, tokens ----------------------------------------------------------------


@target(OpsError)
def database_url(data: bytes) -> object:
    from opsctl.adapters.pg_target import read_target
    from opsctl.adapters.postgres import database_name, needs_tls
    from opsctl.core.secrets import url_with_database, without_secrets
    from opsctl.core.state_place import state_place

    url = text_of(data)
    str(state_place(folder(), url))
    without_secrets("It said password.", [url])
    found = read_target(url)
    url_with_database(url, "other")
    return found.where, needs_tls(url), database_name(url)


@target()
def http_url(data: bytes) -> object:
    from opsctl.adapters.http_request import Ask, parse_url, request_bytes, wrong_header

    text = text_of(data)
    name, _, value = text.partition(":")
    found = parse_url(text)
    if found is None or wrong_header({name: value}):
        return None
    sent = request_bytes(Ask("x", text, headers={name: value}), found, proxy=None)
    assert sent.count(b"\r\n\r\n") == 1, "a request was smuggled in"
    return sent


def _unreadable() -> type[Exception]:
    from opsctl.adapters.http_answer import Unreadable

    return Unreadable


@target(_unreadable())
def http_answer(data: bytes) -> object:
    from opsctl.adapters.http_answer import AnswerReader

    most = 0
    for step in (1, 7, max(len(data), 1)):
        reader = AnswerReader(method="GET", keep=1000, most=1 << 20)
        for at in range(0, min(len(data), 4000 * step), step):
            reader.feed(data[at : at + step])
        reader.end()
        most = max(most, len(reader.body))
    assert most <= 1000
    return most


@target()
def health_body(data: bytes) -> object:
    from opsctl.areas.healthcheck.body import (
        at_pointer,
        read_health,
        read_json,
        utilization,
        wrong_values,
    )

    document = read_json(data)
    for declared in (True, False):
        health = read_health(document, declared=declared)
        if health is not None:
            utilization(health)
    at_pointer(document, "/checks/db/0/status")
    return list(wrong_values(document, {"/status": "pass", "": 1, "/a~1b/0": None}))


@target()
def jwt(data: bytes) -> object:
    import base64

    from opsctl.adapters.jwt import read_token
    from opsctl.adapters.secret_scanner.formats import decode_jwt

    part = base64.urlsafe_b64encode(data).decode().rstrip("=")
    for text in (text_of(data), f"{part}.{part}.{part}"):
        read_token(text)
        decode_jwt(text)
    return None


@target(OpsError)
def api_answer(data: bytes) -> object:
    """Feed what every client of a vendor's API does with a status, headers and a body."""
    from opsctl.adapters import rest

    head, _, body = data.partition(b"\n\n")
    # As httpx decodes headers: ASCII, else UTF-8, else latin-1.
    try:
        lines = head.decode()
    except UnicodeDecodeError:
        lines = head.decode("latin-1")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines.split("\n"))
    }
    rest._retry_after(headers)
    rest._message(body)
    api = rest.Rest("X", "x", "https://api.example.com", None, "x", {})
    with contextlib.suppress(OpsError):
        api._next(headers, "https://api.example.com/v1/things", "/things")
    return api._parse(body, "/things")


@target(ValueError)
def vercel_shapes(data: bytes) -> object:
    from opsctl.adapters import vercel_shapes as shapes
    from opsctl.adapters.vercel import VercelApi
    from opsctl.core.settings import Vercel

    document = json_of(data)
    api = VercelApi(Vercel(project="prj_x", team=None, token="env:NONE"))
    for parse in (shapes.project_of, shapes.deployment_of, shapes.domain_of, shapes.variable_of,
                  shapes.value_of):  # fmt: skip
        with contextlib.suppress(OpsError):
            api._read("/x", document, parse)
    return None


# ---- vendors' APIs, asked for real: a server on loopback answers everything with the input ----


class _Vendor:
    """Answers every request with the same body, as JSON with status 200."""

    def __init__(self) -> None:
        self.body = b""
        self.whole = False
        """Whether `body` is the whole answer, status line and all."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                asked = b""
                while b"\r\n\r\n" not in asked and (part := connection.recv(65536)):
                    asked += part
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                head += b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(self.body)
                connection.sendall(self.body if self.whole else head + self.body)
                # A body that was not read would reset the connection.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass


@cache
def _vendor() -> _Vendor:
    os.environ["OPSCTL_FUZZ_TOKEN"] = "for-the-loopback"
    os.environ["NO_PROXY"] = "127.0.0.1"
    return _Vendor()


_TOKEN = "env:OPSCTL_FUZZ_TOKEN"


def _ask_all(data: bytes, *looks: Callable[[], object], whole: bool = False) -> None:
    """Have a vendor answer with the input, and make every look; each may raise OpsError."""
    vendor = _vendor()
    vendor.body, vendor.whole = data, whole
    for look in looks:
        with contextlib.suppress(OpsError):
            look()


@target()
def vercel_api(data: bytes) -> object:
    from opsctl.adapters.rest import Patience
    from opsctl.adapters.vercel import VercelApi
    from opsctl.adapters.vercel_shapes import Project, Variable
    from opsctl.core.settings import Vercel

    settings = Vercel(project="prj_x", token=_TOKEN, api=_vendor().address)
    api = VercelApi(settings, patience=Patience(attempts=1))
    project = Project("prj_x", "x", None, None, None, None, "", "")
    variable = Variable("env_x", "X", ("production",), (), "encrypted", "", None, True)
    return _ask_all(
        data, api.project, lambda: api.production(project), lambda: api.deployment("dpl_x"),
        lambda: api.deployments(project, most=10), api.variables, lambda: api.value(variable),
    )  # fmt: skip


@target()
def github_api(data: bytes) -> object:
    from opsctl.adapters.github import GithubApi
    from opsctl.adapters.github_pulls import GithubPulls
    from opsctl.adapters.rest import Patience
    from opsctl.core.settings import Github

    settings = Github(repository="example/app", token=_TOKEN, api=_vendor().address)
    api = GithubApi(settings, patience=Patience(attempts=1))
    pulls = GithubPulls(settings, patience=Patience(attempts=1))
    return _ask_all(
        data, api.repository, api.secrets, api.dependabot_secrets, api.variables,
        lambda: api.public_key(None), lambda: pulls.protection("main"),
        lambda: pulls.pulls_from("fix"),
    )  # fmt: skip


@target()
def supabase_api(data: bytes) -> object:
    from datetime import UTC, datetime, timedelta

    from opsctl.adapters import supabase_health, supabase_platform, supabase_project
    from opsctl.adapters.rest import Patience
    from opsctl.adapters.supabase_gateway import read_key_use
    from opsctl.adapters.supabase_keys import SupabaseKeys
    from opsctl.adapters.supabase_signing import SigningKeys
    from opsctl.core.settings import Supabase

    once = Patience(attempts=1)
    project = Supabase(ref="a" * 20, access_token=_TOKEN, api=_vendor().address)
    keys, signing = SupabaseKeys(project, patience=once), SigningKeys(project, patience=once)
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return _ask_all(
        data, keys.keys, keys.hashes, lambda: keys.value("secret", "x"), keys.legacy_enabled,
        signing.keys, signing.token_lifetime_s,
        lambda: supabase_platform.read_platform_backups(project),
        lambda: supabase_platform.read_point(project, "x"),
        lambda: supabase_project.read_disk(project),
        lambda: supabase_project.read_auth_config(project),
        lambda: supabase_health.read_services(project),
        lambda: read_key_use(project, since=now - timedelta(hours=1), until=now, patience=once),
    )  # fmt: skip


@target()
def slack_api(data: bytes) -> object:
    from opsctl.adapters.slack import SlackChannel
    from opsctl.core.settings import Channels

    settings = Channels(slack=_TOKEN, slack_channel="C0123456", slack_api=_vendor().address)
    by_name = Channels(slack=_TOKEN, slack_channel="#ops", slack_api=_vendor().address)

    def channel(given: Channels = settings) -> SlackChannel:
        return SlackChannel(given, sleep=lambda seconds: None)

    return _ask_all(
        data, lambda: channel().find("mark", since=0), lambda: channel().post("text"),
        lambda: channel().find_reply("mark", thread="1.0"), lambda: channel().scheduled(""),
        lambda: channel(by_name).post("text"),
    )  # fmt: skip


@target()
def statuspage_api(data: bytes) -> object:
    from opsctl.adapters.statuspage import read_status_page
    from opsctl.adapters.statuspage_incidents import read_incidents
    from opsctl.adapters.statuspage_own import OwnStatusPage
    from opsctl.core.settings import Channels

    address = _vendor().address
    settings = Channels(statuspage=_TOKEN, statuspage_page="x", statuspage_api=address)
    page = OwnStatusPage(settings, sleep=lambda seconds: None)
    return _ask_all(
        data, lambda: page.find("inc-1"), lambda: read_status_page(address),
        lambda: read_incidents(address),
    )  # fmt: skip


@target()
def http_server(data: bytes) -> object:
    """Feed what every client does with a whole answer: status line, headers, any body."""
    from opsctl.adapters.http import fetch_all
    from opsctl.adapters.rest import Patience, Rest
    from opsctl.adapters.served_page import read_served
    from opsctl.adapters.slack import SlackChannel
    from opsctl.core.settings import Channels, HealthEndpoint

    address = _vendor().address
    once = Patience(attempts=1, longest_pause_s=0)
    rest = Rest("X", "x", address, _TOKEN, "x", {}, patience=once)
    slack = Channels(slack=_TOKEN, slack_channel="C0123456", slack_api=address)
    endpoint = HealthEndpoint(name="x", url=address, status=200, timeout_s=5)
    return _ask_all(
        data, lambda: rest.get("/x"), lambda: list(rest.linked_pages("/x", {})),
        lambda: read_served(address), lambda: fetch_all([endpoint]),
        lambda: SlackChannel(slack, sleep=lambda seconds: None).post("text"), whole=True,
    )  # fmt: skip


# ---- PostgreSQL: its protocol, catalogs, archives, logs --------------------------------------


@target(OpsError)
def pg_protocol(data: bytes) -> object:
    """Feed what a server says to a sign-in and to a question afterwards."""
    from opsctl.adapters.pg_startup import sign_in
    from opsctl.adapters.pg_target import Target as Server
    from opsctl.adapters.vitals import ask_questions

    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            theirs.send(data)
        theirs.shutdown(socket.SHUT_WR)
        server = Server(host="localhost", port=5432, user="u", database="d",
                        password="p" + "w", sslmode="disable")  # fmt: skip
        found = sign_in(server, ours, timeout_s=2.0)
        ours.close()
        if found.wire is not None:
            found.wire.over, other = socket.socketpair()
            with found.wire.over, other:
                other.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    other.send(data)
                other.shutdown(socket.SHUT_WR)
                return ask_questions(found.wire, {"x": "SELECT 1"}, major=found.major)
    return found.ending


@target(ValueError)
def scram(data: bytes) -> object:
    from opsctl.adapters.scram import ScramClient, prepare_password

    client = ScramClient("pass" + "word")
    prepare_password(text_of(data)[:200])
    client.confirms(data)
    # The nonce is ours and made up anew each time: only with it is there more to read.
    return client.proof(data.replace(b"NONCE", client._nonce.encode()))


@target(OpsError)
def pg_archive(data: bytes) -> object:
    from opsctl.adapters.pg_archive import file_names, is_data_file, read_archive

    return [name for name in file_names(read_archive(data)) if not is_data_file(name)]


@target(OpsError)
def large_object_list(data: bytes) -> object:
    from opsctl.adapters.pg_archive import ArchiveEntry, check_large_object_lists

    path = written("blobs/blobs.toc", data)
    entry = ArchiveEntry(1, "BLOBS", "BLOBS", "", "", "blobs.toc")
    return check_large_object_lists(path.parent, [entry])


@target()
def pg_programs(data: bytes) -> object:
    from opsctl.adapters.pg_archive import _digest, table_of
    from opsctl.adapters.postgres import parse_entry

    lines = text_of(data).splitlines()
    return [(table_of(line), parse_entry(line)) for line in lines], _digest(lines)


@target(OpsError)
def backup_manifest(data: bytes) -> object:
    """Feed a manifest as it is, and with the digest that it would have been written with."""
    from opsctl.adapters import backup_manifest as manifest

    with contextlib.suppress(OpsError):
        manifest.read_manifest(data, backup="20261126-020000-abcd")
    raw = object_of(data)
    raw.pop("sha256", None)
    sealed = json.dumps({**raw, "sha256": manifest._digest(raw)}).encode()
    return manifest.read_manifest(sealed, backup=str(raw.get("id")))


@target(ValueError)
def backup_catalog(data: bytes) -> object:
    """Feed a catalog as it is, and packed."""
    from opsctl.adapters.backups import unpack_catalog

    with contextlib.suppress(ValueError):
        unpack_catalog(data)
    return unpack_catalog(gzip.compress(data, 1))


@target(ValueError)
def node_tree(data: bytes) -> object:
    from opsctl.areas.rls_smoke.node_tree import parse_node_tree, without_noise
    from opsctl.areas.rls_smoke.tree_shapes import (
        arms,
        bare,
        columns,
        constants,
        escapes,
        levels,
        mentions,
        never,
        no_filter,
    )  # fmt: skip

    text = text_of(data)
    constants(text)
    root = parse_node_tree(without_noise(text))
    for node in root.all():
        bare(node), never(node), columns(node), arms(node, "or"), no_filter(node)
        escapes(node), mentions(node, 1), node.number("x"), node.word("x")
    return list(levels(root))


@target()
def sql_script(data: bytes) -> object:
    from opsctl.adapters import sql
    from opsctl.areas.slowquery.statements import fingerprint, is_control, shown

    text = text_of(data)
    for statement in sql.split_statements(text):
        sql.plainly_dropped_tables(statement)
        fingerprint(statement), is_control(statement), shown(statement)
    sql.without_comments(text)
    sql.needs_no_transaction(text)
    assert sql.quote_identifier(text).count('"') % 2 == 0
    return sql.join_script(sql.in_one_transaction(text)[0])


@target()
def sql_body(data: bytes) -> object:
    """Feed what the database says functions are made of."""
    from opsctl.areas.rls_smoke import lint_bodies
    from opsctl.areas.rls_smoke.expressions import is_true_body

    text = text_of(data)
    for pattern in (lint_bodies._ASKS, lint_bodies._ASKS_WHO, lint_bodies._CALLED,
                    lint_bodies._READ):  # fmt: skip
        pattern.findall(text)
    return is_true_body(text)


@target(OpsError)
def server_log(data: bytes) -> object:
    from opsctl.adapters.server_log import read_server_log

    return read_server_log(written("postgresql.log", data))


@target(OpsError)
def csv_file(data: bytes) -> object:
    from opsctl.areas.restore.csv_files import read_csv

    path = written("rows.csv", data)
    found = read_csv(f"public.users={path}", root=folder())
    found.wrong("invalid input", text_of(data))
    found.check(found.columns, set(), set())
    return list(found.chunks())


@target(OpsError)
def migrations(data: bytes) -> object:
    from opsctl.adapters import prisma, supabase
    from opsctl.adapters.migrations import forget_row_sql

    written("migrations/20260101000000_first/migration.sql", data)
    written("migrations/20260101000000_first.sql", data)
    forget_row_sql("public", "x", key="id", value=text_of(data))
    return prisma.read_directory(folder() / "migrations"), supabase.read_directory(
        folder() / "migrations"
    )


# ---- what opsctl itself keeps: journal, history, caches ---------------------------------------


@target(ValueError)
def health_day(data: bytes) -> object:
    """Feed a packed day as it is, and with its columns packed as they are kept."""
    from opsctl.adapters.health_day import _HEAD, unpack, unpack_times

    packed = data
    if len(data) > _HEAD.size and data[:1] != b"\x01":
        packed = b"\x01" + data[1 : _HEAD.size] + zlib.compress(data[_HEAD.size :], 1)
    with contextlib.suppress(ValueError):
        unpack_times(packed)
    return unpack(packed, 20_000)


@target(ValueError)
def latency_sketch(data: bytes) -> object:
    from opsctl.adapters.latency_sketch import LatencySketch

    sketch = LatencySketch.from_bytes(data)
    whole = LatencySketch([1.0, 20.0])
    whole.merge(sketch)
    return sketch.quantile_ms(0.95), sketch.count_above(100.0), whole.buckets(), whole.to_bytes()


@target(OpsError)
def slowquery_snapshot(data: bytes) -> object:
    """Feed a snapshot as it is, and packed; and a baseline."""
    from opsctl.adapters.snapshots import SnapshotStore, Stored
    from opsctl.areas.slowquery.baseline import is_baseline

    store = SnapshotStore(folder(), "staging")
    for content in (data, gzip.compress(data, 1)):
        path = written("snapshot.json.gz", content)
        with contextlib.suppress(OpsError):
            store.read(Stored(path, 0.0))
    written(".opsctl/slowquery/staging/baselines/usual.json.gz", gzip.compress(data, 1))
    found = store.read_baseline("usual")
    return None if found is None else is_baseline(found)


@target(OpsError)
def journal(data: bytes) -> object:
    """Feed the data of a run's first event, as somebody may have changed it in the file."""
    from opsctl.adapters.journal_runs import JournalRuns
    from opsctl.cli.journal_audit import audit_report, export_report
    from opsctl.engine.store import SqliteJournal

    path = folder() / "journal.db"
    path.unlink(missing_ok=True)
    store = SqliteJournal(path)
    store.append("run-1", "planned", step=None, actor="a@b", data={"plan": {}})
    store.append("run-1", "started", step="s", actor="a@b", data={})
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER event_no_update")
        connection.execute("UPDATE event SET data = ? WHERE seq = 1", (text_of(data),))
    audit_report(store, head=None)
    export_report(store, run=None)
    with contextlib.suppress(OpsError):
        JournalRuns(path).of("staging")
    with contextlib.suppress(OpsError):
        _engine(store).runs()
    return _engine(store).plan_of("run-1")


def _engine(store: Any) -> Any:
    from opsctl.engine.lock import FileLocks
    from opsctl.engine.run import Engine

    nobody: Any = None
    return Engine(store, FileLocks(folder() / "locks"), actor="a", person=nobody, watcher=nobody)


@target(OpsError)
def incident_events(data: bytes) -> object:
    """Feed the data of events that fit their hashes: a team's database takes what it is given."""
    from opsctl.adapters.incidents import IncidentEvent, IncidentStore
    from opsctl.areas.incident.facts import made_of

    document = object_of(data)
    path = folder() / "incidents.db"
    path.unlink(missing_ok=True)
    store = IncidentStore(path)
    for number, kind in enumerate(("opened", str(document.get("kind", "updated")))):
        try:
            store.add(IncidentEvent("inc-1", f"e{number}", "staging", kind, 1, "a@b", document))
        except UnicodeEncodeError:
            raise NotOurs from None
    return made_of(store.of("inc-1"))


@target(OpsError)
def maintenance_record(data: bytes) -> object:
    from opsctl.adapters.maintenance_events import MaintenanceEvent
    from opsctl.areas.maintenance.facts import windows_of
    from opsctl.areas.maintenance.icalendar import calendar

    document = object_of(data)
    kind = str(document.get("kind", "moved"))
    events = [MaintenanceEvent("staging", f"e{n}", "w1", each, 1, "a@b", document)
              for n, each in enumerate(("planned", kind))]  # fmt: skip
    return calendar(windows_of(events), environment="staging")


@target(OpsError)
def lock_file(data: bytes) -> object:
    from opsctl.engine.lock import holder_of, is_alive, locked

    written("locks/staging.lock", data)
    holder = holder_of(folder() / "locks", "staging")
    if holder is not None:
        is_alive(holder)
        raise locked("staging", holder)
    return None


@target(OpsError)
def small_records(data: bytes) -> object:
    """Feed what every command looks at first: the incidents' clock, a drill's notes."""
    from opsctl.adapters.incident_clock import write_clock
    from opsctl.core.start_banner import overdue
    from opsctl.sandbox.drills import Drills

    root = folder() / "project"
    written("project/.opsctl/incident-clock", data)
    lines = overdue(str(root), now=2e9)
    assert all(line.isprintable() for line in lines)
    write_clock(root, "staging", [(1.0, "an update")])
    written("project/.opsctl/drills/d.json", data)
    drill = Drills(root).newest()
    written("project/.opsctl/drills/now", data)
    return None if drill is None else Drills(root).typed(drill)


@target(OpsError)
def caches(data: bytes) -> object:
    """Feed every cache: a damaged one is as good as none."""
    from opsctl.adapters.bundle_sizes import SizeCache
    from opsctl.areas.bundle_check.base import _parse
    from opsctl.areas.diagnose.performance_facts import _bundle

    path = written("cache.json", data)
    SizeCache.load(path)
    _bundle(path, "abc")
    return _parse(text_of(data), "base")


@target(KeyError, TypeError)
def alert_state(data: bytes) -> object:
    from opsctl.areas.healthcheck.alerts import from_kept

    return from_kept(json_of(data), ahead_s=0.0)


# ---- files of a project: packages, bundles, status pages --------------------------------------


@target()
def project_signs(data: bytes) -> object:
    from opsctl.adapters.project_signs import read_signs

    root = folder() / "signs"
    for name in ("package.json", ".vercel/project.json", "vercel.json", "supabase/config.toml",
                 "supabase/.temp/project-ref", "prisma/schema.prisma", ".env", ".git/config",
                 "app/api/health/route.ts"):  # fmt: skip
        written(f"signs/{name}", data)
    return read_signs(root)


@target(OpsError)
def package_tools(data: bytes) -> object:
    from opsctl.adapters.packages import read_advisories, read_outdated

    document = object_of(data)
    for tool in ("npm", "pnpm"):
        with contextlib.suppress(OpsError):
            read_outdated(document, tool)
        with contextlib.suppress(OpsError):
            read_advisories(document, tool)
    return None


@target(OpsError)
def next_build(data: bytes) -> object:
    """Feed one text as every manifest of a build of Next.js."""
    from opsctl.adapters.next_build import read_next_build

    names = (
        "build-manifest.json", "app-path-routes-manifest.json", "prerender-manifest.json",
        "routes-manifest.json", "server/app-paths-manifest.json", "server/app/page.js",
        "server/app/page_client-reference-manifest.js", "server/app/index.html",
        "server/pages/index.html", "static/chunks/main.js",
    )  # fmt: skip
    for name in names:
        written(f"next/{name}", data)
    return read_next_build(folder() / "next")


@target()
def html_page(data: bytes) -> object:
    from opsctl.adapters.bundle_html import read_html_build, tags_of
    from opsctl.adapters.served_page import _scripts_of

    text = text_of(data)
    list(tags_of(text))
    list(_scripts_of(text))
    written("html/index.html", data)
    written("html/main.js", data)
    written("html/.vite/manifest.json", data)
    return read_html_build(folder() / "html")


@target(OpsError)
def bundle_globs(data: bytes) -> object:
    from opsctl.adapters.bundle_html import read_globs

    written("html/main.js", b"1")
    return read_globs(folder() / "html", {"/": tuple(text_of(data).split("\n")[:3])})


@target(ValueError)
def source_map(data: bytes) -> object:
    from opsctl.adapters.bundle_packages import package_of
    from opsctl.adapters.bundle_sourcemap import modules_of

    sizes = modules_of(b"a();b();\nc()\n" * 50, data, place="static/main.js.map")
    return [package_of(name) for name in sizes]


@target(OpsError)
def bundle_stats(data: bytes) -> object:
    from opsctl.adapters.bundle_build import Build
    from opsctl.adapters.bundle_modules import read_stats

    build = Build("x", folder(), (), ("main.js", "static/other.js"))
    return read_stats(written("stats.json", data), build)


@target(ValueError)
def certificate(data: bytes) -> object:
    from opsctl.adapters.certificate import read_certificate

    return read_certificate(data)


@target()
def metrics_page(data: bytes) -> object:
    from opsctl.adapters.supabase_health import read_machine

    return read_machine(text_of(data))


@target(OpsError)
def status_file(data: bytes) -> object:
    from opsctl.adapters.incidents import IncidentEvent
    from opsctl.areas.incident.facts import made_of
    from opsctl.areas.incident.status_file import read_status_file, write_status_file

    path = written("status.html", data)
    read_status_file(path)
    incident = made_of([IncidentEvent("inc-1", "e", "staging", "opened", 1, "a", {"title": "x"})])
    write_status_file(path, incident, ())
    return read_status_file(path)


# ---- git and secrets ---------------------------------------------------------------------------


@target(OpsError)
def git_output(data: bytes) -> object:
    from opsctl.adapters.git_objects import GitFailed, _changes
    from opsctl.areas.secrets_scan.git_reading import _without_signature, header_of

    _without_signature(data)
    for line in data.splitlines():
        header_of(line)
    with contextlib.suppress(GitFailed):
        _changes(iter(data.split(b"\0")))
    return None


def _not_scanned() -> type[Exception]:
    from opsctl.adapters.secret_scanner.reading import NotScanned

    return NotScanned


@cache
def _patterns() -> Any:
    from opsctl.adapters.secret_scanner.patterns import load_patterns

    return load_patterns(())


@target(_not_scanned())
def scanned_file(data: bytes) -> object:
    from opsctl.adapters.secret_scanner.scanner import Scanner
    from opsctl.adapters.secret_scanner.sighting import Place

    path = written("scanned.env", data)
    return Scanner(_patterns()).scan_file(str(path), Place("scanned.env"))
