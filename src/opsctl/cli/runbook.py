"""`opsctl runbook`: procedures that are read, carried out step by step, and checked for rot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.core.errors import Exit, OpsError
from opsctl.core.report import Report, Table

if TYPE_CHECKING:
    from opsctl.core.call import Call
    from opsctl.core.plan import Plan
    from opsctl.engine.run import Engine

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

File = Annotated[
    str, typer.Argument(metavar="FILE", help="A runbook's name, or the path of its file.")
]
"""A runbook named on the command line."""
Mark = Annotated[str, typer.Argument(metavar="MARK", help="TOKEN.STEP of a runbook's run.")]
"""A step of a runbook's run."""


@app.command("list")
def list_(call: Call) -> Report:
    """List the project's runbooks and opsctl's own."""
    from opsctl.adapters.runbook_files import read_runbook, runbook_paths

    books = [read_runbook(path) for path in runbook_paths(call.root)]
    rows = tuple((each.name, each.title, str(len(each.steps)), each.when) for each in books)
    return Report(
        command="runbook list",
        title="Runbooks",
        tables=(Table("", ("runbook", "title", "steps", "when"), rows),) if rows else (),
        notes=("Read one: opsctl runbook show NAME. Carry it out: opsctl runbook run NAME",)
        if rows
        else ("There are no runbooks.",),
        data={
            "runbooks": [
                {
                    "name": each.name,
                    "title": each.title,
                    "when": each.when,
                    "owner": each.owner,
                    "steps": len(each.steps),
                    "path": str(each.path),
                }
                for each in books
            ]
        },
    )


@app.command()
def show(call: Call, file: File) -> Report:
    """Show what a runbook says and the steps that it has."""
    from opsctl.adapters.command_line import own_words
    from opsctl.adapters.runbook_files import find_runbook, read_runbook

    book = read_runbook(find_runbook(call.root, file))
    steps = []
    for number, item in enumerate(book.steps, start=1):
        own = item.kind == "line" and own_words(item.text) is not None
        who = "opsctl" if own else "you"
        steps.append((str(number), item.heading, who, item.text))
    notes = [book.when] if book.when else []
    if book.owner:
        notes.append(f"Owner: {book.owner}")
    notes += _contacts(call)
    notes.append(f"The whole text: {book.path}")
    return Report(
        command="runbook show",
        title=book.title,
        tables=(Table("Steps", ("", "under", "who", "what"), tuple(steps)),) if steps else (),
        notes=tuple(notes),
        data={
            "runbook": book.name,
            "path": str(book.path),
            "when": book.when,
            "owner": book.owner,
            "steps": [
                {"step": int(number), "heading": heading, "who": who, "text": text}
                for number, heading, who, text in steps
            ],
        },
    )


@app.command("run")
def run_(
    call: Call,
    file: File,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="STEP", help="Begin at this number, step or heading."),
    ] = None,
) -> Plan:
    """Carry a runbook out, step by step, as one run that can be resumed.

    Lines of opsctl's own are run on --env, each asking for itself as it would when typed; what
    they say is shown as it comes. Other programs' lines and boxes to tick are yours: they are
    shown, and recorded with your name and the time when you say that they are done.
    """
    import secrets

    from opsctl.adapters.runbook_files import find_runbook, read_runbook
    from opsctl.cli.runbook_lint import dangers_in
    from opsctl.cli.runbook_plan import plan_runbook

    return plan_runbook(
        read_runbook(find_runbook(call.root, file)),
        environment=call.name,
        protected=call.environment.protected,
        token=secrets.token_hex(4),
        first=from_,
        warn=dangers_in,
        contacts=_contacts(call),
    )


@app.command()
def lint(
    call: Call,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Names or files; all runbooks where none is."),
    ] = None,
) -> Report:
    """Check every command line in runbooks, opsctl's own and those of other programs.

    Lines of supabase, prisma, vercel, psql, pg_dump, pg_restore, gh, git, npm and pnpm are held
    against the installed program's own help, or against the help recorded from a version of it.
    What is known to destroy data, or not to do what it seems to, is found, too.

    Exit 0 nothing is wrong, 1 something is, 3 a program could not be asked.
    """
    from opsctl.adapters.runbook_files import find_runbook, read_runbook, runbook_paths
    from opsctl.cli.runbook_lint import Programs, lint_runbooks

    paths = [find_runbook(call.root, each) for each in files or ()] or runbook_paths(call.root)
    books = [read_runbook(path) for path in paths]
    project = call.root if call.environment_name is None else call.project
    return lint_runbooks(books, Programs(project))


