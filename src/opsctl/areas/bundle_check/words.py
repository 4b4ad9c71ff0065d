"""How sizes and their changes are said."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsctl.areas.bundle_check.growth import Part

_SHOWN = 3


def kilobytes(count: int) -> str:
    """Return bytes as kB of 1000, to a tenth."""
    return f"{count / 1000:,.1f} kB"


def signed(delta: int | None) -> str:
    """Return a change with its sign; `new` for what was not there, a dash for none."""
    if not delta:
        return "new" if delta is None else "-"
    return f"{'+' if delta > 0 else '-'}{kilobytes(abs(delta))}"


def say_parts(parts: tuple[Part, ...]) -> str:
    """Return the parts that grew most, for a person: `parts/chart.jsx +71.2 kB (new)`."""
    grown = [part for part in parts if part.delta > 0]
    said = [
        f"{part.name} +{kilobytes(part.delta)}{'' if part.before else ' (new)'}"
        for part in grown[:_SHOWN]
    ]
    if len(grown) > _SHOWN:
        said.append(f"and {len(grown) - _SHOWN} more")
    return ", ".join(said)
