"""Judge a build's sizes by the budgets, and what is served by what may be; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from opsctl.adapters.bundle_build import Route
from opsctl.areas.bundle_check.facts import BundleFacts
from opsctl.areas.bundle_check.words import kilobytes, say_parts
from opsctl.core.report import Finding, Location, Severity, Status

if TYPE_CHECKING:
    from opsctl.areas.bundle_check.growth import Growth
    from opsctl.core.settings import Bundle, BundleBudget

_NAMED = 3
_MOST_OF_A_KIND = 50
"""Findings of one rule; a thousand chunks that are not there say no more than fifty."""


def judge(facts: BundleFacts, settings: Bundle, growth: Growth | None) -> tuple[Finding, ...]:
    """Return the findings, in the order: budgets, secrets, what could not be looked at, advice."""
    return (
        *_budgets(facts, settings, growth),
        *_totals(facts, settings),
        *_exposures(facts),
        *_secrets(facts),
        *_troubles(facts),
        *_source_maps(facts),
        *_duplicates(facts),
    )


def budget_of(route: str, settings: Bundle) -> BundleBudget | None:
    """Return the first budget whose pattern fits a route."""
    return next((each for each in settings.budgets if _fits(each.routes, route)), None)


def _fits(pattern: str, route: str) -> bool:
    # Routes hold brackets, so only * is special.
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return pattern == route or re.fullmatch(expression, route) is not None


def _budgets(facts: BundleFacts, settings: Bundle, growth: Growth | None) -> Iterator[Finding]:
    kept = judged = 0
    used: set[str] = set()
    for route in facts.build.routes:
        budget = budget_of(route.name, settings)
        if budget is None:
            continue
        used.add(budget.routes)
        judged += 1
        over = list(_over(facts, settings, route, budget, growth))
        kept += not over
        yield from over
    if kept:
        which = "All" if kept == judged else f"{kept} of"
        yield Finding(
            "bundle-budget", f"{which} {judged} routes are within their budgets", Status.OK
        )
    limited = any(each.growth_kb is not None for each in settings.budgets)
    if limited and growth is not None and growth.kind != settings.compression:
        yield Finding(
            "bundle-growth",
            "The growth could not be judged",
            Status.UNKNOWN,
            evidence=" ".join(growth.notes),
            hint="measure the base again, as this build is measured",
        )
    for each in settings.budgets:
        if each.routes not in used:
            yield Finding(
                "bundle-budget-unused",
                f"The budget of {each.routes} counts for no route",
                Status.FAILED,
                Severity.WARNING,
                evidence="no route fits it, or an earlier budget fits them all",
                hint="correct bundle.budgets in the settings",
            )
    if not settings.budgets and settings.total_js_kb is None and settings.total_css_kb is None:
        yield Finding(
            "bundle-budget",
            "No budget is set, so no size is too much",
            Status.FAILED,
            Severity.NOTE,
            hint="set bundle.budgets in the settings",
        )


def _over(
    facts: BundleFacts,
    settings: Bundle,
    route: Route,
    budget: BundleBudget,
    growth: Growth | None,
) -> Iterator[Finding]:
    kind = settings.compression
    grown = growth.routes.get(route.name) if growth is not None else None
    culprit = ""
    if growth is not None and grown is not None and grown.delta is not None:
        change = f"{'+' if grown.delta >= 0 else '-'}{kilobytes(abs(grown.delta))}"
        said = say_parts(grown.modules) or say_parts(grown.files)
        culprit = f"; {change} {growth.kind} since {growth.base_name}" + (
            f": {said}" if said else ""
        )
    for what, names, limit_kb, since in (
        ("JavaScript", facts.scripts(route), budget.js_kb, culprit),
        ("CSS", facts.styles(route), budget.css_kb, ""),
    ):
        size = facts.total(names, kind)
        if limit_kb is not None and size > limit_kb * 1000:
            yield Finding(
                "bundle-budget",
                f"{route.name} loads {kilobytes(size)} of {what}, "
                f"{kilobytes(size - int(limit_kb * 1000))} over its budget",
                Status.FAILED,
                evidence=f"{kind}; the budget is {limit_kb:,g} kB{since}",
                location=Location(object=route.name),
                hint=f"the largest: {largest(facts, names, kind)}",
            )
    limit = budget.growth_kb
    if limit is None or growth is None or grown is None or growth.kind != kind:
        return
    if (grown.delta or 0) > limit * 1000:
        yield Finding(
            "bundle-growth",
            f"{route.name} grew by {kilobytes(grown.delta or 0)}, more than {limit:,g} kB",
            Status.FAILED,
            evidence=culprit.removeprefix("; "),
            location=Location(object=route.name),
            hint="load it later with a dynamic import, or leave it out",
        )


def largest(facts: BundleFacts, names: Sequence[str], kind: str) -> str:
    """Return the largest files of a route that not every route shares, with what is in them."""
    own = [name for name in names if name in facts.sizes and name not in facts.build.shared]
    chosen = own or [name for name in names if name in facts.sizes]
    chosen.sort(key=lambda name: -facts.sizes[name].of(kind))
    return ", ".join(
        f"{describe(facts, name)} {kilobytes(facts.sizes[name].of(kind))}"
        for name in chosen[:_NAMED]
    )


def describe(facts: BundleFacts, name: str) -> str:
    """Return a file's name with its largest module, or what the build says is in it."""
    modules = facts.modules.by_file.get(name, {})
    label = max(modules, key=lambda each: modules[each], default="") or facts.labels.get(name, "")
    short = name.rpartition("/")[2]
    return f"{short} ({label})" if label and label not in name else name


