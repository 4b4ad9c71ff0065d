"""How strangers install opsctl, and what an installed one must do to count as working.

Needs nothing but Python: workflows call it with the program that they installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
"""Of Python: what pyproject.toml and the release workflow name."""

WAYS = ("pip", "pipx", "uv")


def interpreters() -> dict[str, Path]:
    """Return an interpreter of each version that is here and starts."""
    found = {".".join(map(str, sys.version_info[:2])): Path(sys.executable)}
    tools = Path(os.environ.get("RUNNER_TOOL_CACHE", "/nowhere")) / "Python"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        candidates = [
            *sorted(pyenv.glob(f"{version}.*/bin/python")),
            *sorted(tools.glob(f"{version}.*/x64/bin/python")),
            *filter(None, [shutil.which(f"python{version}")]),
        ]
        for each in candidates:
            if version not in found and _starts(Path(each), version):
                found[version] = Path(each)
    return found


def _starts(python: Path, version: str) -> bool:
    """Whether it is that version: a shim may stand for one that is not chosen."""
    code = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() == version


def build(folder: Path) -> tuple[Path, Path]:
    """Build wheel and sdist of this tree; return their paths."""
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def installers(folder: Path) -> Path:
    """Install pipx and uv into a folder of their own; return where their programs lie."""
    run(sys.executable, "-m", "venv", folder)
    run(_programs(folder) / "python", "-m", "pip", "install", "--quiet", "pipx", "uv")
    return _programs(folder)


def install(
    way: str, python: Path, package: Path, folder: Path, *, extra: str = "", tools: Path
) -> Path:
    """Install a wheel or an sdist into a folder in one of the WAYS; return the program."""
    wanted = f"opsctl{extra and f'[{extra}]'} @ {package.as_uri()}"
    if way == "pip":
        run(python, "-m", "venv", folder)
        run(_programs(folder) / "python", "-m", "pip", "install", "--quiet", wanted)
        return _programs(folder) / "opsctl"
    bin_ = folder / "bin"
    if way == "pipx":
        homes = {"PIPX_HOME": folder / "pipx", "PIPX_BIN_DIR": bin_, "PIPX_MAN_DIR": folder / "man"}
        run(tools / "pipx", "install", "--python", python, wanted, **homes)
    else:
        homes = {"UV_TOOL_DIR": folder / "uv", "UV_TOOL_BIN_DIR": bin_}
        run(tools / "uv", "tool", "install", "--quiet", "--python", python, wanted, **homes)
    return bin_ / "opsctl"


def _programs(environment: Path) -> Path:
    return environment / ("Scripts" if sys.platform == "win32" else "bin")


def run(*argv: str | Path, cwd: Path | None = None, **env: str | Path) -> str:
    """Run a program, which must succeed; return its stdout."""
    done = subprocess.run(
        list(map(str, argv)), cwd=cwd, env={**os.environ, **{k: str(v) for k, v in env.items()}},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Installed:
    """An installed program, run in a folder that knows nothing of this tree."""

    program: Path
    folder: Path
    ran: int = field(default=0, init=False)

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run a command, which must end with `code` and no traceback; return its stdout."""
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT", "USERPROFILE", "SSL_CERT_FILE")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        # A warning of an interpreter newer than a library is news, too.
        env |= {"XDG_CACHE_HOME": str(self.folder / "cache"), "PYTHONWARNINGS": "error"}
        done = subprocess.run(
            [self.program, *words], cwd=self.folder, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.ran += 1
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout


def look_around(opsctl: Installed) -> None:
    """Ask for the version and for the help of every room."""
    assert re.fullmatch(r"opsctl \d+\.\d+\S*\n", opsctl("--version"))
    overview = opsctl("--help")
    rooms = re.findall(r"^  ([a-z][a-z-]+)  ", overview, re.MULTILINE)

    assert len(rooms) > 15
    for room in rooms:
        assert f"opsctl {room}" in opsctl(room, "--help")
    # What lies beside the code came along, too: runbooks, schemas, rules.
    assert "rollback" in opsctl("runbook", "list", "--format", "json")
    assert '"$defs"' in opsctl("config", "schema")


def find_a_secret(opsctl: Installed) -> None:
    """Look through a clean folder, and through one with a secret in it."""
    (opsctl.folder / "plain.txt").write_text("nothing to see\n")
    opsctl("secrets-scan", "--format", "json")
    planted = opsctl.folder / "planted.env"
    planted.write_text("DATABASE_URL=postgresql://app:" + "q7Rv9w" + "Zk2mXc@db.example.com/app\n")
    found = opsctl("secrets-scan", "--format", "json", code=1)
    planted.unlink()

    assert "planted.env" in found
    assert "q7Rv9w" not in found


def roll_back(opsctl: Installed) -> None:
    """Start a sandbox, roll its bad migration back, and see that it is well again."""
    opsctl("sandbox", "up")
    try:
        opsctl("healthcheck", "run", "--env", "sandbox", "--format", "json", code=1)
        opsctl("rollback", "db", "--env", "sandbox", "--yes", "--format", "json")
        opsctl("healthcheck", "run", "--env", "sandbox", "--format", "json")
        assert "rollback db" in opsctl("runs", "list", "--format", "json")
    finally:
        opsctl("sandbox", "down")


WORK: tuple[Callable[[Installed], None], ...] = (look_around, find_a_secret, roll_back)


def main() -> int:
    """Have an installed program work: installations.py PROGRAM [--sandbox]."""
    program, *options = sys.argv[1:]
    found = shutil.which(program)
    if found is None:
        print(f"{program} is not on the PATH")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        opsctl = Installed(Path(found), Path(folder))
        for work in WORK if options == ["--sandbox"] else WORK[:2]:
            work(opsctl)
    print(f"{found}: {opsctl.ran} commands did what they should")
    return 0


if __name__ == "__main__":
    sys.exit(main())
