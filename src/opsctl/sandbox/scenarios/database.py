"""Scenarios of the database itself: it is slow, it is down, its rows are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from opsctl.sandbox.scenarios.scenario import Look, Scenario

if TYPE_CHECKING:
    from opsctl.sandbox.world import World

_HEALTH = Look("opsctl healthcheck run --env sandbox", about="^(health|selftest) ")
_INDEX = "CREATE INDEX audit_log_what ON public.audit_log (what)"
_BREAK = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'audit_log_what'::regclass"
_REPORT = (
    "SELECT i.number, (SELECT max(a.at) FROM public.audit_log a "
    "WHERE a.what = 'INSERT invoice ' || i.number) FROM public.invoices i ORDER BY i.id LIMIT 250"
)
_CALLS = 6


def _index(world: World) -> None:
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute(_INDEX)
        connection.execute("ANALYZE public.audit_log")


def _invalidate(world: World) -> None:
    """Leave the index as one that was built CONCURRENTLY and cut off: there, and of no use."""
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute(_BREAK)
    _open_reports(world)


def _open_reports(world: World) -> None:
    """Have people open the report that uses the index, with counters that begin anew."""
    with psycopg.connect(world.database_url, autocommit=True, application_name="web") as connection:
        connection.execute("SELECT extensions.pg_stat_statements_reset()")
        for _ in range(_CALLS):
            connection.execute(_REPORT)


SLOW_QUERY = Scenario(
    name="slow-query",
    title="A page waits for the database",
    told="The report on invoices took no time at all yesterday; today people wait for it.",
    runbook="slowquery",
    hints=(
        "Which statement is slow? opsctl slowquery --since start --env sandbox",
        "It reads a whole table although there is an index. What is wrong with the index? "
        "opsctl diagnose db --env sandbox",
        "It is invalid: have it built anew: "
        "opsctl diagnose db --fix --only invalid-index --env sandbox",
    ),
    solution=(
        "opsctl slowquery check --since start --env sandbox",
        "opsctl diagnose db --env sandbox",
        "opsctl diagnose db --fix --only invalid-index --env sandbox --yes",
    ),
    looks=(
        Look("opsctl slowquery check --since start --env sandbox", before=_open_reports),
        Look("opsctl diagnose db --env sandbox", about="^(Indexes|Invalid|Sign-in)"),
    ),
    prepare=_index,
    strike=_invalidate,
)


def _stop(world: World) -> None:
    world.stop_database()


DATABASE_DOWN = Scenario(
    name="database-down",
    title="The database does not answer",
    told="Nothing works. Every page shows an error.",
    runbook="troubleshooting",
    hints=(
        "What do the health endpoints say? opsctl healthcheck run",
        "How far does a connection come? opsctl diagnose db --env sandbox",
        "Nobody listens at its port: the server is down. Start it: opsctl sandbox up",
    ),
    solution=(
        "opsctl diagnose db --env sandbox",
        "opsctl sandbox up --env sandbox",
    ),
    looks=(
        Look("opsctl diagnose db --env sandbox"),
        Look("opsctl healthcheck run --env sandbox", about="^(health |The database answers)"),
    ),
    strike=_stop,
    well_before=False,
)


def _destroy(world: World) -> None:
    world.write_rows()
    world.destroy()


LOST_DATA = Scenario(
    name="lost-data",
    title="Rows and a table are gone",
    told="Somebody ran a script against the wrong database. "
    "The list of companies looks strange, and invoices answer an error.",
    runbook="restore",
    hints=(
        "What is gone? opsctl healthcheck run, and look at what is there.",
        "Which backups are there? opsctl backup list --env sandbox",
        "Restore beside the old database, then swap: "
        "opsctl restore db --env sandbox --confirm sandbox",
    ),
    solution=(
        "opsctl healthcheck run --env sandbox",
        "opsctl backup list --env sandbox",
        "opsctl restore db --env sandbox --confirm sandbox",
    ),
    looks=(_HEALTH,),
    strike=_destroy,
    backed_up=True,
    unchanged=True,
)
