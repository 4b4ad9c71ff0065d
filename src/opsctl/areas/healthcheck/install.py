"""Write the schedule on which the health is looked at: printed, or put into a directory."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.areas.healthcheck.schedules import (
    File,
    Wanted,
    cron,
    github_actions,
    systemd,
    variables_of,
)
from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Finding, Location, Report, Status

if TYPE_CHECKING:
    from opsctl.core.call import Call

KINDS = {"systemd": systemd, "cron": cron, "github-actions": github_actions}


def chosen(kinds: Mapping[str, bool]) -> str:
    """Return the one kind that was asked for; raises OpsError `which-schedule` (exit 2)."""
    asked = [name for name, wanted in kinds.items() if wanted]
    if len(asked) == 1:
        return asked[0]
    raise OpsError(
        "Which schedule is to be written was not said",
        why=f"{' and '.join(asked) or 'nothing'} was asked for",
        hint=f"give one of {', '.join(f'--{name}' for name in kinds)}",
        code="which-schedule",
    )


def install(call: Call, kind: str, *, every_s: float, into: Path | None, replace: bool) -> Report:
    """Return the files of a schedule, written below `into` where that is given.

    A file that is there and the same is left alone; one that differs is replaced only if asked:
    OpsError `file-differs` (exit 5).
    """
    on_github = kind == "github-actions"
    wanted = Wanted(
        environment=call.name,
        every_s=every_s,
        program=_program(),
        root=str(call.root),
        config=_config(call, relative=on_github),
        variables=variables_of(tuple(_references(call.environment.model_dump()))),
    )
    files = KINDS[kind](wanted)
    if into is None:
        return Report(
            command="healthcheck install",
            title=f"Schedule for {kind}",
            environment=call.name,
            text="\n".join(f"{each.text}\n# {each.name}: {each.next}" for each in files),
            data={"files": {each.name: each.text for each in files}},
        )
    changed = [_write(into / each.name, each, replace=replace) for each in files]
    return Report(
        command="healthcheck install",
        title=f"Schedule for {kind}",
        environment=call.name,
        findings=tuple(
            Finding(
                rule="schedule-file",
                title=f"{each.name} was {'written' if new else 'there already'}",
                status=Status.OK,
                location=Location(path=str(into / each.name)),
            )
            for each, new in zip(files, changed, strict=True)
        ),
        notes=tuple(f"Next: {each.next}" for each in files),
        data={
            "files": {
                str(into / each.name): "written" if new else "unchanged"
                for each, new in zip(files, changed, strict=True)
            }
        },
    )


def _write(path: Path, file: File, *, replace: bool) -> bool:
    """Write a file atomically; return whether it was not there already as it is to be."""
    try:
        if path.is_file():
            if path.read_text(encoding="utf-8") == file.text:
                return False
            if not replace:
                raise OpsError(
                    f"The file {path} was left as it is",
                    why="it is there already and holds something else",
                    hint="look at it, then give --replace",
                    code="file-differs",
                    exit=Exit.REFUSED,
                )
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = path.with_name(Path(name).name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(file.text)
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "what is there is not text"
        raise OpsError(
            f"The file {path} was not written",
            why=why or type(error).__name__,
            hint="give another --into DIRECTORY",
            code="output-failed",
        ) from None
    return True


def _program() -> tuple[str, ...]:
    """Return how opsctl is started again: by the interpreter, whose packages are known."""
    return (sys.executable, "-m", "opsctl")


def _config(call: Call, *, relative: bool) -> str | None:
    """Return the settings file where it is not the one that would be found from the root."""
    for origin in call.origins.values():
        path = Path(origin.rpartition(":")[0])
        if not path.is_file() or path.is_relative_to(call.root / ".opsctl"):
            continue
        if path in (call.root / "opsctl.yaml", call.root / "config" / "opsctl.yaml"):
            return None
        inside = relative and path.is_relative_to(call.root)
        return str(path.relative_to(call.root)) if inside else str(path)
    return None


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _references(each)
