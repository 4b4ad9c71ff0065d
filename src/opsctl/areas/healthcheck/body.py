"""What a body says: health+json, values at JSON Pointers, texts and patterns; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

_GOOD = frozenset({"pass", "ok", "up", "healthy"})
_WARN = frozenset({"warn", "warning", "degraded"})
_BAD = frozenset({"fail", "failed", "error", "down", "unhealthy", "critical"})
_MOST_COMPONENTS = 200
_SHOWN = 120
MISSING = object()
"""What stands where nothing stands."""

Word = Literal["pass", "warn", "fail", ""]
"""What a status says; empty where it says nothing that is known."""


@dataclass(frozen=True)
class Component:
    """One part of an application that it tells of itself (health+json, `checks`)."""

    name: str
    word: Word
    value: float | None
    unit: str
    output: str


@dataclass(frozen=True)
class Health:
    """What an application says of itself."""

    said: str
    """The status as it stands there."""
    word: Word
    output: str
    components: tuple[Component, ...]
    made_at: float | None
    """When the answer was made, if it says so: seconds since 1970."""


def read_json(body: bytes) -> Any:
    """Return a body's JSON, or MISSING where it is none."""
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return MISSING


def read_health(document: Any, *, declared: bool) -> Health | None:
    """Return what a document says of health (draft-inadarei-api-health-check), or None.

    `declared` is whether it was sent as health+json: only then a status that is not known is
    a bad one, and a document without a status is judged by its parts.
    """
    if not isinstance(document, dict):
        return None
    status = document.get("status")
    components = tuple(_components(document.get("checks")))
    if not isinstance(status, str):
        if not (declared and components):
            return None
        words = {each.word for each in components}
        status = next((word for word in ("fail", "warn") if word in words), "pass")
    word = _word(status)
    if not word and declared:
        word = "fail"
    if word == "pass" and any(each.word == "fail" for each in components):
        word = "warn"
    return Health(
        said=status[:40],
        word=word,
        output=_text(document.get("output")),
        components=components,
        made_at=_made_at(document),
    )


def utilization(health: Health) -> dict[str, float]:
    """Return what an application tells of its memory and disk: shares in use, of 1."""
    found: dict[str, float] = {}
    for each in health.components:
        part, _, what = each.name.partition(":")
        metric = {"memory": "memory", "mem": "memory", "disk": "disk", "storage": "disk"}.get(
            part.lower()
        )
        if metric is None or each.value is None or what.lower() not in _UTILIZATION:
            continue
        share = each.value / 100 if each.unit in ("percent", "%") else each.value
        if 0 <= share <= 1:
            found[metric] = max(share, found.get(metric, 0.0))
    return found


_UTILIZATION = frozenset({"utilization", "utilisation", "usage", "used"})


def at_pointer(document: Any, pointer: str) -> Any:
    """Return what stands at a JSON Pointer (RFC 6901), or MISSING."""
    if pointer == "":
        return document
    if not pointer.startswith("/"):
        return MISSING
    for part in pointer[1:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and _is_index(key) and int(key) < len(document):
            document = document[int(key)]
        else:
            return MISSING
    return document


def wrong_values(document: Any, expected: Mapping[str, object]) -> Iterator[str]:
    """Yield a sentence for each pointer where something else stands than is expected."""
    for pointer, value in expected.items():
        found = at_pointer(document, pointer)
        if found is MISSING:
            yield f"nothing stands at {pointer}"
        elif isinstance(found, bool) is not isinstance(value, bool) or found != value:
            yield f"at {pointer} stands {_shown(found)} instead of {_shown(value)}"


def _components(checks: Any) -> Iterator[Component]:
    if not isinstance(checks, dict):
        return
    count = 0
    for name, parts in checks.items():
        for part in parts if isinstance(parts, list) else [parts]:
            if not isinstance(part, dict) or count >= _MOST_COMPONENTS:
                continue
            count += 1
            yield Component(
                name=str(name)[:_SHOWN],
                word=_word(part.get("status")),
                value=_number(part.get("observedValue")),
                unit=_text(part.get("observedUnit")).lower(),
                output=_text(part.get("output")),
            )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        return None
    return float(value)


def _word(status: Any) -> Word:
    lower = status.lower() if isinstance(status, str) else ""
    if lower in _GOOD:
        return "pass"
    if lower in _WARN:
        return "warn"
    return "fail" if lower in _BAD else ""


def _made_at(document: Mapping[str, Any]) -> float | None:
    for key in ("time", "timestamp", "now", "date"):
        value = document.get(key)
        if isinstance(value, str) and 10 < len(value) < 40:
            from datetime import datetime

            try:
                at = datetime.fromisoformat(value)
            except ValueError:
                continue
            if at.tzinfo is not None:
                return at.timestamp()
    return None


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) < 10 and (key == "0" or key[0] != "0")


def _text(value: Any) -> str:
    return value[:300] if isinstance(value, str) else ""


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = "something deep"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
