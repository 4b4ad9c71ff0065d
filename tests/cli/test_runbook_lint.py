"""Command lines of runbooks that do not exist, or do not do what they seem to, are found."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from opsctl.adapters.runbook_files import read_runbook, runbook_paths
from opsctl.cli.root import run
from opsctl.cli.runbook_lint import Programs, lint_runbooks
from opsctl.core.report import Report, Severity, Status

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCUMENT = HERE / "runbook_document.md"
"""The document that this program carries out, as its authors wrote it."""


def lint(path: Path) -> Report:
    """Hold a file against what is kept of the programs, whatever is installed here."""
    return lint_runbooks([read_runbook(path)], Programs(path.parent, ask="never"))


def found_in(tmp_path: Path, *lines: str, language: str = "bash") -> list[tuple[int, str, str]]:
    """Return (line of the block, rule, title) of each finding."""
    path = tmp_path / "book.md"
    path.write_text(f"```{language}\n" + "\n".join(lines) + "\n```\n")
    return [
        (each.location.line - 1, each.rule, each.title)
        for each in lint(path).findings
        if each.location is not None and each.location.line is not None
    ]


def test_the_document_has_exactly_these_findings() -> None:
    """Each was tried on the program itself; every other line of the document is well."""
    expected = {
        "npx prisma migrate resolve --rolled-back [migration_name]": [
            "prisma-resolve-is-bookkeeping"
        ],
        "npx prisma migrate reset --to [migration_name]": [
            "prisma-reset-destroys", "unknown-option"
        ],
        "supabase migration list": ["supabase-target-unsaid"],
        "supabase db reset --to [migration_name]": [
            "supabase-reset-destroys", "supabase-target-unsaid", "unknown-option"
        ],
        "supabase db reset": [
            "supabase-reset-destroys", "supabase-reset-destroys",
            "supabase-target-unsaid", "supabase-target-unsaid",
        ],
        "vercel rollback [deployment_url]": ["vercel-rollback-holds-pushes-back"],
        "vercel promote [deployment_url]": ["vercel-promote-rebuilds"],
        "Generate new keys in Supabase dashboard": ["supabase-keys-of-the-dashboard"],
        "Retention: 7 days for free tier, 30 days for pro tier": ["supabase-retention"],
        "supabase db dump --file backup_$(date +%Y%m%d_%H%M%S).sql": [
            "supabase-dump-is-schema-alone", "supabase-dump-needs-docker",
            "supabase-target-unsaid",
        ],
        "supabase db dump --table profiles,tenants --file tables_backup.sql": [
            "supabase-dump-is-schema-alone", "supabase-dump-needs-docker",
            "supabase-target-unsaid", "unknown-option",
        ],
        "Environment variables backed up in deployment platforms": ["variables-are-not-backed-up"],
        "psql -h [host] -U [user] -d [database] < backup_file.sql": ["psql-goes-on-after-errors"],
        "psql -h [host] -U [user] -d [database] -c "
        "\"\\\\copy table_name FROM 'backup_file.csv'\"": ["copy-knows-one-table"],
        "node scripts/rls-smoke.ts": ["node-runs-no-typescript"],
    }  # fmt: skip

    report = lint(DOCUMENT)

    found: dict[str, list[str]] = {}
    for finding in report.findings:
        found.setdefault(finding.evidence, []).append(finding.rule)
    assert expected == {line: sorted(rules) for line, rules in found.items()}
    assert Status.FAILED is report.status
    unknown = [each.title for each in report.findings if each.rule == "unknown-option"]
    assert [
        "prisma migrate reset has no option --to",
        "supabase db reset has no option --to",
        "supabase db dump has no option --table",
    ] == unknown


def test_every_runbook_of_ours_is_well() -> None:
    books = [read_runbook(path) for path in runbook_paths(ROOT)]

    report = lint_runbooks(books, Programs(ROOT, ask="never"))

    errors = [each for each in report.findings if each.severity is Severity.ERROR]
    assert len(books) >= 12
    assert [] == [f"{each.location}: {each.title}" for each in errors]


@pytest.mark.parametrize(
    "line",
    [
        "supabase db push --remote=abc --yes",
        "supabase migration repair --status reverted 20240101000000 --remote",
        "supabase -o json projects list",
        "vercel env ls production --json",
        "vercel ls",
        "vercel rollback status",
        "vercel logs --environment production --status-code 5xx --since 1h --json",
        "VERCEL_TOKEN=x vercel inspect example.com --json",
        "npx prisma migrate deploy --schema prisma/schema.prisma",
        "npx -y prisma@6 migrate diff --from-empty --to-schema-datamodel x --script",
        "psql -v ON_ERROR_STOP=1 --single-transaction -d app -f x.sql",
        "psql -XAtqc 'select 1' | grep -x 1",
        "pg_restore --jobs=2 -d DATABASE data",
        "gh pr create --base main --title x --body y",
        "gh -R a/b run list --workflow ci.yml --limit 5",
        "git -C app push origin HEAD --force-with-lease",
        "git log --oneline -20 --graph",
        "git commit -am 'Mend it'",
        "npm audit --omit=dev --audit-level high",
        "pnpm bundle:check --base main",
        "pnpm install --frozen-lockfile",
        "cd app && git status --short",
        "opsctl rollback db --env production --to 20240101000000",
        "opsctl secrets-scan --staged",
        "opsctl healthcheck",
    ],
)
def test_lines_that_exist_are_well(tmp_path: Path, line: str) -> None:
    assert [] == found_in(tmp_path, line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("opsctl rollback db --too x", "No such option: --too"),
        ("opsctl rollback everything", "opsctl rollback has no command 'everything'"),
        ("opsctl rolback db", "there is no command 'rolback'"),
        ("opsctl runs resume", "Missing argument 'RUN'"),
        ("opsctl runs show A B", "Got unexpected extra argument"),
        ("opsctl healthcheck run --retries many", "'many' is not a valid int"),
        ("supabase migration rollback", "supabase migration has no command rollback"),
        ("supabase db push --remote --dryrun", "supabase db push has no option --dryrun"),
        ("vercel rolback dpl_1", "vercel has no command rolback"),
        ("vercel redeploy x --nowait", "vercel redeploy has no option --nowait"),
        ("npx prisma migrate undo", "prisma migrate has no command undo"),
        ("psql --stop-on-error -d app", "psql has no option --stop-on-error"),
        ("gh pr merge 1 --squash-all", "gh pr merge has no option --squash-all"),
        ("gh pr mrege 1", "gh pr has no command mrege"),
        ("git push --forced", "git push has no option --forced"),
        ("git psuh", "git has no command psuh"),
        ("npm adit", "npm has no command adit"),
        ("pnpm install --frozen", "pnpm install has no option --frozen"),
        ("true && supabase db bump", "supabase db has no command bump"),
        ("echo 'open", "A quote is not closed"),
    ],
)
def test_lines_that_do_not_exist_are_found(tmp_path: Path, line: str, expected: str) -> None:
    (found,) = found_in(tmp_path, "true", line)

    assert 2 == found[0]
    assert expected in found[2]


def test_blocks_for_reading_are_checked_too_and_other_languages_are_not(tmp_path: Path) -> None:
    assert [(1, "unknown-command")] == [
        each[:2] for each in found_in(tmp_path, "$ git psuh", "psuh: what?", language="console")
    ]
    assert [] == found_in(tmp_path, "git psuh", language="yaml")


def test_a_line_that_goes_on_below_is_one(tmp_path: Path) -> None:
    found = found_in(tmp_path, "supabase db push \\", "  --remote \\", "  --nothing")

    assert [(1, "unknown-option")] == [each[:2] for each in found]


def test_what_the_prose_mentions_exists(tmp_path: Path) -> None:
    path = tmp_path / "book.md"
    path.write_text("Undo it by `opsctl runs undo`, see `opsctl runs --help` or `opsctl ruin`.\n")

    assert ["there is no command 'ruin'"] == [each.title for each in lint(path).findings]


def front_door(*argv: str) -> tuple[int, Any]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([*argv, "--format", "json"])
    return code, json.loads(out.getvalue())


def test_the_command_has_the_exit_codes_of_every_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    well, ill, mute = tmp_path / "well.md", tmp_path / "ill.md", tmp_path / "mute.md"
    well.write_text("```bash\nopsctl runs list\nmake coffee\n```\n")
    ill.write_text("```bash\nopsctl runs lost\n```\n")
    mute.write_text("```bash\nvercel ls\n```\n")

    code, told = front_door("runbook", "lint", str(well))
    assert (0, {"make": 1}) == (code, told["data"]["not_checked"])
    assert 1 == front_door("runbook", "lint", str(well), str(ill))[0]
    # A program of another version than the kept one, which says nothing of itself.
    program = tmp_path / "node_modules" / ".bin" / "vercel"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    code, told = front_door("runbook", "lint", str(mute))
    assert (3, ["program-not-asked"]) == (code, [each["rule"] for each in told["findings"]])
