"""The sizes of an earlier build, read back from the plain data that was printed or kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsctl.adapters.bundle_build import objects, strings, table
from opsctl.areas.bundle_check.show import VERSION

_HASH = re.compile(r"(?<=[-._])(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{8}(?=\.)|[-.]?[0-9a-f]{12,}(?=\.)")


@dataclass(frozen=True)
class Sizes:
    """What one route loads first: kind (raw, gzip, ...) -> bytes."""

    js: Mapping[str, int]
    css: Mapping[str, int]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class File:
    """One served file."""

    name: str
    identity: str
    """A name that outlives a build, as good as can be known; empty for a mere hash."""
    digest: str
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class Snapshot:
    """The sizes of one build."""

    routes: Mapping[str, Sizes]
    files: Mapping[str, File]
    modules: Mapping[str, int]
    methods: Mapping[str, str]
    """Kind -> label: sizes of different labels cannot be compared."""


def read_snapshot(data: Any) -> Snapshot:
    """Return the sizes from data that `show.data_of` made; raises ValueError for anything else."""
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(f"it is not of version {VERSION}")
    routes, files = data.get("routes"), data.get("files")
    if not isinstance(routes, list) or not isinstance(files, list):
        raise ValueError("it has no routes and files")
    found = Snapshot(
        routes={
            each["route"]: Sizes(
                _numbers(each.get("js")), _numbers(each.get("css")), strings(each.get("files"))
            )
            for each in objects(routes)
            if isinstance(each.get("route"), str)
        },
        files={
            each["file"]: File(
                each["file"],
                str(each.get("label") or "") or identity_of(each["file"]),
                str(each.get("digest") or ""),
                _numbers(each),
            )
            for each in objects(files)
            if isinstance(each.get("file"), str)
        },
        modules={
            each["module"]: each["bytes"]
            for each in objects(data.get("modules"))
            if isinstance(each.get("module"), str) and isinstance(each.get("bytes"), int)
        },
        methods={str(k): str(v) for k, v in table(data.get("methods")).items()},
    )
    if not found.routes:
        raise ValueError("it has no routes")
    return found


def identity_of(name: str) -> str:
    """Return a file's name without the hash of its content; empty where nothing is left."""
    folder, _, last = name.rpartition("/")
    stem = _HASH.sub("", last).rpartition(".")[0].strip("-._~")
    return f"{folder}/{stem}" if stem else ""


def _numbers(value: Any) -> dict[str, int]:
    return {
        kind: size
        for kind, size in table(value).items()
        if isinstance(size, int) and not isinstance(size, bool) and kind != "routes"
    }
