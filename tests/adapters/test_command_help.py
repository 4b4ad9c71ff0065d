"""Help texts of every manner are read into options and commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from opsctl.adapters.command_help import TOOLS, Help, ask_help, kept_help, parse_help, record

SUPABASE = """\
USAGE
  supabase db dump [flags]

FLAGS
  --dry-run                      Prints the pg_dump script that would be executed.
  --exclude, -x string           List of schema.tables to exclude from data-only dump.
  --remote[=<ref|branch|url>]    Target a remote database.

SUBCOMMANDS
  backups             Manage Supabase physical backups
  migration, migrations Manage database migration scripts
"""
VERCEL = """\
  ▲ vercel env command

  Commands:

  add     name [environment]          Add an Environment Variable
  run     command                     Run a command with environment
                                      variables (see examples
                                      below)
  update  name [environment]          Update the value


  Global Options:

       --cwd <DIR>            Sets the current working directory
  -d,  --debug                Debug mode (default off)


  Examples:

  - Run a command

    $ vercel env run --not-an-option -- <command>
"""
PRISMA = """\
Usage

  $ prisma migrate [command] [options] --schema

Commands for development

         dev   Create a migration
       reset   Reset your database

Options

     -h, --help   Display this help message
       --config   Custom path to your Prisma config file

Examples

  Compare two databases
  $ prisma migrate diff \\
    --from-url "$DATABASE_URL" \\
    --script
"""
PSQL = """\
Usage:
  psql [OPTION]... [DBNAME [USERNAME]]

General options:
  -c, --command=COMMAND    run only single command (SQL or internal) and exit
  -v, --set=, --variable=NAME=VALUE
                           set psql variable NAME to VALUE
  -1 ("one"), --single-transaction
                           execute as a single transaction (if non-interactive)
"""
GIT = """\
usage: git push [<options>] [<repository> [<refspec>...]]

    -v, --[no-]verbose    be more verbose
    --force-with-lease[=<refname>:<expect>]
                          require old value of ref to be at this value
    -o, --push-option <server-specific>
                          option to transmit
"""
GH = """\
CORE COMMANDS
  auth:          Authenticate gh and git with GitHub
  pr:            Manage pull requests

FLAGS
  -R, --repo [HOST/]OWNER/REPO   Select another repository
      --help                     Show help for command

LEARN MORE
  Use `gh <command> <subcommand> --help` for more information.
"""
NPM = """\
Usage:
npm audit [fix|signatures]

Options:
[--audit-level <info|low|none>] [-f|--force] [--json]
[-w|--workspace <workspace-name> [-w|--workspace <workspace-name> ...]]
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SUPABASE, Help({"--dry-run": False, "--exclude": True, "-x": True, "--remote": False},
                        ("backups", "migration", "migrations"))),
        (VERCEL, Help({"--cwd": True, "-d": False, "--debug": False}, ("add", "run", "update"))),
        (PRISMA, Help({"-h": False, "--help": False, "--config": False}, ("dev", "reset"))),
        (PSQL, Help({"-c": True, "--command": True, "-v": True, "--set": True,
                     "--variable": True, "-1": False, "--single-transaction": False}, ())),
        (GIT, Help({"-v": False, "--verbose": False, "--no-verbose": False,
                    "--force-with-lease": False, "-o": True, "--push-option": True}, ())),
        (GH, Help({"-R": True, "--repo": True, "--help": False}, ("auth", "pr"))),
        (NPM, Help({"--audit-level": True, "-f": False, "--force": False, "--json": False,
                    "-w": True, "--workspace": True}, ())),
        ("", Help()),
    ],
    ids=["supabase", "vercel", "prisma", "psql", "git", "gh", "npm", "nothing"],
)  # fmt: skip
def test_help_is_read_whatever_its_manner(text: str, expected: Help) -> None:
    assert expected == parse_help(text)


@pytest.mark.parametrize("tool", TOOLS)
def test_something_is_kept_of_every_program(tool: str) -> None:
    kept = kept_help(tool)

    assert kept is not None
    assert kept.version
    assert kept.helps[()].options or kept.helps[()].commands


def program(folder: Path, text: str) -> str:
    path = folder / "tool"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return str(path)


def test_a_program_that_does_not_know_a_command_is_not_walked_forever(tmp_path: Path) -> None:
    """It prints its whole help for `tool help help help`."""
    text = "print('Commands:\\n  help   Help\\n  list   List\\n\\nOptions:\\n  --all   All')"

    kept = record(program(tmp_path, text), "vercel")

    assert {()} == set(kept.helps)


def test_a_program_without_help_has_none(tmp_path: Path) -> None:
    assert None is ask_help(program(tmp_path, "raise SystemExit(1)"), "vercel", ["ls"])
