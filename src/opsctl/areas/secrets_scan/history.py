"""Scan git: every object once, or what the index or some commits add."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path

from opsctl.adapters.git_objects import (
    Change,
    Entry,
    GitFailed,
    changes_since,
    commit_of,
    commits_since,
    describe_objects,
    git_error,
    lacks_objects_on_purpose,
    list_object_ids,
    list_objects,
    repository_of,
    staged_changes,
    store_of,
)
from opsctl.adapters.secret_scanner.patterns import Patterns
from opsctl.adapters.secret_scanner.scanner import Found
from opsctl.areas.secrets_scan.facts import Asked, Facts, Origin
from opsctl.areas.secrets_scan.git_reading import FEW, Read, read_all, read_some
from opsctl.areas.secrets_scan.known_objects import KnownObjects, Sight
from opsctl.areas.secrets_scan.origins import at_path, checked_out, each_once, place_sights
from opsctl.areas.secrets_scan.tree import no_repository, work_tree_above


def scan_history(patterns: Patterns, asked: Asked, *, say: Callable[[str], None]) -> Facts:
    """Scan every object that the repository has, reachable or not.

    Raises OpsError `not-a-checkout`, `tool-missing` or `git-failed` (exit 3).
    """
    folder = _folder(asked)
    try:
        directory, shallow = repository_of(folder)
        known = KnownObjects(directory, patterns.identity)
        # Before the objects are listed: what comes meanwhile makes it another store.
        store = store_of(directory)
        unchanged = bool(store) and store == known.store
        ids, new = (frozenset[bytes](), []) if unchanged else _listed(folder, known)
        count = known.count if unchanged else len(ids)
        if len(new) > FEW:
            say(f"reading {len(new):,} objects")
        read = read_all(patterns, folder, new, jobs=asked.workers)
        fresh = {id_ for id_, _, _ in read.found}
        commits = [entry.id for entry in new if entry.kind == b"commit"]
        sights = place_sights(
            folder,
            [*(known.sights if unchanged else _left(known.sights, ids)), *_new_sights(read.found)],
            fresh=fresh,
            commits=commits,
            all_commits=lambda: _commits(folder) if known.count else commits,
        )
        here = checked_out(folder) if sights else set()
        again = _read_again(patterns, folder, sights, fresh=fresh, here=here)
        once, sights = each_once(folder, again, sights, here=here)
        broken = {id_.encode() for id_, _ in read.not_scanned}
        if not unchanged or tuple(sights) != known.sights:
            kept = known.ids if unchanged else ids - broken
            known.keep(kept, sights, store="" if broken else store)
        seen_before = len({id_ for id_, _, _ in again.found} - fresh)
        notes = list(_about_repository(folder, shallow=shallow))
        if known.count:
            before = count if unchanged else len(ids & known.ids)
            notes.append(f"{before:,} of {count:,} objects were known from before")
        return replace(
            _facts(once, read, patterns, notes, what=f"the history, {count:,} objects"),
            files=read.objects + seen_before,
            bytes=read.bytes or again.bytes,
        )
    except GitFailed as error:
        raise git_error(error, folder) from None


def _listed(folder: str, known: KnownObjects) -> tuple[frozenset[bytes], list[Entry]]:
    """Return the ids of all objects, and those that are new and no trees, as they lie on disk."""
    if not known.ids:
        return list_objects(folder)
    listed = list_object_ids(folder)
    new = [id_ for id_ in listed if id_ not in known.ids]
    return frozenset(listed), describe_objects(folder, new)


def _commits(folder: str) -> list[bytes]:
    return [entry.id for entry in list_objects(folder)[1] if entry.kind == b"commit"]


def _left(sights: Sequence[Sight], ids: Set[bytes]) -> list[Sight]:
    """Return the sights whose objects are still there.

    Where git has dropped one that was told, another may have to be told in its place.
    """
    left = [sight for sight in sights if sight.object.encode() in ids]
    dropped = {s.path for s in sights if s.told and s.object.encode() not in ids}
    return [replace(s, told=True) if s.path in dropped else s for s in left]


def _new_sights(found: Iterable[tuple[bytes, bytes, Found]]) -> list[Sight]:
    return [Sight(id_.decode(), kind.decode()) for id_, kind in dict.fromkeys(f[:2] for f in found)]


def _read_again(
    patterns: Patterns, folder: str, sights: list[Sight], *, fresh: set[bytes], here: set[bytes]
) -> Read:
    """Read what is to be told, now that paths are known: they decide what is a secret there."""
    ids = [sight.object.encode() for sight in sights]
    chosen = [
        id_
        for id_, sight in zip(ids, sights, strict=True)
        if sight.told or id_ in here or id_ in fresh
    ]
    paths = {
        id_: sight.path
        for id_, sight in zip(ids, sights, strict=True)
        if sight.kind == "blob" and sight.path
    }
    return read_some(patterns, folder, chosen, paths) if chosen else Read()


def scan_since(patterns: Patterns, asked: Asked) -> Facts:
    """Scan what the commits after a revision brought in, their messages included."""
    folder = _folder(asked)
    try:
        _, shallow = repository_of(folder)
        commit = commit_of(folder, asked.since)
        changes = changes_since(folder, commit)
        messages = commits_since(folder, commit)
        read, paths = _scan_changes(patterns, folder, changes, messages)
        sights = [
            replace(sight, path=paths.get(sight.object.encode(), ""))
            for sight in _new_sights(read.found)
        ]
        placed = place_sights(
            folder, sights, fresh=set(), commits=messages, all_commits=lambda: messages
        )
        once, _ = each_once(folder, read, placed, here=checked_out(folder))
        what = f"{len(messages):,} commits since {asked.since}"
        notes = list(_about_repository(folder, shallow=shallow))
        return _facts(once, read, patterns, notes, what=what)
    except GitFailed as error:
        raise git_error(error, folder) from None


def scan_staged(patterns: Patterns, asked: Asked) -> Facts:
    """Scan what the next commit would add."""
    folder = _folder(asked)
    try:
        read, paths = _scan_changes(patterns, folder, staged_changes(folder), [])
    except GitFailed as error:
        raise git_error(error, folder) from None
    found = [(at_path(found, paths.get(id_, "")), None) for id_, _, found in read.found]
    return _facts(found, read, patterns, [], what="what is staged")


def _folder(asked: Asked) -> str:
    folder = os.fspath(asked.paths[0]) if asked.paths else "."
    if work_tree_above(folder) is None and not (Path(folder) / "objects").is_dir():
        raise no_repository(folder)
    return folder


def _about_repository(folder: str, *, shallow: bool) -> Iterator[str]:
    if shallow:
        yield (
            "this is a shallow clone: only a part of the history was scanned; "
            "git fetch --unshallow (in GitHub Actions, fetch-depth: 0)"
        )
    if lacks_objects_on_purpose(folder):
        yield "this is a partial clone: objects that it left on the server were not scanned"


def _facts(
    found: Sequence[tuple[Found, Origin | None]],
    read: Read,
    patterns: Patterns,
    notes: Sequence[str],
    *,
    what: str,
) -> Facts:
    return Facts(
        what,
        tuple(each for each, _ in found),
        tuple(read.not_scanned),
        files=read.objects,
        bytes=read.bytes,
        engine=patterns.engine,
        notes=tuple(notes),
        origins={at: origin for at, (_, origin) in enumerate(found) if origin is not None},
        rules=len(patterns.rules),
    )


def _scan_changes(
    patterns: Patterns, folder: str, changes: Sequence[Change], commits: Sequence[bytes]
) -> tuple[Read, dict[bytes, str]]:
    """Scan the new sides of changes, without what the old sides had already."""
    paths = {change.new: change.path for change in changes}
    before = {change.old for change in changes if change.old} - paths.keys()
    ids = [*paths, *commits]
    new = read_some(patterns, folder, ids, paths) if ids else Read()
    if not new.found or not before:
        return new, paths
    old_paths = {change.old: change.path for change in changes if change.old}
    old = read_some(patterns, folder, list(before), old_paths)
    known = {(found.rule, found.secret) for _, _, found in old.found}
    new.found = [each for each in new.found if (each[2].rule, each[2].secret) not in known]
    return new, paths
