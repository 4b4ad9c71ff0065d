"""A plan, a report and an error that use every part, for whole documents."""

from __future__ import annotations

import pytest

from opsctl.core.action import Probe, Query
from opsctl.core.errors import Exit, OpsError
from opsctl.core.plan import Irreversible, Loss, Plan, Step, Undo
from opsctl.core.report import Finding, Location, Report, Severity, Status, Table


@pytest.fixture
def plan() -> Plan:
    query = Query("env:DATABASE_URL", ("select 1",))
    probe = Probe(query)
    sql = "\n".join(
        [
            "create schema if not exists opsctl_stash;",
            "alter table public.invoices set schema opsctl_stash;",
            *(f"select {index};" for index in range(8)),
        ]
    )
    return Plan(
        command="rollback db",
        environment="production",
        protected=True,
        title="Roll back 1 migration",
        steps=(
            Step("prove", "Prove the down SQL", "verify", check=probe),
            Step(
                "backup",
                "Back the database up",
                "verify",
                action=query,
                check=probe,
                undo=Irreversible("a backup is kept"),
            ),
            Step(
                "apply",
                "Apply the down SQL",
                "verify",
                action=query,
                check=probe,
                undo=Undo("Apply it again", query, probe),
                detail=(sql,),
            ),
        ),
        losses=(
            Loss("table", "public.invoices", 12043, None, "table opsctl_stash.invoices"),
            Loss("value", "enum public.state", None, 3, ""),
        ),
        notes=("The newest backup is 31 h old.",),
        estimate_s=42,
    )


@pytest.fixture
def report() -> Report:
    return Report(
        command="healthcheck run",
        title="Health",
        environment="production",
        findings=(
            Finding("endpoint", "/api/health answers 200", Status.OK, took_ms=43.2),
            Finding("slow", "Slow", Status.FAILED, Severity.WARNING, evidence="612 ms"),
            Finding("database", "Connections", Status.UNKNOWN, hint="set DATABASE_URL"),
            Finding(
                "endpoint",
                "/api/selftest answers 200",
                Status.FAILED,
                evidence="HTTP 503, 100% down",
                location=Location(path="app/a,b.ts", line=3, column=7),
                hint="opsctl diagnose",
                took_ms=1520,
            ),
        ),
        tables=(Table("Endpoints", ("name", "took"), (("health", "43 ms"), ("self", "1520 ms"))),),
        notes=("Run it again.",),
        data={"endpoints": 2, "share": float("nan")},
    )


@pytest.fixture
def error() -> OpsError:
    return OpsError(
        "Nothing was changed",
        why="nobody could be asked",
        hint="opsctl rollback db --yes",
        code="not-confirmed",
        exit=Exit.REFUSED,
    )
