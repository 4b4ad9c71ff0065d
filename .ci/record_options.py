"""Record what programs' command lines take, for where they are not installed.

Usage: python .ci/record_options.py TOOL=PROGRAM ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from opsctl.adapters.command_help import record

FOLDER = Path(__file__).parents[1] / "src" / "opsctl" / "adapters" / "tool_options"

# vercel has some five hundred commands and takes a second to print the help of one.
DEEP = {"vercel": 2}
BELOW = {
    "vercel": ("alias", "certs", "domains", "env", "git", "promote", "redeploy", "rollback",
               "rolling-release", "projects", "target", "teams")
}  # fmt: skip


def main() -> None:
    """Walk the help of each program and write its file."""
    FOLDER.mkdir(exist_ok=True)
    for given in sys.argv[1:]:
        tool, _, program = given.partition("=")
        kept = record(program, tool, below=BELOW.get(tool), deep=DEEP.get(tool, 3))
        helps = {
            " ".join(words): {
                "options": sorted(each.options),
                "values": sorted(name for name, takes in each.options.items() if takes),
                "commands": list(each.commands),
            }
            for words, each in kept.helps.items()
        }
        lines = (f"  {json.dumps(words)}: {json.dumps(each)}" for words, each in helps.items())
        body = ",\n".join(lines)
        head = f'"tool": {json.dumps(tool)}, "version": {json.dumps(kept.version)}'
        (FOLDER / f"{tool}.json").write_text(f'{{{head}, "helps": {{\n{body}\n}}}}\n')
        print(f"{tool} {kept.version}: {len(helps)} commands")


main()
