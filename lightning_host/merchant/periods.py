"""The day and the months of a merchant: where they begin and end depends on the time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from lightning_host.database import to_ms

if TYPE_CHECKING:
    from datetime import tzinfo

__all__ = ["Period", "latest_months", "month_named", "month_of", "today"]

_MONTHS: Final = 24
_YEARS: Final = range(2009, 9999)


@dataclass(frozen=True, slots=True)
class Period:
    """A span of time.

    Attributes:
        begins: Its first moment.
        ends: The first moment that is not in it.

    """

    begins: datetime
    ends: datetime

    @property
    def begins_ms(self) -> int:
        """The first moment, in milliseconds since 1970."""
        return to_ms(self.begins)

    @property
    def ends_ms(self) -> int:
        """The first moment that is not in it, in milliseconds since 1970."""
        return to_ms(self.ends)

    @property
    def name(self) -> str:
        """The month, such as `2026-11`."""
        return f"{self.begins:%Y-%m}"


def today(now: datetime, zone: tzinfo) -> Period:
    """Return the day that a moment is in."""
    day = now.astimezone(zone).date()
    return Period(
        datetime(day.year, day.month, day.day, tzinfo=zone),
        datetime.fromordinal(day.toordinal() + 1).replace(tzinfo=zone),
    )


def month_of(now: datetime, zone: tzinfo) -> Period:
    """Return the month that a moment is in."""
    local = now.astimezone(zone)
    return _month(local.year, local.month, zone)


def month_named(name: str, zone: tzinfo) -> Period | None:
    """Return the month that is written as `2026-11`; None for anything else."""
    try:
        written = datetime.strptime(name, "%Y-%m").replace(tzinfo=zone)
    except ValueError:
        return None
    return _month(written.year, written.month, zone) if written.year in _YEARS else None


def latest_months(now: datetime, zone: tzinfo) -> list[Period]:
    """Return two years of months, the present one first."""
    local = now.astimezone(zone)
    last = local.year * 12 + local.month - 1
    return [_month(number // 12, number % 12 + 1, zone) for number in range(last, last - _MONTHS, -1)]


def _month(year: int, month: int, zone: tzinfo) -> Period:
    begins = datetime(year, month, 1, tzinfo=zone)
    ends = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
    return Period(begins, ends)