def _totals(facts: BundleFacts, settings: Bundle) -> Iterator[Finding]:
    kind = settings.compression
    for what, names, limit_kb in (
        ("JavaScript", facts.all_scripts, settings.total_js_kb),
        ("CSS", facts.all_styles, settings.total_css_kb),
    ):
        if limit_kb is None:
            continue
        size = facts.total(names, kind)
        over = size > limit_kb * 1000
        yield Finding(
            "bundle-total",
            f"The build holds {kilobytes(size)} of {what}, of {limit_kb:,g} kB",
            Status.FAILED if over else Status.OK,
            evidence=f"{kind}; {len(names)} files",
            hint=f"the largest: {largest(facts, names, kind)}" if over else "",
        )


def _exposures(facts: BundleFacts) -> Iterator[Finding]:
    for each in facts.exposures[:_MOST_OF_A_KIND]:
        secret = "secret" if each.sensitive else "private value"
        yield Finding(
            "bundle-secret" if each.sensitive else "bundle-private-value",
            f"The {secret} {each.name} is served to browsers",
            Status.FAILED,
            Severity.ERROR if each.sensitive else Severity.WARNING,
            evidence=f"its value in {each.env_file} stands in {each.file}",
            location=Location(f"{facts.where}/{each.file}", each.line, each.column),
            hint="rotate it, and read it on the server only" if each.sensitive else
            "read it on the server only, or give it a public name if everybody may know it",
        )  # fmt: skip
    if facts.private_names and not facts.exposures and not facts.secrets:
        yield Finding(
            "bundle-secret",
            f"None of {facts.private_names} private values of the .env files is served",
            Status.OK,
        )


def _secrets(facts: BundleFacts) -> Iterator[Finding]:
    if not facts.secrets:
        return
    # Late: a check of what is known already takes less than they take to import.
    from opsctl.adapters.secret_scanner.allow import key_of
    from opsctl.adapters.secret_scanner.scanner import redacted

    for each in facts.secrets[:_MOST_OF_A_KIND]:
        within = f"; within it: {each.member}" if each.member else ""
        grave = each.severity in ("critical", "high")
        yield Finding(
            "bundle-secret",
            f"{each.title} is served to browsers",
            Status.FAILED,
            Severity.ERROR if grave else Severity.WARNING,
            evidence=f"by the rule {each.rule}: {redacted(each.secret)}, "
            f"sha256 {each.digest[:12]}{within}",
            location=Location(each.path, each.line, each.column),
            hint=each.next,
            key=key_of(each),
        )
    more = len(facts.secrets) - _MOST_OF_A_KIND
    if more > 0:
        yield Finding(
            "bundle-secret",
            f"{more} more secrets are served to browsers",
            Status.FAILED,
            hint=f"opsctl secrets-scan --bundle {facts.where}",
        )


def _troubles(facts: BundleFacts) -> Iterator[Finding]:
    for each in facts.troubles[:_MOST_OF_A_KIND]:
        yield Finding(
            "bundle-unread",
            f"{each.route}: {each.what}" if each.route else each.what,
            Status.UNKNOWN,
            evidence=each.why,
            location=Location(object=each.route) if each.route else None,
            hint="build again: what is not there cannot be measured",
        )
    more = len(facts.troubles) - _MOST_OF_A_KIND
    if more > 0:
        yield Finding(
            "bundle-unread", f"{more} more could not be read", Status.UNKNOWN, hint="build again"
        )


def _source_maps(facts: BundleFacts) -> Iterator[Finding]:
    if not facts.maps:
        return
    first = facts.maps[0]
    more = f" and {len(facts.maps) - 1} more" if len(facts.maps) > 1 else ""
    yield Finding(
        "bundle-source-map",
        f"{len(facts.maps)} source maps would be served",
        Status.FAILED,
        Severity.WARNING,
        evidence=f"{first}{more}: they hold the source code",
        hint="delete them after they are uploaded to where errors are read, or keep them hidden",
    )


def _duplicates(facts: BundleFacts) -> Iterator[Finding]:
    for each in facts.duplicates[:_MOST_OF_A_KIND]:
        versions = each.versions
        copies = ", ".join(f"{version} {kilobytes(size)}" for version, _, size in each.copies)
        wasted = sum(size for _, _, size in each.copies[1:])
        yield Finding(
            "bundle-duplicate",
            f"{each.name} is bundled {len(each.copies)} times"
            + (f", in versions {' and '.join(versions)}" if len(versions) > 1 else ""),
            Status.FAILED,
            Severity.WARNING if len(versions) > 1 else Severity.NOTE,
            evidence=f"{copies}; {kilobytes(wasted)} before compression could be spared",
            location=Location(object=each.copies[0][1]),
            hint=f"see who asks for it: npm ls {each.name}",
        )
