"""Check a build's sizes: gather, compare, judge, and write what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.areas.bundle_check.facts import BundleFacts, gather
from opsctl.core.errors import Exit, OpsError

if TYPE_CHECKING:
    from opsctl.areas.bundle_check.growth import Growth
    from opsctl.core.call import Call
    from opsctl.core.report import Finding, Report


def check_bundles(
    call: Call,
    *,
    directory: Path | None,
    base: str,
    build_first: bool,
    html: Path | None,
    cached: bool,
    recorded: bool = False,
) -> Report:
    """Return the report of a build: its sizes, budgets, growth, and what must not be served."""
    settings = call.settings.bundle
    if directory is not None:
        place = directory.absolute()
    else:
        place = call.project if call.environment_name is not None else call.root
    notes = []
    if build_first:
        from opsctl.areas.bundle_check.building import run_script

        call.say(f"running the project's own script in {place}")
        notes.append(f"Ran {run_script(place, timeout_s=settings.run_timeout_s)} first.")
    # What judges and shows is imported while another process looks for secrets.
    facts = gather(
        place,
        settings,
        root=call.root,
        cached=cached,
        scan=call.settings.secrets_scan,
        meanwhile=_import_the_rest,
    )
    from opsctl.areas.bundle_check import checks, show
    from opsctl.core.report import Report

    _refuse_unknown_kind(settings.compression, facts)
    data = show.data_of(facts)
    growth: Growth | None = None
    home = place if place.is_dir() else call.root
    if base:
        from opsctl.areas.bundle_check.base import find_base
        from opsctl.areas.bundle_check.growth import compare
        from opsctl.areas.bundle_check.snapshot import read_snapshot

        before, name = find_base(base, project=home, root=call.root, baseline=settings.baseline)
        growth = compare(
            before,
            read_snapshot(data),
            kind=settings.compression,
            base_name=name,
            modules_of=facts.modules.by_file,
        )
    findings = checks.judge(facts, settings, growth)
    if recorded:
        findings = (*findings, _record(data, project=home, root=call.root))
    report = Report(
        command="bundle-check",
        title=show.title(facts),
        findings=findings,
        tables=show.tables(facts, settings, growth),
        notes=(*notes, *show.notes(facts, settings, growth)),
        data={**data, **show.judged(facts, settings, growth)},
        own={"html": lambda: _page(facts, settings.compression, growth)},
    )
    if html is not None:
        _write(html, _page(facts, settings.compression, growth))
        call.say(f"wrote {html}")
    return report


def _import_the_rest() -> None:
    import opsctl.areas.bundle_check.checks
    import opsctl.areas.bundle_check.show  # noqa: F401


def _record(data: dict[str, Any], *, project: Path, root: Path) -> Finding:
    from opsctl.areas.bundle_check.base import record
    from opsctl.core.report import Finding, Status

    why = record(data, project=project, root=root)
    return Finding(
        "bundle-record",
        "The sizes were not recorded" if why else "The sizes were recorded under the commit",
        Status.UNKNOWN if why else Status.OK,
        evidence=why,
        hint="commit everything, build, and check again" if why else "",
    )


def _page(facts: BundleFacts, kind: str, growth: Growth | None) -> str:
    from opsctl.areas.bundle_check.page import write_page

    return write_page(facts, kind=kind, growth=growth)


def _write(path: Path, text: str) -> None:
    from opsctl.adapters.stores import write_atomically

    try:
        write_atomically(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise OpsError(
            f"The file {path} was not written",
            why=error.strerror or type(error).__name__,
            hint="give another --html FILE",
            code="output-failed",
        ) from None


def _refuse_unknown_kind(kind: str, facts: BundleFacts) -> None:
    if kind not in facts.kinds:
        raise OpsError(
            f"Sizes with {kind} are not known here",
            why=f"bundle.compression asks for {kind}; it is not among bundle.compressions, "
            "or its library is not installed",
            hint="pip install 'opsctl[bundle]', or correct the settings",
            code="library-missing",
            exit=Exit.UNKNOWN,
        )
