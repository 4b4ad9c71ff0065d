"""`opsctl init`: look at the repository and write settings that work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.adapters.project_signs import Signs, VercelLink
    from opsctl.core.report import Report
    from opsctl.core.settings import Settings
    from opsctl.core.start import Start

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

_ASK_S = 5.0


@app.command()
def write(
    call: Start,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the environment is called.")
    ] = "production",
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Where the application lives; else Vercel says."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody, Vercel neither.")] = False,
) -> Report:
    """Write opsctl.yaml from what this repository says of its platforms.

    Looks at supabase/, prisma/, .vercel/, package.json, .github/, next.config.*, .env files
    (names alone) and git's remotes, and for where you are signed in. Secrets stay references.
    A file that is there is never written over: what would differ is shown.

    --dry-run prints the file, --yes writes it without asking.
    """
    return initialize(call, root=Path.cwd(), name=name, url=url, offline=offline)


def initialize(start: Start, *, root: Path, name: str, url: str | None, offline: bool) -> Report:
    """Return what was written, or what would differ.

    Raises OpsError `bad-name` or `bad-url` (exit 2), `not-confirmed` (exit 5),
    `settings-unwritable` (exit 3).
    """
    from opsctl.adapters.project_signs import find_sign_ins, read_signs
    from opsctl.cli.init_text import settings_text
    from opsctl.core.report import Report, Table

    signs = read_signs(root)
    sign_ins = find_sign_ins(os.environ, Path.home())
    address = url
    if address is None and not offline and signs.vercel and "vercel" in sign_ins.here:
        address = live_address(signs.vercel, sign_ins.vercel)
    text = settings_text(signs, sign_ins, name=name, address=address)
    proposed = _checked(text, root, name=name, url=url)
    there = next((p for p in (root / "opsctl.yaml", root / "config" / "opsctl.yaml") if p.exists()),
                 None)  # fmt: skip
    tables = (Table("What was found", ("what", "where"), _found(signs, sign_ins.here)),)
    notes = [f"Not understood: {each}" for each in signs.unread]
    data: dict[str, Any] = {"settings": proposed.model_dump(mode="json", exclude_unset=True)}
    if start.dry_run:
        return Report(command="init write", title="opsctl.yaml", text=text, notes=tuple(notes),
                      data={**data, "written": False, "text": text})  # fmt: skip
    if there is not None:
        from opsctl.cli.init_compare import differences

        rows = differences(there, proposed, root)
        return Report(
            command="init write",
            title=f"{there.relative_to(root)} is there already, and stays as it is",
            tables=(Table("What would differ", ("setting", "yours", "found here"), rows),)
            if rows
            else (),
            notes=(
                *notes,
                "Take over by hand what you want; see it whole: opsctl init --dry-run"
                if rows
                else "It says all that was found here.",
            ),
            data={**data, "written": False, "path": str(there),
                  "differences": [list(row) for row in rows]},
        )  # fmt: skip
    _agree(start, text)
    path = root / "opsctl.yaml"
    _write(path, text)
    ignored = _ignore_state(root)
    if ignored:
        notes.append("Added .opsctl/ to .gitignore: journal and local backups lie there.")
    notes.append("Next: opsctl doctor. Then: opsctl status")
    return Report(
        command="init write",
        title="opsctl.yaml was written",
        tables=tables,
        notes=tuple(notes),
        data={**data, "written": True, "path": str(path), "gitignore": ignored},
    )


def _checked(text: str, root: Path, *, name: str, url: str | None) -> Settings:
    """Return the settings of a text that was made here; what was given may not fit."""
    import json

    from pydantic import TypeAdapter, ValidationError

    from opsctl.core.settings import EnvironmentName, Settings
    from opsctl.core.strict_yaml import load_yaml

    try:
        TypeAdapter(EnvironmentName).validate_python(name)
    except ValidationError:
        raise OpsError(
            f"The environment cannot be called {name!r}",
            why="a name has letters, digits, - and _, and begins with a letter or a digit",
            hint="opsctl init --name production",
            code="bad-name",
        ) from None
    data, _ = load_yaml(text, source="opsctl.yaml")
    try:
        return Settings.model_validate_json(json.dumps(data), context={"root": root})
    except ValidationError as error:
        where = {str(each["loc"][-1]) for each in error.errors(include_input=False)}
        if url is not None and "url" in where:
            raise OpsError(
                "The application's address was not understood",
                why="it begins with http:// or https://, and holds no password",
                hint="opsctl init --url https://app.example.com",
                code="bad-url",
            ) from None
        raise


def live_address(link: VercelLink, token: str, *, api: str | None = None) -> str | None:
    """Return the address of production's first domain, if Vercel says it soon."""
    from opsctl.adapters.rest import Patience
    from opsctl.adapters.vercel import VercelApi
    from opsctl.cli.at_once import at_once
    from opsctl.core.settings import Vercel

    more = {"api": api} if api else {}
    settings = Vercel(project=link.project, team=link.team, token=token, **more)

    def look() -> str:
        api = VercelApi(settings, patience=Patience(attempts=1))
        domains = api.production(api.project()).domains
        return f"https://{domains[0].name}" if domains else ""

    # Whoever is not reached is not needed: the file says how to give the address.
    return at_once({"vercel": look}, within_s=_ASK_S)["vercel"].value or None


