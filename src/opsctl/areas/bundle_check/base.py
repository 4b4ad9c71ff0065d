"""Find the earlier build to compare with: a file, a commit's recorded sizes, a committed file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from opsctl.adapters.bundle_build import table
from opsctl.adapters.git import find_commit, read_checkout, read_committed
from opsctl.adapters.stores import write_atomically
from opsctl.areas.bundle_check.snapshot import Snapshot, read_snapshot
from opsctl.core.errors import Exit, OpsError

RECORDS = Path(".opsctl") / "bundles"
_MOST_RECORDS = 500
_BYTES = 64 << 20


def find_base(base: str, *, project: Path, root: Path, baseline: str) -> tuple[Snapshot, str]:
    """Return the sizes that `base` means and what they are called.

    `base` is a file, or a git ref: of its commit the recorded sizes, else the file `baseline`
    as that commit has it. Raises OpsError `no-base` or `bad-base` (exit 3).
    """
    if os.path.isfile(base):  # noqa: PTH113 - a ref may be longer than any name of a file
        return _parse(_read(Path(base)), base), base
    try:
        commit = find_commit(project, base)
    except OpsError as error:
        raise _no_base(base, f"there is no such file, and {error.why}") from None
    if commit is None:
        raise _no_base(base, "there is neither such a file nor such a commit")
    name = f"{base} ({commit[:10]})" if not commit.startswith(base) else commit[:10]
    record = root / RECORDS / f"{commit}.json"
    if record.is_file():
        return _parse(_read(record), name), name
    text = read_committed(project, commit=commit, path=baseline, most=_BYTES)
    if text is None:
        raise _no_base(base, f"no sizes were recorded at {commit[:10]}, nor has it {baseline}")
    return _parse(text, name), name


def record(data: dict[str, Any], *, project: Path, root: Path) -> str:
    """Keep the sizes of the commit that is checked out; return why not, or an empty text.

    Sizes of files that nobody committed belong to no commit and are not kept.
    """
    try:
        checkout = read_checkout(project)
    except OpsError as error:
        return error.why
    if not checkout.commit or checkout.dirty:
        return f"{checkout.dirty} files are not committed" if checkout.commit else "no commit yet"
    folder = root / RECORDS
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps(data, separators=(",", ":"))
        write_atomically(folder / f"{checkout.commit}.json", text.encode())
        kept = sorted(folder.glob("*.json"), key=lambda each: each.stat().st_mtime)
        for old in kept[:-_MOST_RECORDS]:
            old.unlink(missing_ok=True)
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        raise _bad_base(str(path), error.strerror or type(error).__name__) from None


def _parse(text: str, name: str) -> Snapshot:
    """Return the sizes within a whole document, as --format json writes it, or alone."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _bad_base(name, "it is no JSON") from None
    inner = table(document).get("data")
    try:
        return read_snapshot(inner if isinstance(inner, dict) else document)
    except (ValueError, TypeError) as error:
        raise _bad_base(name, str(error)) from None


def _no_base(base: str, why: str) -> OpsError:
    return OpsError(
        f"There is nothing to compare with at {base}",
        why=why,
        hint="opsctl bundle-check --format json --output bundle-baseline.json, and commit it",
        code="no-base",
        exit=Exit.UNKNOWN,
    )


def _bad_base(name: str, why: str) -> OpsError:
    return OpsError(
        f"{name} holds no sizes of an earlier check",
        why=why,
        hint="write it again: opsctl bundle-check --format json --output FILE",
        code="bad-base",
        exit=Exit.UNKNOWN,
    )
