"""One scan from question to report: settings, patterns, what is scanned, what may stay."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.adapters.secret_scanner.allow import (
    BASELINE,
    Allowed,
    allowed_by,
    baseline_line,
    key_of,
    read_baseline,
    write_baseline,
)
from opsctl.adapters.secret_scanner.patterns import Patterns, load_patterns
from opsctl.areas.secrets_scan.checks import judge
from opsctl.areas.secrets_scan.facts import Asked, Facts, scan_stdin, scan_tree
from opsctl.core.errors import OpsError
from opsctl.core.report import Report

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.start import Start


def scan_for_secrets(
    start: Start,
    asked: Asked,
    *,
    baseline: Path | None,
    live: bool,
    only: tuple[str, ...] = (),
) -> Report:
    """Scan, judge and report; raises OpsError for what cannot be asked (exit 2) or seen (3).

    `only` are hashes, sha256:HEX: of all that is found these values alone are told, also where
    they may stay.
    """
    _refuse_together(asked)
    digests = _digests(only)
    call = start.load() if start.configured or live else None
    facts = _look(start, call, asked)
    answers: Mapping[str, str] = {}
    if live:
        from opsctl.areas.secrets_scan.live import ask_live

        answers = ask_live(_needed(call), facts.found)
    if digests:
        facts = _of_these(facts, digests)
        return judge(facts, command="secrets-scan", allowed=Allowed(), live=dict(answers))
    allowed = _allowed(call, asked, baseline=baseline)
    return judge(facts, command="secrets-scan", allowed=allowed, live=dict(answers))


def create_baseline(start: Start, asked: Asked, *, file: Path | None) -> Report:
    """Scan, and write what is found into the baseline."""
    call = start.load() if start.configured else None
    path = file or _baseline_of(call) or Path(BASELINE)
    facts = _look(start, call, asked)
    allowed = _allowed(call, asked, baseline=None, without_baseline=True)
    lines = [
        baseline_line(found)
        for found in facts.found
        if not found.allowed and not allowed.why(found)
    ]
    write_baseline(path, lines)
    count = len(set(lines))
    return Report(
        command="secrets-scan baseline create",
        title=f"{count} known finding{'' if count == 1 else 's'} written to {path}",
        notes=(f"leave them out: opsctl secrets-scan --baseline {path}",),
        data={"file": str(path), "findings": count},
    )


def prune_baseline(start: Start, asked: Asked, *, file: Path | None) -> Report:
    """Scan, and take out of the baseline what is found no more."""
    call = start.load() if start.configured else None
    path = file or _baseline_of(call) or Path(BASELINE)
    known = read_baseline(path)
    facts = _look(start, call, asked)
    if facts.not_scanned:
        raise OpsError(
            "The baseline was left as it is",
            why=f"not everything could be scanned: {facts.not_scanned[0][0]}",
            hint="a finding there would have been forgotten; make it readable first",
            code="not-all-scanned",
        )
    keys = {key_of(found) for found in facts.found}
    kept = [line for key, line in known.items() if key in keys]
    write_baseline(path, kept)
    gone = len(known) - len(kept)
    return Report(
        command="secrets-scan baseline prune",
        title=f"{gone} of {len(known)} known findings are gone, {len(kept)} are left in {path}",
        data={"file": str(path), "gone": gone, "left": len(kept)},
    )


def _digests(only: tuple[str, ...]) -> frozenset[str]:
    """Return the hashes; raises OpsError `not-a-hash` (exit 2)."""
    for each in only:
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", each):
            raise OpsError(
                "What to look for was not given as a hash",
                why="--only takes sha256: and 64 hexadecimal signs, so that no value is typed",
                hint='printf %s "$VALUE" | sha256sum',
                code="not-a-hash",
            )
    return frozenset(each.removeprefix("sha256:") for each in only)


def _of_these(facts: Facts, digests: frozenset[str]) -> Facts:
    kept = [index for index, each in enumerate(facts.found) if each.digest in digests]
    return dataclasses.replace(
        facts,
        found=tuple(dataclasses.replace(facts.found[index], allowed=False) for index in kept),
        origins={new: facts.origins[old] for new, old in enumerate(kept) if old in facts.origins},
        env_files=(),
    )


def _look(start: Start, call: Call | None, asked: Asked) -> Facts:
    from opsctl.adapters.secret_scanner.user_rules import user_rules

    rules = user_rules(call.settings.secrets_scan.rules) if call is not None else ()
    patterns = load_patterns(rules)
    facts = _scan(start, call, patterns, asked)
    if call is None:
        return facts
    return dataclasses.replace(facts, refs=_refs(call), ours=_ours(call))


def _scan(start: Start, call: Call | None, patterns: Patterns, asked: Asked) -> Facts:
    if asked.stdin:
        return scan_stdin(patterns)
    if asked.bundle is not None:
        from opsctl.areas.secrets_scan.bundle import scan_bundle

        return scan_bundle(patterns, asked, folder=asked.bundle, call=call)
    if asked.history or asked.since or asked.staged:
        from opsctl.areas.secrets_scan.history import scan_history, scan_since, scan_staged

        if asked.staged:
            return scan_staged(patterns, asked)
        if asked.since:
            return scan_since(patterns, asked)
        return scan_history(patterns, asked, say=start.say)
    return scan_tree(patterns, asked)


def _refuse_together(asked: Asked) -> None:
    chosen = [
        name
        for name, given in (
            ("--staged", asked.staged),
            ("--since", bool(asked.since)),
            ("--history", asked.history),
            ("--bundle", asked.bundle is not None),
            ("--stdin", asked.stdin),
        )
        if given
    ]
    if len(chosen) > 1:
        raise OpsError(
            f"{chosen[0]} and {chosen[1]} were given together",
            why="one scan looks at one thing",
            hint=f"opsctl secrets-scan {chosen[0]}",
            code="usage",
        )
    if chosen and asked.paths and (asked.stdin or asked.bundle is not None):
        raise OpsError(
            f"{chosen[0]} and a path were given together",
            why="one scan looks at one thing",
            hint=f"opsctl secrets-scan {chosen[0]}",
            code="usage",
        )
    if len(asked.paths) > 1 and (asked.staged or asked.since or asked.history):
        raise OpsError(
            f"{chosen[0]} and several paths were given together",
            why="it looks at the repository of one directory",
            hint=f"opsctl secrets-scan {chosen[0]} {asked.paths[0]}",
            code="usage",
        )


def _allowed(
    call: Call | None, asked: Asked, *, baseline: Path | None, without_baseline: bool = False
) -> Allowed:
    settings = call.settings.secrets_scan if call is not None else None
    path = None if without_baseline else baseline or _baseline_of(call)
    folder = asked.paths[0] if len(asked.paths) == 1 and asked.paths[0].is_dir() else Path()
    return allowed_by(
        paths=settings.allow_paths if settings else (),
        values=settings.allow_values if settings else (),
        baseline=path,
        ignore_file=folder / ".gitleaksignore",
    )


def _baseline_of(call: Call | None) -> Path | None:
    name = call.settings.secrets_scan.baseline if call is not None else None
    return call.root / name if call is not None and name else None


def _refs(call: Call) -> dict[str, str]:
    """Return the Supabase project of each environment -> its name."""
    found = {}
    for name, environment in call.settings.environments.items():
        supabase = environment.supabase
        if supabase is None:
            continue
        ref = supabase.ref
        if not ref and supabase.url:
            host = supabase.url.partition("://")[2]
            ref = host.split(".")[0] if ".supabase." in host else None
        if ref:
            found[ref] = name
    return found


def _ours(call: Call) -> dict[str, str]:
    """Return the hash of each secret key that an environment names and this process has."""
    found = {}
    for name, environment in call.settings.environments.items():
        references = [
            environment.supabase.secret_key if environment.supabase else None,
            environment.supabase.access_token if environment.supabase else None,
            environment.vercel.token if environment.vercel else None,
            environment.github.token if environment.github else None,
            environment.database.url if environment.database else None,
        ]
        for reference in references:
            # Only what is there already: no keyring is opened and no program started for it.
            variable = reference.removeprefix("env:") if reference else ""
            value = os.environ.get(variable, "") if reference and reference != variable else ""
            if len(value) >= 12:
                found[sha256(value.encode()).hexdigest()] = name
    return found


def _needed(call: Call | None) -> Call:
    if call is None:
        raise OpsError(
            "There is no project to ask",
            why="--live asks the configured project, and there are no settings",
            hint="opsctl config show",
            code="no-environment",
        )
    return call
