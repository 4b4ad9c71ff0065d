"""A shell's words are taken apart without a shell."""

from __future__ import annotations

import pytest

from opsctl.adapters.command_line import Simple, has_hole, own_words, split_line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("git status", [("git", "status")]),
        ("npx prisma migrate status", [("prisma", "migrate", "status")]),
        ("npx -y prisma@7.1.0 migrate status", [("prisma", "migrate", "status")]),
        ("pnpm exec vercel ls", [("vercel", "ls")]),
        ("pnpm bundle:check", [("pnpm", "bundle:check")]),
        ("sudo -n /usr/bin/psql -l", [("psql", "-l")]),
        ("A=1 B='x y' gh pr list", [("gh", "pr", "list")]),
        ("a x | b y && c; d &", [("a", "x"), ("b", "y"), ("c",), ("d",)]),
        ("a > out 2>&1", [("a",)]),
        ("a 2>/dev/null b", [("a", "b")]),
        ("a 'b | c' \"d; e\"", [("a", "b | c", "d; e")]),
        ("a # b | c", [("a",)]),
        ("a x$(b c)y `d e`", [("a", "xPLACEHOLDERy", "PLACEHOLDER")]),
        ("", []),
        ("A=1", []),
    ],
)
def test_each_program_of_a_line_is_found(line: str, expected: list[tuple[str, ...]]) -> None:
    assert expected == [(each.program, *each.words) for each in split_line(line)]


def test_a_file_as_standard_input_is_told() -> None:
    assert (Simple("psql", ("-d", "x"), reads_file=True),) == split_line("psql -d x < backup.sql")
    assert (Simple("psql", ("-d", "x")),) == split_line("psql -d x > out.txt")


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(ValueError, match="quotation"):
        split_line("echo 'x")


@pytest.mark.parametrize(
    "line", ["a [name]", "a <ref>", "a …", "a ...", "a RUN", "a --env NAME", "a $X", "a ${X}"]
)
def test_what_is_to_be_filled_in_is_seen(line: str) -> None:
    assert has_hole(line)


@pytest.mark.parametrize("line", ["a b", "a -X", "a 'NAME of it'", "a P1", "a # see RUN"])
def test_what_is_whole_is_seen_too(line: str) -> None:
    assert not has_hole(line)


@pytest.mark.parametrize(
    "line",
    [
        "git status",
        "opsctl runs list | tee x",
        "opsctl runs list > x",
        "opsctl runs list; ls",
        "opsctl runs list && ls",
        "opsctl runs show $(cat x)",
        "opsctl runs show `cat x`",
        "opsctl bundle-check *.next",
        "opsctl bundle-check ~/app",
        'opsctl incident log "$HOME"',
        "opsctl runs show RUN",
        "opsctl incident log 'open",
        "A=1 opsctl runs list",
    ],
)
def test_only_whole_lines_of_our_own_that_need_no_shell_are_ours(line: str) -> None:
    assert None is own_words(line)


def test_our_own_words_are_as_a_shell_would_give_them() -> None:
    line = "opsctl incident log 'it is > 5 % | RUN' --env sandbox  # why"

    assert ("incident", "log", "it is > 5 % | RUN", "--env", "sandbox") == own_words(line)