def _found(signs: Signs, here: frozenset[str]) -> tuple[tuple[str, str], ...]:
    link = signs.vercel
    return (
        ("Supabase", signs.supabase_ref or ("supabase/, not linked" if signs.supabase else "-")),
        ("Prisma", signs.prisma_migrations or "-"),
        ("Vercel", link.project if link else "-"),
        ("GitHub", signs.repository or "-"),
        ("Next.js", signs.next_app or "-"),
        ("health endpoint", signs.health_path or "-"),
        ("database URL", f"env:{signs.direct_url}" if signs.direct_url else "-"),
        ("signed in to", ", ".join(sorted(here)) or "nothing"),
    )


def _agree(start: Start, text: str) -> None:
    if start.agreed:
        return
    from opsctl.cli.screen import ask, can_ask

    if not can_ask(no_input=start.no_input):
        raise OpsError(
            "The settings were not written",
            why="nobody is there to be asked, and --yes was not given",
            hint="opsctl init --yes; or see them first: opsctl init --dry-run",
            code="not-confirmed",
            exit=Exit.REFUSED,
        )
    start.say(text)
    if ask("Write this to opsctl.yaml? [y/N] ").lower() not in ("y", "yes"):
        raise OpsError(
            "The settings were not written",
            why="the answer was not yes",
            hint="opsctl init --dry-run > opsctl.yaml, and change it to your liking",
            code="not-confirmed",
            exit=Exit.REFUSED,
        )


def _write(path: Path, text: str) -> None:
    """Write a file that is not there, whole or not at all."""
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with whole.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link never writes over a file that somebody else made meanwhile.
            os.link(whole, path)
        finally:
            whole.unlink()
    except FileExistsError:
        raise OpsError(
            f"{path.name} was not written",
            why="somebody else wrote it meanwhile",
            hint="opsctl init shows what would differ",
            code="settings-exist",
            exit=Exit.REFUSED,
        ) from None
    except OSError as error:
        raise OpsError(
            f"{path.name} could not be written",
            why=error.strerror or type(error).__name__,
            hint=f"may you write to {path.parent}?",
            code="settings-unwritable",
            exit=Exit.UNKNOWN,
        ) from None


def _ignore_state(root: Path) -> bool:
    """Have git ignore .opsctl/ where it does not yet; return whether a line was added."""
    import shutil

    from opsctl.core.process import run_program

    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return False
    done = run_program([git, "check-ignore", "-q", ".opsctl/state.db"], cwd=str(root), timeout_s=10)
    if done.exit_code != 1:
        return False
    path = root / ".gitignore"
    text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    gap = "" if not text or text.endswith("\n") else "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{gap}.opsctl/\n")
    return True
