"""When nothing may be changed: which freeze holds at a moment, and until when. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from opsctl.core.errors import Exit, OpsError
from opsctl.core.times import format_moment

if TYPE_CHECKING:
    from opsctl.core.maintenance import Freeze

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Frozen:
    """One freeze as it holds: from `begins_at` until just before `ends_at`, epoch seconds UTC."""

    name: str
    begins_at: float
    ends_at: float

    def to_json(self) -> dict[str, object]:
        """Return it as JSON data."""
        return {"name": self.name, "begins_at": self.begins_at, "ends_at": self.ends_at}


def frozen(freezes: Sequence[Freeze], at: float) -> Frozen | None:
    """Return the freeze that holds at a moment, the one that ends last; None where none does.

    Raises OpsError `no-such-timezone` (exit 2).
    """
    holding = (each for each in freezes_between(freezes, at, at) if each.begins_at <= at)
    return max(holding, key=lambda each: each.ends_at, default=None)


def freezes_between(freezes: Sequence[Freeze], begin: float, end: float) -> list[Frozen]:
    """Return the freezes that hold at some moment of a span, the earliest first."""
    found = [
        each
        for freeze in freezes
        for each in _spans(freeze, begin, end)
        if each.begins_at <= end and each.ends_at > begin
    ]
    return sorted(found, key=lambda each: (each.begins_at, each.name))


def is_frozen(held: Frozen, *, environment: str, again: str) -> OpsError:
    """Return the error for a change while a freeze holds; `again` is the command, as typed."""
    return OpsError(
        f"Nothing was changed: {environment} is frozen",
        why=f"{held.name}, until {format_moment(held.ends_at)}",
        hint=f"wait; or say why it cannot: opsctl {again} --env {environment} "
        "--override-freeze REASON",
        code="frozen",
        exit=Exit.REFUSED,
    )


def _spans(freeze: Freeze, begin: float, end: float) -> Iterator[Frozen]:
    zone = _zone(freeze)
    if freeze.begin is not None and freeze.end is not None:
        first, last = (
            datetime.fromisoformat(each).replace(tzinfo=zone).timestamp()
            for each in (freeze.begin, freeze.end)
        )
        yield Frozen(freeze.name, first, last)
    elif freeze.at is not None and freeze.hours is not None:
        hour, minute = map(int, freeze.at.split(":"))
        # It may have begun a week before, in a zone that is most of a day away.
        day = datetime.fromtimestamp(begin, UTC).date() - timedelta(days=9)
        until = datetime.fromtimestamp(end, UTC).date() + timedelta(days=1)
        while day <= until:
            if not freeze.days or _DAYS[day.weekday()] in freeze.days:
                first = datetime(
                    day.year, day.month, day.day, hour, minute, tzinfo=zone
                ).timestamp()
                yield Frozen(freeze.name, first, first + freeze.hours * 3600)
            day += timedelta(days=1)


def _zone(freeze: Freeze) -> tzinfo:
    if freeze.timezone == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(freeze.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A freeze that cannot be read must not let a change through.
        raise OpsError(
            f"The time zone {freeze.timezone!r} is not known here",
            why=f"the freeze {freeze.name!r} names it, so it is not known whether it holds",
            hint="name one as the system does, such as Europe/Berlin; where the system has none: "
            "pip install tzdata",
            code="no-such-timezone",
        ) from None
