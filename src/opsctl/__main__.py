"""Start opsctl: `python -m opsctl`, and the `opsctl` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code; --version and --help import next to nothing."""
    if sys.argv[1:] == ["--version"]:
        from opsctl import __version__

        _print(f"opsctl {__version__}\n")
        return
    if sys.argv[1:] in (["--help"], ["-h"]):
        from opsctl.cli.rooms import root_help

        _print(root_help())
        return
    from opsctl.cli.root import run

    sys.exit(run(sys.argv[1:]))


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        from opsctl.cli.screen import give_up_on_stdout

        sys.exit(give_up_on_stdout())


if __name__ == "__main__":
    main()
