"""Which modules each script is made of, where source maps or a stats file say so."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsctl.adapters.bundle_build import Build, is_script, objects, strings, table
from opsctl.adapters.bundle_sizes import LARGEST, SizeCache
from opsctl.core.errors import Exit, OpsError

_MAP_BYTES = 32 << 20
"""A source map is read whole, and takes a few times its size."""
_STATS_BYTES = 128 << 20
_URL = re.compile(rb"//[#@]\s*sourceMappingURL=([^\s'\"]+)\s*$")


@dataclass(frozen=True)
class Modules:
    """What is known of the modules within scripts."""

    by_file: Mapping[str, Mapping[str, int]]
    """Script -> module -> bytes."""
    source: str
    """Where that is from: `source maps`, or the name of a stats file; empty if nowhere."""
    minified: bool
    """Whether they are bytes of what is served; webpack's stats count before minifying."""
    notes: tuple[str, ...] = ()


def read_source_maps(build: Build, names: Iterable[str], *, cache: SizeCache) -> Modules:
    """Return the modules of scripts that have a source map beside them."""
    served = frozenset(build.served)
    found: dict[str, Mapping[str, int]] = {}
    notes: list[str] = []
    for name in names:
        place = _map_of(build.root, name, served)
        if place is None:
            continue
        try:
            found[name] = _read_map(build.root, name, place, cache)
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            notes.append(f"The source map {place} says nothing: {why}.")
    return Modules(found, "source maps" if found else "", minified=True, notes=tuple(notes))


def _map_of(root: Path, name: str, served: frozenset[str]) -> str | None:
    """Return where a script's map lies: beside it, or where its last line says."""
    if not is_script(name):
        return None
    if f"{name}.map" in served:
        return f"{name}.map"
    try:
        with (root / name).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 1024))
            match = _URL.search(file.read())
    except OSError:
        return None
    if match is None or match.group(1).startswith(b"data:"):
        return None
    target = match.group(1).decode("utf-8", errors="replace").rpartition("/")[2]
    place = f"{name.rpartition('/')[0]}/{target}".lstrip("/")
    return place if place in served else None


def _read_map(root: Path, name: str, place: str, cache: SizeCache) -> Mapping[str, int]:
    from opsctl.adapters.bundle_sourcemap import modules_of

    script = _read(root / name, LARGEST)
    source_map = _read(root / place, _MAP_BYTES)
    digest = hashlib.blake2b(script, digest_size=16)
    digest.update(source_map)
    key = digest.hexdigest()
    if key not in cache.modules:
        sizes = modules_of(script, source_map, place=place)
        cache.modules[key] = [[module, size] for module, size in sizes.items()]
        cache.changed = True
    return dict(cache.modules[key])


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most >> 20} MB")
    return data


def read_stats(path: Path, build: Build) -> Modules:
    """Return the modules by a stats file: webpack's `--json`, or esbuild's metafile.

    Raises OpsError `bad-stats` (exit 3).
    """
    try:
        data = json.loads(_read(path, _STATS_BYTES))
    except OSError as error:
        raise _bad_stats(path, error.strerror or type(error).__name__) from None
    except (ValueError, RecursionError) as error:
        why = str(error) if "larger" in str(error) else "it is no JSON"
        raise _bad_stats(path, why) from None
    outputs = table(data).get("outputs")
    if isinstance(outputs, dict):
        return Modules(_of_esbuild(outputs, build), path.name, minified=True)
    if isinstance(table(data).get("modules"), list) or isinstance(table(data).get("chunks"), list):
        return Modules(_of_webpack(data, build), path.name, minified=False)
    raise _bad_stats(path, "it is neither webpack's stats nor esbuild's metafile")


def _of_esbuild(outputs: dict[str, Any], build: Build) -> dict[str, dict[str, int]]:
    by_name = {name.rpartition("/")[2]: name for name in build.served if is_script(name)}
    found = {}
    for output, about in outputs.items():
        name = by_name.get(output.rpartition("/")[2])
        if name is not None:
            found[name] = {
                source: size
                for source, given in table(table(about).get("inputs")).items()
                if isinstance(size := table(given).get("bytesInOutput"), int) and size > 0
            }
    return found


def _of_webpack(data: dict[str, Any], build: Build) -> dict[str, dict[str, int]]:
    served = {name: name for name in build.served if is_script(name)}
    served |= {name.rpartition("/")[2]: name for name in served}
    files: dict[str | int, list[str]] = {}
    for chunk in objects(data.get("chunks")):
        for identity in _identities([chunk.get("id")]):
            names = strings(chunk.get("files"))
            files[identity] = [served[name] for name in names if name in served]
    found: dict[str, dict[str, int]] = {}
    for module, chunks in _flat(data.get("modules")):
        name, size = module.get("name"), module.get("size")
        if not isinstance(name, str) or not isinstance(size, int):
            continue
        clean = name.removeprefix("./").partition(" + ")[0]
        for identity in chunks:
            for file in files.get(identity, ()):
                sizes = found.setdefault(file, {})
                sizes[clean] = sizes.get(clean, 0) + size
    return found


def _identities(value: Any) -> tuple[str | int, ...]:
    known = isinstance(value, list)
    return tuple(each for each in value if isinstance(each, (str, int))) if known else ()


def _flat(modules: Any) -> Iterator[tuple[dict[str, Any], tuple[str | int, ...]]]:
    """Give the modules with their chunks, those that were joined in the place of their sum."""
    todo: list[tuple[dict[str, Any], tuple[str | int, ...]]] = [
        (each, ()) for each in objects(modules)
    ]
    while todo:
        module, outer = todo.pop()
        chunks = _identities(module.get("chunks")) or outer
        inner = objects(module.get("modules"))
        if inner:
            todo += [(each, chunks) for each in inner]
        else:
            yield module, chunks


def _bad_stats(path: Path, why: str) -> OpsError:
    return OpsError(
        f"The stats file {path} could not be read",
        why=why,
        hint="write one with webpack --json, esbuild --metafile, or leave bundle.stats out",
        code="bad-stats",
        exit=Exit.UNKNOWN,
    )
