"""Judge what was seen: which findings stand, how grave each is, what to do about it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from opsctl.adapters.secret_scanner.allow import Allowed, key_of
from opsctl.adapters.secret_scanner.scanner import Found, redacted
from opsctl.areas.secrets_scan.facts import Facts, Origin
from opsctl.core.progress import size
from opsctl.core.report import Finding, Location, Report, Severity, Status

_RANKS = {"exposed": 0, "critical": 1, "high": 2, "medium": 3}
_SUPABASE_KEYS = ("supabase-jwt", "supabase-secret-key")


def judge(
    facts: Facts, *, command: str, allowed: Allowed, live: dict[str, str] | None = None
) -> Report:
    """Return the report of a scan: exit 0 clean, 1 found, 3 not all of it could be scanned."""
    standing: list[tuple[Found, Origin | None]] = []
    passed: dict[str, int] = {}
    for index, found in enumerate(facts.found):
        origin = facts.origins.get(index)
        why = "comment" if found.allowed else ""
        why = why or allowed.why(found, commit=origin.commit if origin else "")
        if why:
            passed[why] = passed.get(why, 0) + 1
        else:
            standing.append((found, origin))
    standing.sort(key=lambda each: _order(each[0], facts))
    findings = [_finding(found, origin, facts, live or {}) for found, origin in standing]
    findings += [
        Finding(
            rule="env-file-tracked",
            title="A file of variables with values is in the repository",
            status=Status.FAILED,
            evidence="git tracks it, so everybody who clones has its values",
            location=Location(path=path),
            hint=f"git rm --cached {path}, add it to .gitignore, and replace its values",
        )
        for path in facts.env_files
        if not any(pattern.match(path) for pattern in allowed.paths)
    ]
    findings += [
        Finding(
            rule="not-scanned",
            title="It was not scanned, or not all of it",
            status=Status.UNKNOWN,
            evidence=why,
            location=Location(path=path),
            hint="make it readable, or leave it out with secrets_scan.allow_paths",
        )
        for path, why in facts.not_scanned
        if not any(pattern.match(path) for pattern in allowed.paths)
    ]
    notes = _notes(facts, passed)
    title = _title(facts, findings)
    report = Report(
        command=command,
        title=title,
        findings=tuple(findings),
        notes=tuple(notes),
        data=_data(facts, standing, passed),
    )
    if findings:
        return report
    lines = [f"✓ ok  {title}", *(f"  {note}" for note in notes)]
    return Report(
        command=command,
        title=title,
        notes=tuple(notes),
        data=report.data,
        # One line needs no layout, and Rich takes longer than a small scan.
        text="\n".join(lines),
    )


def level_of(found: Found, facts: Facts) -> str:
    """Return how grave a finding is: what every visitor can read is the gravest."""
    if found.public and found.severity in ("critical", "high"):
        return "exposed"
    return found.severity


def owner_of(found: Found, facts: Facts) -> str:
    """Return whose key it is, as far as the settings tell: `production`."""
    if found.digest in facts.ours:
        return facts.ours[found.digest]
    return facts.refs.get(found.project, "")


def _order(found: Found, facts: Facts) -> tuple[Any, ...]:
    return (_RANKS[level_of(found, facts)], not owner_of(found, facts), found.path, found.line)


def _finding(found: Found, origin: Origin | None, facts: Facts, live: dict[str, str]) -> Finding:
    owner = owner_of(found, facts)
    title = found.title
    if owner:
        title += f": this is our {owner} key"
    if level_of(found, facts) == "exposed":
        where = "under a public name" if found.public == "name" else "in what browsers download"
        title += f", {where}: every visitor has it"
    evidence = [f"{redacted(found.secret)}, sha256 {found.digest[:12]}"]
    if found.note:
        evidence.append(found.note)
    if found.project and not owner:
        known = "which is none of the settings" if facts.refs else "not known to the settings"
        evidence.append(f"of the Supabase project {found.project}, {known}")
    if found.member:
        evidence.append(f"within it: {found.member}")
    if found.confidence != "high":
        evidence.append(f"confidence {found.confidence}")
    if found.digest in live:
        evidence.append(live[found.digest])
    if origin is not None:
        evidence.append(_told(origin))
    return Finding(
        rule=found.rule,
        title=title,
        status=Status.FAILED,
        severity=Severity.ERROR,
        evidence="; ".join(evidence),
        location=Location(path=found.path, line=found.line, column=found.column),
        hint=_next(found, owner),
        key=key_of(found),
    )


def _told(origin: Origin) -> str:
    if not origin.commit:
        return f"in no commit: object {origin.object[:12]}"
    what = {"commit": "in the message of ", "tag": "in the tag "}.get(origin.kind, "")
    still = "still in the working tree" if origin.still_there else "no longer in the working tree"
    who = f" by {origin.author}" if origin.author else ""
    told = f"{what}{origin.commit[:12]}{who}, {origin.date[:10]}"
    return told if origin.kind != "blob" else f"{told}, {still}"


def _next(found: Found, owner: str) -> str:
    if found.rule in _SUPABASE_KEYS and found.severity == "critical":
        if owner and importlib.util.find_spec("opsctl.areas.rotate_keys") is not None:
            return "opsctl rotate-keys"
        return "rotate it in the dashboard: Project Settings > API Keys"
    return found.next


def _title(facts: Facts, findings: Sequence[Finding]) -> str:
    count = sum(finding.status is Status.FAILED for finding in findings)
    extent = f"{facts.files:,} files" if facts.files != 1 else "1 file"
    scanned = f"{facts.what}: {extent}, {size(facts.bytes)}"
    if count:
        return f"{count} secret{'s' if count > 1 else ''} found in {scanned}"
    if any(finding.status is Status.UNKNOWN for finding in findings):
        return f"No secret found, but not all was scanned of {scanned}"
    return f"No secret found in {scanned}"


def _notes(facts: Facts, passed: dict[str, int]) -> list[str]:
    notes = list(facts.notes)
    if passed:
        told = ", ".join(f"{count} by {why}" for why, count in sorted(passed.items()))
        notes.append(f"allowed: {told}")
    if facts.engine == "keywords":
        notes.append(
            "slowly, without Hyperscan: pip install 'opsctl[secrets]' is some 20 times as fast"
        )
    return notes


def _data(
    facts: Facts, standing: Sequence[tuple[Found, Origin | None]], passed: dict[str, int]
) -> dict[str, Any]:
    rules = {found.rule: f"{found.title}. What to do: {found.next}" for found, _ in standing}
    if facts.env_files:
        rules["env-file-tracked"] = "A file of variables with values is in the repository."
    return {
        "scanned": {
            "what": facts.what,
            "files": facts.files,
            "bytes": facts.bytes,
            "engine": facts.engine,
            "rules": facts.rules,
        },
        "allowed": passed,
        "secrets": [_secret(found, origin, facts) for found, origin in standing],
        "rules": rules,
    }


def _secret(found: Found, origin: Origin | None, facts: Facts) -> dict[str, Any]:
    data: dict[str, Any] = {
        "rule": found.rule,
        "severity": level_of(found, facts),
        "confidence": found.confidence,
        "path": found.path,
        "line": found.line,
        "column": found.column,
        "shown": redacted(found.secret),
        "sha256": found.digest,
        "key": key_of(found),
        "project": found.project or None,
        "environment": owner_of(found, facts) or None,
        "member": found.member or None,
    }
    if origin is not None:
        data["history"] = {
            "commit": origin.commit or None,
            "author": origin.author or None,
            "date": origin.date or None,
            "kind": origin.kind,
            "object": origin.object,
            "in_working_tree": origin.still_there,
        }
    return data
