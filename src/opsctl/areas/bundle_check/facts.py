"""What a build makes browsers download: gathered from the disk, judged elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.adapters.bundle_build import Build, Route, Trouble, is_asset, is_script, is_style
from opsctl.adapters.bundle_environment import Exposure, Lookout, read_private_values
from opsctl.adapters.bundle_find import find_build
from opsctl.adapters.bundle_modules import Modules, read_source_maps, read_stats
from opsctl.adapters.bundle_packages import Duplicate, find_duplicates, join_sizes
from opsctl.adapters.bundle_secrets import searching
from opsctl.adapters.bundle_sizes import Measured, Size, SizeCache, measure
from opsctl.adapters.compression import Method, choose_methods

if TYPE_CHECKING:
    from opsctl.adapters.secret_scanner.rules import Rule
    from opsctl.adapters.secret_scanner.scanner import Found
    from opsctl.core.settings import Bundle, SecretsScan

_PARENTS = 3
CACHE = Path(".opsctl") / "cache" / "bundle-sizes.json"


@dataclass(frozen=True)
class BundleFacts:
    """One build, measured."""

    build: Build
    where: str
    """The build's directory, relative to the settings' root where it is below that."""
    sizes: Mapping[str, Size]
    methods: tuple[Method, ...]
    modules: Modules
    duplicates: tuple[Duplicate, ...]
    exposures: tuple[Exposure, ...]
    secrets: tuple[Found, ...]
    """What looks like a secret by the scanner's rules, and is none of the exposures."""
    private_names: int
    """Private values that were looked for."""
    maps: tuple[str, ...]
    """Source maps that lie where they would be served."""
    troubles: tuple[Trouble, ...]
    notes: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of sizes that are known: raw, gzip and what else there is a library for."""
        return ("raw", *(method.name for method in self.methods))

    def total(self, names: tuple[str, ...], kind: str) -> int:
        """Return the size of files together, those that were measured."""
        return sum(self.sizes[name].of(kind) for name in names if name in self.sizes)

    def scripts(self, route: Route) -> tuple[str, ...]:
        """Return a route's JavaScript."""
        return tuple(name for name in route.files if is_script(name))

    def styles(self, route: Route) -> tuple[str, ...]:
        """Return a route's CSS."""
        return tuple(name for name in route.files if is_style(name))

    @property
    def all_scripts(self) -> tuple[str, ...]:
        """All JavaScript that is served, whether or not a route loads it first."""
        return tuple(name for name in self.build.served if is_script(name))

    @property
    def all_styles(self) -> tuple[str, ...]:
        """All CSS that is served."""
        return tuple(name for name in self.build.served if is_style(name))

    @property
    def users(self) -> dict[str, tuple[str, ...]]:
        """File -> the routes that load it first."""
        found: dict[str, list[str]] = {}
        for route in self.build.routes:
            for name in route.files:
                found.setdefault(name, []).append(route.name)
        return {name: tuple(routes) for name, routes in found.items()}

    @property
    def labels(self) -> dict[str, str]:
        """File -> what is in it, where the build says so."""
        return dict(self.build.labels)


def gather(
    project: Path,
    settings: Bundle,
    *,
    root: Path,
    cached: bool,
    scan: SecretsScan,
    meanwhile: Callable[[], None] = lambda: None,
) -> BundleFacts:
    """Look at the build in a project, or in the build's own directory.

    What is to be done `meanwhile` is called once the search for secrets runs beside.

    Raises the errors of `find_build`, and OpsError `library-missing` or `bad-stats` (exit 3);
    of the rules and the allow-lists for secrets, `bad-rule` or `bad-baseline` (exit 2).
    """
    build = find_build(project, named=settings.build, files=settings.files)
    methods = choose_methods(
        settings.compressions,
        gzip_engine=settings.gzip_engine,
        gzip_level=settings.gzip_level,
        brotli_level=settings.brotli_level,
        zstd_level=settings.zstd_level,
    )
    home = _project_of(build.root, project)
    values, closed = read_private_values(home)
    lookout = Lookout(values)
    cache = SizeCache.load(root / CACHE if cached else None)
    where = _shown(build.root, root)
    assets = [name for name in build.served if is_asset(name)]
    wanted = [*assets, *(name for route in build.routes for name in route.files)]
    maps = tuple(name for name in build.served if name.endswith(".map"))
    with searching(
        build.root, (*wanted, *maps), rules=_rules(scan), cache=cache, folder=where
    ) as finish:
        measured = measure(build.root, wanted, methods=methods, cache=cache, look=lookout)
        unread = measure(build.root, maps, methods=(), cache=cache, look=lookout).failed
        meanwhile()
        searched = finish()
    unseen = dict((*unread, *searched.not_scanned))
    for name, _ in measured.failed:
        unseen.pop(name, None)
    modules = _modules(build, home, settings, measured, cache)
    notes = list(modules.notes)
    if not cache.save():
        notes.append(f"The sizes could not be remembered in {root / CACHE}.")
    return BundleFacts(
        build=build,
        where=where,
        sizes=measured.sizes,
        methods=methods,
        modules=modules,
        duplicates=find_duplicates(join_sizes(modules.by_file.values()), home),
        exposures=lookout.found,
        secrets=_standing(searched.found, lookout.found, scan, where=where, root=root),
        private_names=len(values),
        maps=maps,
        troubles=(
            *build.troubles,
            *(Trouble("", f"{name} could not be measured", why) for name, why in measured.failed),
            *(
                Trouble("", f"{name} was not searched for secrets", why)
                for name, why in unseen.items()
            ),
            *(
                Trouble("", f"The values of {name} were not looked for", why)
                for name, why in closed
            ),
        ),
        notes=tuple(notes),
    )


def _rules(scan: SecretsScan) -> tuple[Rule, ...]:
    if not scan.rules:
        return ()
    from opsctl.adapters.secret_scanner.user_rules import user_rules

    return user_rules(scan.rules)


def _standing(
    found: tuple[Found, ...],
    exposures: tuple[Exposure, ...],
    scan: SecretsScan,
    *,
    where: str,
    root: Path,
) -> tuple[Found, ...]:
    """Return what is surely a secret and may not stay, without what is known by its exact value.

    What only may be one, such as any random value under a telling name, would fail builds for
    nothing: `secrets-scan --bundle` tells it.
    """
    if not found:
        return ()
    from opsctl.adapters.secret_scanner.allow import allowed_by

    allowed = allowed_by(
        paths=scan.allow_paths,
        values=scan.allow_values,
        baseline=root / scan.baseline if scan.baseline else None,
        ignore_file=root / ".gitleaksignore",
    )
    known = {(f"{where}/{each.file}", each.line) for each in exposures}
    return tuple(
        each
        for each in found
        if each.confidence == "high"
        and not each.allowed
        and (each.path, each.line) not in known
        and not allowed.why(each)
    )


def _shown(folder: Path, root: Path) -> str:
    return str(folder.relative_to(root) if folder.is_relative_to(root) else folder)


def _modules(
    build: Build, home: Path, settings: Bundle, measured: Measured, cache: SizeCache
) -> Modules:
    if settings.stats is not None:
        return read_stats(home / settings.stats, build)
    return read_source_maps(build, measured.sizes, cache=cache)


def _project_of(build: Path, place: Path) -> Path:
    """Return the directory that has the package.json: the place asked for, or one above it.

    A build may have a package.json of its own.
    """
    for folder in (place, *list(place.parents)[:_PARENTS]):
        if folder != build and (folder / "package.json").is_file():
            return folder
    return place