@app.command()
def verify(
    call: Call,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Names or files; all runbooks where none is."),
    ] = None,
) -> Report:
    """Try the lines of runbooks that name the sandbox, each runbook in a new one.

    The sandboxes are made in a temporary folder and thrown away. A look may find something; a
    change must be done.

    Exit 0 every line works, 1 one does not, 3 no sandbox could be made.
    """
    from opsctl.adapters.runbook_files import find_runbook, read_runbook, runbook_paths
    from opsctl.cli.runbook_verify import verify_runbooks

    paths = [find_runbook(call.root, each) for each in files or ()] or runbook_paths(call.root)
    return verify_runbooks([read_runbook(path) for path in paths], call.say)


@app.command(hidden=True)
def outcome(
    call: Call,
    mark: Mark,
    acts: Annotated[bool, typer.Option("--acts", help="It leaves no run behind.")] = False,
    undone: Annotated[bool, typer.Option("--undone", help="Ask whether it is undone.")] = False,
) -> Report:
    """Say what became of a runbook's step: exit 0 it is done, 1 it is not, 3 unknown."""
    from opsctl.cli.runbook_plan import outcome_of
    from opsctl.core.report import Status

    step_events, began = _traces(call, mark)
    if undone:
        undoing = [each for each in _engine(call).runs() if each.undoes in began]
        word, why = outcome_of(mark, (), [each.state for each in undoing], acts=False)
        if not began:
            word, why = "applied", f"{mark} left nothing to undo"
        runs = [each.run for each in undoing if each.state not in ("finished", "aborted")]
    else:
        word, why = outcome_of(mark, step_events, list(began.values()), acts=acts)
        runs = [run for run, state in began.items() if state not in ("finished", "aborted")]
    if word == "unknown" and runs:
        why += f": opsctl runs resume {runs[-1]}"
    codes = {"applied": Exit.OK, "absent": Exit.FAILED}
    states = {"applied": Status.OK, "absent": Status.FAILED}
    return Report(
        command="runbook outcome",
        title=why,
        environment=call.environment_name,
        data={"mark": mark, "outcome": word, "runs": dict(began)},
        given_status=states.get(word, Status.UNKNOWN),
        given_exit=codes.get(word, Exit.UNKNOWN),
    )


@app.command(hidden=True)
def take_back(call: Call, mark: Mark) -> Plan:
    """Undo the run that a runbook's step began."""
    finished = [run for run, state in _traces(call, mark)[1].items() if state == "finished"]
    if not finished:
        raise OpsError(
            f"The step {mark} began no run that is finished",
            why="there is nothing to take back",
            hint="opsctl runs list",
            code="nothing-to-undo",
        )
    return _engine(call).undo_plan(finished[-1])


def _traces(call: Call, mark: str) -> tuple[list[dict[str, object]], dict[str, str]]:
    """Return (the step's events in its runbook's run, the runs that it began and their states)."""
    from opsctl.cli.state_seam import open_journal

    token, _, step = mark.partition(".")
    states = {run.run: run.state for run in _engine(call).runs()}
    books: set[str] = set()
    events: list[dict[str, object]] = []
    began: dict[str, str] = {}
    for event in open_journal(call.state).events():
        facts = event.data.get("plan", {}).get("facts", {}) if event.kind == "planned" else {}
        if "runbook" in facts and facts.get("token") == token:
            books.add(event.run)
        elif event.kind == "approved" and event.data.get("within") == mark:
            began[event.run] = states[event.run]
        elif event.step == step and event.run in books:
            events.append({"kind": event.kind})
    return events, began


def _contacts(call: Call) -> list[str]:
    """Return whom to call, a line each, as the environment's settings have it."""
    if call.environment_name is None:
        return []
    contacts = call.environment.incidents.contacts
    return [f"Call {each.role}: {each.name} {each.reach}".rstrip() for each in contacts]


def _engine(call: Call) -> Engine:
    from opsctl.cli.change import open_engine

    return open_engine(call)
