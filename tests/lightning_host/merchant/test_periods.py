from __future__ import annotations

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from lightning_host.merchant.periods import latest_months, month_named, month_of, today


@pytest.mark.parametrize(
    ("zone", "now", "begins", "ends"),
    [
        ("UTC", "2026-11-29T23:59:59", "2026-11-29T00:00", "2026-11-30T00:00"),
        ("America/Jamaica", "2026-11-30T04:59", "2026-11-29T05:00", "2026-11-30T05:00"),
        ("Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("Pacific/Kiritimati", "2026-12-31T12:00", "2026-12-31T10:00", "2027-01-01T10:00"),
    ],
)
def test_day(zone: str, now: str, begins: str, ends: str) -> None:
    """A day begins at midnight of the zone, and has 25 hours where the clock is put back."""
    day = today(datetime.fromisoformat(now).replace(tzinfo=UTC), ZoneInfo(zone))
    told = [each.astimezone(UTC).isoformat(timespec="minutes") for each in (day.begins, day.ends)]
    assert told == [f"{begins}+00:00", f"{ends}+00:00"]
    assert day.begins_ms < day.ends_ms


def test_months() -> None:
    """Two years of months follow each other without a gap; a name that is none is None."""
    zone = ZoneInfo("America/Jamaica")
    now = datetime(2026, 1, 1, 4, tzinfo=UTC)  # still December there
    months = latest_months(now, zone)
    assert (months[0].name, months[-1].name, len(months)) == ("2025-12", "2024-01", 24)
    assert all(later.begins == earlier.ends for later, earlier in itertools.pairwise(months))
    assert month_of(now, zone) == months[0] == month_named("2025-12", zone)
    for name in ("", "2025", "2025-13", "9999-12", "1999-01", "x" * 50):
        assert month_named(name, zone) is None
