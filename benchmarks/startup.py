"""How long opsctl takes to start, as a ratio to a bare interpreter in the same run.

    python benchmarks/startup.py [ROUNDS] [-- PEER ...]

Each round runs every command once, the bare interpreter among them, so that a machine that
slows down slows them all; the ratio is that of the medians. A peer is any command line given
after `--`, for example `gh --version`.
"""

from __future__ import annotations

import compileall
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import opsctl

COMMANDS = {
    "opsctl --version": (["--version"], 1.5),
    "opsctl --help": (["--help"], 6.0),
    "opsctl rollback --help": (["rollback", "--help"], 6.5),
    "opsctl rollback db --help": (["rollback", "db", "--help"], 6.5),
    "opsctl config schema": (["config", "schema"], 6.5),
}
"""What is measured, and its bar: the highest ratio that is acceptable."""


def main() -> int:
    """Measure and print a Markdown table; return 1 where a bar is missed."""
    words = sys.argv[1:]
    peers = words[words.index("--") + 1 :] if "--" in words else []
    rounds = int(words[0]) if words and words[0].isdecimal() else 41
    compileall.compile_dir(str(Path(opsctl.__file__).parent), quiet=1)
    commands: dict[str, list[str]] = {"python -c pass": [sys.executable, "-c", "pass"]}
    for name, (argv, _) in COMMANDS.items():
        commands[name] = [sys.executable, "-m", "opsctl", *argv]
    if peers:
        commands[" ".join(peers)] = peers
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "NO_COLOR": "1"}
        for number in range(rounds + 2):
            for name, argv in commands.items():
                began = time.perf_counter()
                subprocess.run(argv, cwd=folder, env=env, capture_output=True, check=False)
                if number >= 2:  # the first two rounds warm the caches
                    times[name].append(time.perf_counter() - began)
    bare = statistics.median(times["python -c pass"])
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {rounds} rounds; "
          f"a bare interpreter takes {bare * 1000:.1f} ms.\n")  # fmt: skip
    print("| command | ratio | fastest | slowest | bar |\n|---|---|---|---|---|")
    missed = False
    for name, found in times.items():
        ratio = statistics.median(found) / bare
        bar = COMMANDS[name][1] if name in COMMANDS else None
        missed = missed or (bar is not None and ratio > bar)
        low, high = min(found) / bare, max(found) / bare
        print(f"| `{name}` | {ratio:.2f} | {low:.2f} | {high:.2f} | {bar or '-'} |")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
