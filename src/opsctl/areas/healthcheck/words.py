"""How this room says shares, spans and sparklines, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
NO_DATA = "·"
"""Stands in a sparkline where nothing is known."""


def percent(share: float | None, places: int = 3) -> str:
    """Return a share in per cent, rounded down: 99.9996 % is not 100 %."""
    if share is None:
        return "-"
    factor = 10**places
    hundred = math.floor(share * 100 * factor + 1e-7) / factor
    text = f"{hundred:.{places}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def rate(share: float | None) -> str:
    """Return an error rate in per cent, to two significant digits: 0.012 %."""
    if share is None:
        return "-"
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share * 100:.0f} %"


def milliseconds(value: float | None) -> str:
    """Return a latency: 0.42 ms, 3.1 ms, 243 ms, 1,240 ms."""
    if value is None:
        return "-"
    return f"{value:.2g} ms" if value < 10 else f"{value:,.0f} ms"


def span(seconds: float) -> str:
    """Return a span of time: 45 s, 25 min, 3 h 5 min, 29.9 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    if seconds < 2 * 86400:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days = f"{seconds / 86400:.1f}"
    return f"{days.removesuffix('.0')} days"


def sparkline(values: Sequence[float | None], top: float) -> str:
    """Return one block for each value, full height at `top`; a dot where there is none."""
    highest = len(_BLOCKS) - 1
    return "".join(
        NO_DATA
        if value is None
        else _BLOCKS[min(highest, int(value / top * len(_BLOCKS))) if top > 0 else 0]
        for value in values
    )
