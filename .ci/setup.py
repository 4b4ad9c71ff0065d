"""Make this project's environment with nothing but Python, then do one thing in it.

python3 .ci/setup.py demo    roll back a bad migration in the embedded sandbox
python3 .ci/setup.py test    run every check and every test
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if sys.platform == "win32" else "bin")
PYTHON = BIN / ("python.exe" if sys.platform == "win32" else "python")

MOST_TRIED_AGAIN = 5


def main() -> int:
    """Make the environment and do what was asked; return the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - it runs before anything was installed
        print(f"opsctl needs Python 3.11 or later; this is {sys.version.split()[0]}")
        return 2
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    if what not in ("demo", "test"):
        print(__doc__)
        return 2
    if what == "test":
        install_programs()
    extra = "embedded" if what == "demo" else "dev"
    make_environment(extra)
    return demo() if what == "demo" else test()


def install_programs() -> None:
    """In continuous integration on Debian or Ubuntu, install what the tests drive.

    Elsewhere a test that misses one says so and is left out; in continuous integration it fails.
    """
    browsers = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    missing = ["strace"] * (not shutil.which("strace"))
    sbin = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing += ["pgbouncer"] * (not shutil.which("pgbouncer", path=sbin))
    missing += ["chromium"] * (not any(map(shutil.which, browsers)))
    for folder in Path("/usr/share/postgresql").glob("[0-9]*/extension"):
        if not (folder / "hypopg.control").exists():
            missing.append(f"postgresql-{folder.parent.name}-hypopg")
    if not missing or not os.environ.get("CI") or not shutil.which("apt-get"):
        return
    apt = ["apt-get"] if os.geteuid() == 0 else ["sudo", "apt-get"]
    run([*apt, "update", "-qq"])
    run([*apt, "install", "--yes", "-qq", "--no-install-recommends", *missing])


def make_environment(extra: str) -> None:
    """Make .venv with opsctl and one of its extras; an environment that is there is kept."""
    if not PYTHON.exists():
        shutil.rmtree(VENV, ignore_errors=True)
        try:
            venv.create(VENV, with_pip=True)
        except subprocess.CalledProcessError:
            # Debian keeps ensurepip in a package of its own.
            sys.exit("Python cannot make environments here: install its venv package "
                     "(Debian and Ubuntu: apt install python3-venv)")  # fmt: skip
    run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--editable", f"{ROOT}[{extra}]"])  # fmt: skip


def demo() -> int:
    """Start the sandbox, roll its bad migration back, check, and show the record."""
    folder = ROOT / ".cache" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    opsctl = [PYTHON, "-m", "opsctl"]
    steps = [
        ["sandbox", "reset"],
        ["healthcheck", "run", "--env", "sandbox"],
        ["rollback", "status", "--env", "sandbox"],
        ["rollback", "db", "--env", "sandbox", "--yes"],
        ["healthcheck", "run", "--env", "sandbox"],
        ["runs", "list"],
        ["sandbox", "down"],
    ]
    # The bad migration makes the first health check fail: that is what the rollback is for.
    expected = {1: (1,)}
    for index, words in enumerate(steps):
        print(f"\n$ opsctl {' '.join(words)}", flush=True)
        code = subprocess.run([*map(str, opsctl), *words], cwd=folder, check=False).returncode
        if code not in expected.get(index, (0,)):
            print(f"\nThe demo stopped: exit code {code}")
            return 1
    print(f"\nThe record stays in {folder / '.opsctl'}.")
    return 0


def test() -> int:
    """Run the format check, the linter, the type check and every test."""
    checks = [
        [PYTHON, "-m", "ruff", "format", "--check", "."],
        [PYTHON, "-m", "ruff", "check", "."],
        [PYTHON, "-m", "mypy"],
    ]
    for argv in checks:
        print(f"\n$ {' '.join(str(word) for word in argv[1:])}", flush=True)
        code = subprocess.run([str(word) for word in argv], cwd=ROOT, check=False).returncode
        if code:
            return code
    return run_tests()


def run_tests() -> int:
    """Run every test, side by side; a few that failed are tried once more, alone.

    Some hold the program to times, and lose them to their neighbours on a small machine. What
    fails alone fails; what passes alone is named.
    """
    workers = ["-n", str(min(os.cpu_count() or 1, 8) + 1), "--dist", "worksteal"]
    code = pytest(workers)
    failed = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
    if code != 1 or not failed.exists():
        return code
    names = list(json.loads(failed.read_text(encoding="utf-8")))
    if not 0 < len(names) <= MOST_TRIED_AGAIN:
        return code
    print("\nFailed beside others, and tried once more alone:", *names, sep="\n  ", flush=True)
    return pytest(["--last-failed", "--last-failed-no-failures", "none"])


def pytest(options: list[str]) -> int:
    """Run pytest with some options; return its exit code."""
    argv = [str(PYTHON), "-m", "pytest", *options]
    print(f"\n$ {' '.join(argv[1:])}", flush=True)
    return subprocess.run(argv, cwd=ROOT, check=False).returncode


def run(argv: list[object]) -> None:
    """Run a program and stop with its code if it fails."""
    code = subprocess.run([str(word) for word in argv], check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    sys.exit(main())
