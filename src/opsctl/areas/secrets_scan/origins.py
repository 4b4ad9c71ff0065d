"""Where in the history findings came in, and whether the working tree has them still."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from opsctl.adapters.git_objects import (
    GitFailed,
    Introduced,
    index_blobs,
    introductions,
    read_objects,
)
from opsctl.adapters.secret_scanner.scanner import Found
from opsctl.adapters.secret_scanner.sighting import Place
from opsctl.areas.secrets_scan.facts import Origin
from opsctl.areas.secrets_scan.git_reading import LARGEST, Read, header_of
from opsctl.areas.secrets_scan.known_objects import Sight
from opsctl.areas.secrets_scan.tree import work_tree_above

_LAST_SECOND = 32503680000
"""The year 3000; a commit may claim any time."""


def place_sights(
    folder: str,
    sights: Iterable[Sight],
    *,
    fresh: set[bytes],
    commits: Sequence[bytes],
    all_commits: Callable[[], Sequence[bytes]],
) -> list[Sight]:
    """Return sights with where they came in, as far as these commits change what is known.

    Of the `fresh` ones nothing is known yet: all commits may be looked through for them. One that
    came to nothing at its old path and now has another is to be told again. Raises GitFailed.
    """
    sights = list(sights)
    blobs = {sight.object.encode() for sight in sights if sight.kind == "blob"}
    found = introductions(folder, commits, blobs) if blobs and commits else {}
    if missing := (fresh & blobs) - found.keys():
        rest = list(set(all_commits()) - set(commits))
        if rest:
            found |= introductions(folder, rest, missing)
    people = _people(folder, {s.object.encode() for s in sights if s.kind != "blob" and not s.date})
    return [_placed(sight, found, people) for sight in sights]


def _placed(
    sight: Sight, found: Mapping[bytes, Introduced], people: Mapping[bytes, tuple[str, str]]
) -> Sight:
    id_ = sight.object.encode()
    if sight.kind != "blob":
        author, date = people.get(id_, (sight.author, sight.date))
        path = f"{sight.kind} {sight.object[:12]}"
        return replace(sight, path=path, commit=sight.object, author=author, date=date)
    known = found.get(id_)
    if known is None:
        return sight
    if sight.commit and sight.told and moment(sight.date) <= moment(known.date):
        return sight
    return replace(
        sight, path=known.path, commit=known.commit, author=known.author, date=known.date, told=True
    )


def moment(date: str) -> float:
    """Return a date as a number; none is before all, and one that no calendar has is as none."""
    try:
        return datetime.fromisoformat(date).timestamp() if date else 0.0
    except ValueError:
        # A commit may say that it was made in the year 10000, or in no year at all.
        return 0.0


def each_once(
    folder: str, read: Read, sights: Iterable[Sight], *, here: set[bytes]
) -> tuple[list[tuple[Found, Origin]], list[Sight]]:
    """Return each secret once at each path, where it is oldest, and which sights that takes.

    `here` are the blobs of the working tree.
    """
    by_id = {sight.object.encode(): sight for sight in sights}
    present = presence(folder, here)
    first: dict[tuple[str, str, str], tuple[float, Found, Origin]] = {}
    for id_, kind, found in read.found:
        sight = by_id[id_]
        path = sight.path or f"object {sight.object[:12]}"
        key = (found.rule, found.secret, path)
        still = kind == b"blob" and present(id_, sight.path, found.secret)
        still = still or (key in first and first[key][2].still_there)
        when = moment(sight.date)
        if key in first and when >= first[key][0]:
            before = first[key]
            first[key] = (before[0], before[1], replace(before[2], still_there=still))
            continue
        origin = Origin(
            sight.commit, sight.author, sight.date, sight.kind, sight.object, still_there=still
        )
        first[key] = (when, at_path(found, path), origin)
    ordered = sorted(first.values(), key=lambda each: (each[1].path, each[1].line, each[1].column))
    told = {origin.object for _, _, origin in ordered}
    return (
        [(found, origin) for _, found, origin in ordered],
        [replace(sight, told=sight.object in told) for sight in by_id.values()],
    )


def at_path(found: Found, path: str) -> Found:
    """Return a finding with its path, and what that says of who may read it."""
    public = found.public or ("client" if Place(path).is_client else "")
    return replace(found, path=path or found.path, public=public)


def _people(folder: str, ids: set[bytes]) -> dict[bytes, tuple[str, str]]:
    """Return (name, date) of who wrote commits and tags."""
    found: dict[bytes, tuple[str, str]] = {}
    if not ids:
        return found
    with read_objects(folder, sorted(ids)) as program:
        while header := program.stdout.readline():
            id_, _, size = header_of(header)
            if size < 0:
                continue
            data = program.stdout.read(size + 1)
            who = re.search(rb"^(?:author|tagger) (.*?) <[^>\n]*> (\d+)", data, re.MULTILINE)
            if who:
                date = datetime.fromtimestamp(min(int(who[2]), _LAST_SECOND), UTC).isoformat()
                found[id_] = (who[1].decode("utf-8", "replace"), date)
    return found


def checked_out(folder: str) -> set[bytes]:
    """Return the ids of the blobs of the working tree, none where there is no tree."""
    try:
        return index_blobs(folder)
    except GitFailed:
        return set()


def presence(folder: str, blobs: set[bytes]) -> Callable[[bytes, str, str], bool]:
    """Return a look whether a secret is still in the working tree, at its path or as its blob."""
    top = work_tree_above(folder)

    def look(id_: bytes, path: str, secret: str) -> bool:
        if id_ in blobs:
            return True
        if top is None or not path:
            return False
        try:
            with open(os.path.join(top, path), "rb") as file:  # noqa: PTH118, PTH123 - bytes in the name
                return secret.encode("latin-1", "replace") in file.read(LARGEST)
        except (OSError, ValueError):
            return False

    return look
