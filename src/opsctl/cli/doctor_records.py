"""What `opsctl doctor` looks at in opsctl's own records: state, locks, unfinished runs, backups."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from opsctl.cli.doctor_findings import (
    Look,
    Patient,
    doubtful,
    of_error,
    unneeded,
    well,
    wrong,
)
from opsctl.cli.doctor_team import team
from opsctl.core.call import Call
from opsctl.core.errors import OpsError
from opsctl.core.report import Finding


def record_looks(patient: Patient) -> dict[str, Look]:
    """Return the looks at the records by name; without settings there are none."""
    call = patient.call
    if call is None:
        return {}
    where = call.state
    looks: dict[str, Look] = {"runs": lambda: runs(call)}
    if isinstance(where, Path):
        looks |= {"state": lambda: state(where), "locks": lambda: locks(call)}
    else:
        looks["state"] = lambda: team(call, where)
    chosen = patient.chosen
    if chosen is not None:
        looks["backups"] = lambda: backups(chosen)
    return looks


def state(where: Path) -> tuple[Finding, ...]:
    """Judge whether the journal can be written, and whether SQLite finds it whole."""
    if not where.exists():
        folder = next(each for each in where.parents if each.exists())
        if not os.access(folder, os.W_OK):
            return (
                wrong(
                    "state",
                    "The journal could not be made",
                    evidence=f"{folder} may not be written",
                    remedy=f"sudo chown {os.environ.get('USER', '$USER')} {folder}, or set "
                    "`state` to a file of yours",
                ),
            )
        return (well("state", "There is no journal yet", str(where)),)
    if not os.access(where, os.W_OK):
        return (
            wrong(
                "state",
                "The journal may not be written",
                evidence=str(where),
                remedy=f"sudo chown {os.environ.get('USER', '$USER')} {where}",
            ),
        )
    try:
        with closing(sqlite3.connect(f"{where.resolve().as_uri()}?mode=ro", uri=True)) as database:
            said = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        return (
            wrong(
                "state",
                "The journal is damaged",
                evidence=f"{where}: {said}",
                remedy=f"keep it aside: mv {where} {where}.damaged",
            ),
        )
    return (well("state", "The journal is whole and can be written", str(where)),)


def locks(call: Call) -> tuple[Finding, ...]:
    """Name each environment whose lock was left by a holder that is gone."""
    from opsctl.cli.state_seam import open_locks

    found = []
    lock = open_locks(call.state)
    for name in call.settings.environments:
        holder = lock.holder_of(name)
        if holder is None:
            continue
        if lock.is_alive(holder):
            found.append(well("locks", f"{name} is held, and its holder lives", str(holder)))
        else:
            found.append(
                doubtful(
                    "locks",
                    f"The lock on {name} was left by a holder that is gone",
                    evidence=str(holder),
                    remedy=f"opsctl runs unlock {holder.id} --env {name}",
                )
            )
    return tuple(found) or (well("locks", "No environment is locked"),)


def runs(call: Call) -> tuple[Finding, ...]:
    """Name each run that stopped part-way, and each that waits for somebody's approval."""
    from opsctl.cli.change import actor, open_engine
    from opsctl.cli.waiting import waiting_runs

    engine = open_engine(call)
    try:
        everything = engine.runs()
        waiting = waiting_runs(engine, everything)
    except OpsError as error:
        return (of_error("runs", "The runs were not read", error),)
    undone = {run.undoes for run in everything if run.undoes and run.state == "finished"}
    open_ones = [
        run for run in everything if run.state in ("stopped", "unknown") and run.run not in undone
    ]
    found = [
        doubtful(
            "runs",
            f"Run {run.run} of {'yours' if run.actor == actor() else run.actor} stopped part-way",
            evidence=f"{run.environment}: opsctl {run.command}, {run.state}",
            remedy=f"opsctl runs show {run.run}; then opsctl runs resume {run.run} or undo",
        )
        for run in open_ones
    ]
    if not found:
        found.append(well("runs", "No run stopped part-way", f"{len(everything)} runs"))
    found += [
        doubtful("approvals", each.title, evidence=each.evidence, remedy=each.remedy)
        for each in waiting
    ]
    return tuple(found)


def backups(call: Call) -> tuple[Finding, ...]:
    """Judge the place of the backups and the age of the newest."""
    from opsctl.adapters.backup_list import age_h, read_backups, utc_now
    from opsctl.adapters.stores import open_store

    if call.environment.database is None:
        return (unneeded("backups", "No backups are looked for", "no database in the settings"),)
    settings = call.environment.backup
    try:
        store = open_store(
            settings.to, root=call.root, environment=call.name, storage=settings.storage
        )
        known = read_backups(store)
    except OpsError as error:
        return (of_error("backups", "The place of the backups was not read", error),)
    whole = [each.manifest for each in known if each.manifest is not None]
    if not whole:
        return (
            doubtful(
                "backups",
                "There is no backup yet",
                evidence=f"none in {settings.to}",
                remedy="opsctl backup create; then opsctl backup verify",
            ),
        )
    age = age_h(whole[0], utc_now())
    limit = call.environment.limits.backup_age_h
    if age > limit:
        return (
            doubtful(
                "backups",
                "The newest backup is old",
                evidence=f"{age:.1f} h; limits.backup_age_h is {limit:g}",
                remedy="opsctl backup create; opsctl backup verify",
            ),
        )
    if not any(each.verified for each in known):
        return (
            doubtful(
                "backups",
                "No backup was verified",
                evidence=f"{len(whole)} in {settings.to}",
                remedy="opsctl backup verify",
            ),
        )
    return (well("backups", "Backups are fresh", f"newest {age:.1f} h old"),)
