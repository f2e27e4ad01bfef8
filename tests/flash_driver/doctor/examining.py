"""Examines a server and gives the rows by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_driver.doctor.examination import examine
from flash_driver.doctor.findings import Examination, Result

if TYPE_CHECKING:
    from flash_driver.doctor.findings import Check

__all__ = ["Seen", "examined"]


class Seen:
    """What an examination found."""

    def __init__(self, examination: Examination) -> None:
        self.examination = examination

    def __getitem__(self, name: str) -> Check:
        """Return the first row of this name."""
        return next(check for check in self.examination.checks if check.name == name)

    @property
    def failed(self) -> list[str]:
        """The names of the rows that failed."""
        return [check.name for check in self.examination.checks if check.result is Result.FAIL]

    @property
    def skipped(self) -> list[str]:
        """The names of the rows that were skipped."""
        return [check.name for check in self.examination.checks if check.result is Result.SKIPPED]


async def examined(text: str, seconds: float = 10.0) -> Seen:
    """Examine what a connection string leads to; every row that failed must come with advice."""
    examination = Examination(seconds)
    await examine(examination, text)
    seen = Seen(examination)
    assert [check.name for check in examination.checks if check.result is Result.FAIL and not check.advice] == []
    return seen
