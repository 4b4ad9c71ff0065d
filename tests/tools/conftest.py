"""The real supabase, prisma, vercel and octokit, installed once from the lock file here."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from opsctl.core.process import Finished, run_program

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "tools"
SILENT = {
    "CHECKPOINT_DISABLE": "1",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
    "PRISMA_HIDE_UPDATE_MESSAGE": "1",
    "SUPABASE_NO_KEYRING": "1",
    "SUPABASE_NO_UPDATE_NOTIFIER": "1",
    "SUPABASE_TELEMETRY_DISABLED": "1",
    # Any file does: with `engine: "js"` the engines are looked for and not used.
    "PRISMA_QUERY_ENGINE_LIBRARY": sys.executable,
    "PRISMA_SCHEMA_ENGINE_BINARY": sys.executable,
}

Tool = Callable[..., Finished]


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Install the tools where Node is. Elsewhere the test is left out, and never so in CI."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        why = f"{' and '.join(missing)} not found on the PATH"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"CI must drive the real tools: {why}")
        pytest.skip(why)
    files = [HERE / "package.json", HERE / "package-lock.json"]
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]
    home = CACHE / key
    home.mkdir(parents=True, exist_ok=True)
    # One worker installs, the others wait; what a cut-off installation left is made anew.
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            for path in files:
                shutil.copy(path, home)
            # Not `npm ci`: it refuses a lock file that lacks another platform's optional
            # binary. What is locked is installed as locked, hashes checked. Scripts would only
            # download the engines, which are not used.
            npm = str(shutil.which("npm"))
            argv = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = run_program(argv, cwd=str(home), timeout_s=600)
            if done.exit_code != 0:
                pytest.fail(f"npm install ended with {done.exit_code}:\n{done.stderr}")
            (home / "complete").touch()
    return home / "node_modules"


@pytest.fixture
def project(tmp_path: Path, node_modules: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application that has both tools and no migration."""
    for name, value in SILENT.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("SUPABASE_HOME", str(home))
    path = tmp_path / "app"
    (path / "supabase" / "migrations").mkdir(parents=True)
    (path / "prisma" / "migrations").mkdir(parents=True)
    lock = path / "prisma" / "migrations" / "migration_lock.toml"
    lock.write_text('provider = "postgresql"\n')
    (path / "prisma" / "schema.prisma").write_text(
        'datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n}\n'
    )
    shutil.copy(HERE / "prisma.config.ts", path)
    (path / "package.json").write_text("{}\n")
    (path / "node_modules").symlink_to(node_modules)
    return path


@pytest.fixture
def tool(project: Path) -> Tool:
    """Run one of the tools in the project, and require its exit code."""

    def run(name: str, *words: str, url: str, code: int = 0) -> Finished:
        program = project / "node_modules" / ".bin" / name
        done = run_program(
            [str(program), *words], env={"DATABASE_URL": url}, cwd=str(project), timeout_s=120
        )
        assert done.exit_code == code, done.stdout + done.stderr
        return done

    return run
