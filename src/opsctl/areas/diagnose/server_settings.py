"""Judge the server's settings that bite: each with what it bites."""

from __future__ import annotations

from opsctl.adapters.vitals import Vitals
from opsctl.areas.diagnose.findings import green, note, red, several, yellow
from opsctl.areas.diagnose.sessions import unread
from opsctl.core.report import Finding

_RED = {
    ("fsync", "off"): "a crash of the machine can destroy the database",
    ("full_page_writes", "off"): "a crash of the machine can destroy pages",
    ("zero_damaged_pages", "on"): "damaged pages are silently emptied",
    ("ignore_checksum_failure", "on"): "damaged pages are read as if they were well",
    ("ignore_system_indexes", "on"): "the server reads its catalogs without indexes",
    ("autovacuum", "off"): "dead rows and transaction ids pile up until the server stops",
    ("track_counts", "off"): "autovacuum does not know where to work",
    ("default_transaction_read_only", "on"): "nothing can be written; Supabase does so when the "
    "disk is full",
}
_YELLOW = {
    ("track_activities", "off"): "nobody can see what sessions do",
    ("log_statement", "all"): "every statement is logged, secrets within it, too",
    ("log_duration", "on"): "every statement is logged",
    ("password_encryption", "md5"): "new passwords are kept as md5, which is broken",
    ("synchronous_commit", "off"): "a crash loses the last commits, though nothing breaks",
}
_NOTES = {
    ("idle_in_transaction_session_timeout", "0"): "a client that hangs keeps its locks for ever",
}


def judge_settings(vitals: Vitals) -> list[Finding]:
    """Return the findings, the gravest first."""
    if found := unread(vitals, "settings", "settings", "Settings"):
        return found
    rows = vitals.rows("settings")
    values = {(str(row["name"]), str(row["setting"])): str(row["source"]) for row in rows}
    for colour, table in ((red, _RED), (yellow, _YELLOW), (note, _NOTES)):
        for (name, value), bites in table.items():
            if (name, value) not in values:
                continue
            hint = _how_to_change(name, values[name, value])
            found.append(
                colour("setting", f"{name} is {value}: {bites}", next=hint,
                       saw=f"set by: {values[name, value]}")
            )  # fmt: skip
    pending = [str(row["name"]) for row in rows if row["pending"]]
    if pending:
        found.append(
            note(
                "setting",
                "Settings wait for a restart of the server",
                saw=", ".join(pending),
                next="restart it when that is meant",
            )
        )
    if not any(each.severity.value != "note" for each in found):
        found.insert(0, green("setting", "Settings: none that bites"))
    return [*found, *_extensions(vitals)]


def _how_to_change(name: str, source: str) -> str:
    if source == "default":
        return f"alter role NAME set {name} = '5min'"
    if source == "database":
        return f"alter database NAME reset {name}"
    if source in ("user", "database user"):
        return f"alter role NAME reset {name}"
    return f"alter system reset {name}; select pg_reload_conf()"


def _extensions(vitals: Vitals) -> list[Finding]:
    rows = vitals.rows("extensions")
    if not rows:
        return []
    saw = ", ".join(f"{row['name']} {row['installed']} < {row['newest']}" for row in rows)
    title = f"{several(len(rows), 'extension')} with a newer version here"
    return [note("extensions", title, saw=saw, next=f"alter extension {rows[0]['name']} update")]
