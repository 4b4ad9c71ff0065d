"""Why a sign-in was refused, told by SQLSTATE and by the server's own routine, never by text."""

from __future__ import annotations

from opsctl.areas.diagnose.facts import Way
from opsctl.areas.diagnose.findings import red
from opsctl.core.report import Finding

_BY_ROUTINE = {
    ("28000", "InitializeSessionUserId"): (
        "There is no such role, or it may not log in",
        "select rolname, rolcanlogin from pg_roles; is the user in the URL spelled right?",
    ),
    ("53300", "InitializeSessionUserId"): (
        "The role has no free connection: its own limit is reached",
        "alter role NAME connection limit N; or use the pooler",
    ),
    ("53300", "CheckMyDatabase"): (
        "The database has no free connection: its own limit is reached",
        "alter database NAME connection limit N; or use the pooler",
    ),
    ("42501", "CheckMyDatabase"): (
        "The role may not connect to this database",
        "grant connect on database NAME to ROLE",
    ),
    ("55000", "CheckMyDatabase"): (
        "The database accepts no connections",
        "is a restore under way? alter database NAME allow_connections true",
    ),
}
"""(SQLSTATE, routine) -> (title, next)."""

_BY_STATE = {
    "28P01": (
        "The password was refused",
        "is the password in the URL the role's, and does the role exist? The server does not say "
        "which. On Supabase it can be set anew: Project Settings, Database",
    ),
    "28000": (
        "The server does not let this role in from here (pg_hba.conf, network restrictions)",
        "does it want TLS (sslmode=require)? Is this machine's address allowed?",
    ),
    "3D000": (
        "There is no such database on the server",
        "select datname from pg_database; on Supabase it is called postgres",
    ),
    "53300": (
        "The server is full: every connection is taken",
        "close what you can: stop a deployment, use the pooler; then opsctl diagnose db says who "
        "holds them",
    ),
    "57P03": (
        "The server is starting up, shutting down or recovering",
        "wait a minute and run it again; does it restart over and over? Look at its log",
    ),
    "08P01": (
        "A pooler refused the sign-in",
        "does it know this user, password and database? Its message says which",
    ),
    "57P01": ("The server is being shut down", "who stops it? Wait and run it again"),
    "57P02": ("The server has crashed and restarts", "look at its log: was it out of memory?"),
    "53200": ("The server is out of memory", "what is running? Restart it, or give it more"),
    "53100": ("The server's disk is full", "free or enlarge the disk; do not delete pg_wal"),
}


def refused(way: Way) -> Finding:
    """Return the finding on a refused sign-in; its evidence is the server's message."""
    signed_in, target = way.signed_in, way.target
    if signed_in is None or signed_in.refusal is None or target is None:
        raise TypeError("the sign-in was not refused")
    refusal = signed_in.refusal
    key = (refusal.sqlstate, refusal.routine)
    title, hint = _BY_ROUTINE.get(key) or _BY_STATE.get(refusal.sqlstate) or _other(way)
    saw = f"{refusal.said} [{refusal.sqlstate}]"
    return red(
        "sign-in",
        title,
        saw=f"{target.user} on {target.database}: {saw}",
        next=hint,
        where=target.where,
    )


def _other(way: Way) -> tuple[str, str]:
    if way.by_convention in ("session", "transaction"):
        return (
            "The pooler refused the sign-in",
            "is the user ROLE.PROJECT_REF, and the host the one of the project's region? In "
            "session mode a pooler has as many clients as its pool is large",
        )
    return "The server refused the sign-in", "look at its log: it says more there"
