"""Do what `diagnose` was asked: gather, judge, and plan what can be mended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsctl.areas.diagnose.auth_checks import judge_auth
from opsctl.areas.diagnose.auth_facts import gather_auth
from opsctl.areas.diagnose.checks import judge
from opsctl.areas.diagnose.facts import gather
from opsctl.areas.diagnose.plan import FIXABLE, Choices, fix_plan
from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan
    from opsctl.core.report import Report


def diagnose_database(call: Call, *, fix: bool, only: tuple[str, ...]) -> Report | Plan:
    """Return what is wrong with the database, or with `fix` the plan that mends what can be.

    Where nothing can be mended safely, `fix` gives the report, too.
    """
    if (only and not fix) or not set(only) <= set(FIXABLE):
        raise OpsError(
            "diagnose db cannot mend that" if fix else "--only was given without --fix",
            why=f"with --fix it can mend {', '.join(FIXABLE)}",
            hint="opsctl diagnose db --fix",
            code="not-fixable",
        )
    facts = gather(call)
    limits = call.environment.limits
    report = judge(facts, environment=call.name, limits=limits, at=datetime.now(UTC))
    vitals, database = facts.database.vitals, call.environment.database
    if not fix or database is None:
        return report
    if vitals is None:
        return _with(report, "Nothing can be mended: the server was not reached.")
    if facts.database.by_convention == "transaction":
        return _with(
            report,
            "Nothing is mended through a pooler in transaction mode: use the direct connection.",
        )
    choices = Choices(call.name, call.environment.protected, database, limits, only)
    plan = fix_plan(vitals, choices)
    if plan.steps:
        return plan
    none = "Nothing of this can be mended safely by itself; the findings say what to do."
    return _with(report, *plan.notes[:-1], none)


def diagnose_auth(call: Call) -> Report:
    """Return what is wrong with Supabase Auth."""
    facts = gather_auth(call)
    return judge_auth(facts, environment=call.name, protected=call.environment.protected)


def _with(report: Report, *notes: str) -> Report:
    return replace(report, notes=notes, data={**report.data, "fix": list(notes)})
