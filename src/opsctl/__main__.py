"""Start opsctl: `python -m opsctl`, and the `opsctl` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code; `--version` imports the version alone."""
    if sys.argv[1:] == ["--version"]:
        from opsctl import __version__

        sys.argv = [sys.argv[0]]
        _print_version(__version__)
        return
    from opsctl.cli.root import run

    sys.exit(run(sys.argv[1:]))


def _print_version(version: str) -> None:
    try:
        sys.stdout.write(f"opsctl {version}\n")
        sys.stdout.flush()
    except OSError:
        from opsctl.cli.screen import give_up_on_stdout

        sys.exit(give_up_on_stdout())


if __name__ == "__main__":
    main()
