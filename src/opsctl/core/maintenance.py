"""The settings of maintenance: how long, announced how long before, when nothing is changed."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, model_validator

from opsctl.core.setting_types import Model, Weekday

_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_MOMENT = r"^2[0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]$"
_NAME = r"^[a-z][a-z0-9-]{0,40}$"


class Freeze(Model):
    """When nothing is changed: once, from `begin` to `end`; or on `days`, `at`, for `hours`."""

    name: str = Field(min_length=1, description="Why, shown to whoever is refused.")
    begin: str | None = Field(None, pattern=_MOMENT, description="From, YYYY-MM-DDTHH:MM.")
    end: str | None = Field(None, pattern=_MOMENT, description="Until, YYYY-MM-DDTHH:MM.")
    days: tuple[Weekday, ...] = Field(
        (), description="Days on which it begins, every week; none named, and `at`: every day."
    )
    at: str | None = Field(None, pattern=_TIME, description="When it begins on them, HH:MM.")
    hours: float | None = Field(None, gt=0, le=168, description="How long it lasts then.")
    timezone: str = Field("UTC", description="Time zone of all of them, such as Europe/Berlin.")

    @model_validator(mode="after")
    def _once_or_again(self) -> Freeze:
        once = self.begin is not None and self.end is not None
        again = self.at is not None and self.hours is not None
        parts = (self.begin, self.end) if again else (self.at, self.hours)
        if once == again or any(part is not None for part in parts) or (once and self.days):
            raise ValueError("a freeze has begin and end; or at and hours, and days if not all")
        if self.begin is not None and self.end is not None:
            try:
                begin, end = datetime.fromisoformat(self.begin), datetime.fromisoformat(self.end)
            except ValueError:
                raise ValueError("begin and end are days of the calendar") from None
            if end <= begin:
                raise ValueError("a freeze ends after it began")
        return self


class Retention(Model):
    """Rows that are old, and may go."""

    name: str = Field(pattern=_NAME, description="Shown in plans; unique within the environment.")
    table: str = Field(pattern=r"^[^.]+\.[^.]+$", description="SCHEMA.TABLE; its rows are deleted.")
    column: str = Field(min_length=1, description="The column that tells how old a row is.")
    days: float = Field(gt=0, le=36500, description="Rows older than so many days may go.")
    only: str = Field(
        "true", min_length=1, max_length=1000, description="And of these only: a condition in SQL."
    )
    batch: int = Field(5000, ge=1, le=100000, description="Rows deleted in one transaction.")


class Review(Model):
    """Something that is looked at again and again."""

    name: str = Field(pattern=_NAME, description="Its name in `maintenance review done`.")
    every_days: float = Field(gt=0, le=3660, description="It is due so many days after the last.")
    about: str = Field(description="What is to be done.")


_REVIEWS = (
    Review(
        name="runbooks",
        every_days=31.0,
        about="Read one runbook from top to bottom; opsctl runbook lint is well.",
    ),
    Review(
        name="procedures",
        every_days=92.0,
        about="Somebody who did not write it tries each procedure: opsctl runbook verify.",
    ),
    Review(
        name="disaster-recovery",
        every_days=366.0,
        about="Restore production's backup beside it, and opsctl drill restore.",
    ),
)
"""The runbook's 'Regular Reviews', and the yearly test of disaster recovery."""


class Maintenance(Model):
    """How maintenance is planned (runbook, 'Scheduled Maintenance')."""

    notice_h: float = Field(48.0, ge=0, le=8760, description="Hours that it is announced before.")
    hours: float = Field(3.0, gt=0, le=24, description="How long a window is, if nothing is said.")
    shortest_h: float = Field(2.0, ge=0, le=24, description="The shortest window, in hours.")
    longest_h: float = Field(4.0, gt=0, le=24, description="The longest window, in hours.")
    retention: tuple[Retention, ...] = Field(
        (), description="Old rows that `maintenance clean` counts and deletes; none: nothing is."
    )
    reviews: tuple[Review, ...] = Field(
        _REVIEWS, description="What is looked at again and again, and how often."
    )
