"""What an examination finds: one row per check, and whether it all amounts to a server one can use."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Check", "Examination", "NotApplicable", "Result", "Trouble"]


class Result(Enum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - the opposite of fail
    FAIL = "fail"
    SKIPPED = "skipped"


class Trouble(Exception):
    """A check found something that does not work.

    Attributes:
        found: What was seen.
        advice: What a merchant can do about it.

    """

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found = found
        self.advice = advice


class NotApplicable(Exception):
    """A check makes no sense here; says why."""


@dataclass(slots=True)
class Check:
    """One row of the table.

    Attributes:
        name: What is checked.
        target: Where, if there are several of the kind.
        result: How it ended.
        seconds: How long it took.
        found: What was seen.
        advice: What to do about it; empty when there is nothing to do.

    """

    name: str
    target: str = ""
    result: Result = Result.PASS
    seconds: float = 0.0
    found: str = ""
    advice: str = ""

    @property
    def passed(self) -> bool:
        """Whether it works."""
        return self.result is Result.PASS

    @property
    def as_json(self) -> dict[str, Any]:
        """The row for a program."""
        return {
            "check": self.name,
            "target": self.target or None,
            "result": self.result.value,
            "seconds": round(self.seconds, 4),
            "found": self.found,
            "advice": self.advice or None,
        }


class _Run:
    """One check under way: takes its time, and turns what it raises into its row."""

    def __init__(self, row: Check, seconds: float, if_late: str) -> None:
        self._row = row
        self._seconds = seconds
        self._if_late = if_late
        self._started = time.perf_counter()

    async def __aenter__(self) -> Check:
        self._timeout = asyncio.timeout(self._seconds)
        await self._timeout.__aenter__()
        return self._row

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            error = late
        row = self._row
        row.seconds = time.perf_counter() - self._started
        match error:
            case Trouble():
                row.result, row.found, row.advice = Result.FAIL, error.found, error.advice
            case NotApplicable():
                row.result, row.found = Result.SKIPPED, str(error)
            case TimeoutError():
                row.result, row.found, row.advice = Result.FAIL, f"no answer within {self._seconds:g} s", self._if_late
            case _:
                return False
        return True


@dataclass
class Examination:
    """Carries checks out one after the other, each within its time.

    Attributes:
        seconds: How long one check may take.
        announce: Told the name of each check as it begins.
        checks: The rows so far.
        creates: The transports over which invoices can be created.
        hears: The ways in which settlements are heard of.
        way_out: What to do when no single check tells it.

    """

    seconds: float
    announce: Callable[[str], None] = lambda _name: None
    checks: list[Check] = field(default_factory=list)
    creates: list[str] = field(default_factory=list)
    hears: list[str] = field(default_factory=list)
    way_out: str = ""

    @property
    def usable(self) -> bool:
        """Whether invoices can be created and settlements heard of, each in one way at least."""
        return bool(self.creates and self.hears)

    def check(self, name: str, target: str = "", *, if_late: str) -> _Run:
        """Carry one check out: its row passes unless `Trouble` or `NotApplicable` is raised, or time runs out.

        Args:
            name: What is checked.
            target: Where.
            if_late: What to advise when there is no answer in time.

        """
        row = Check(name, target)
        self.checks.append(row)
        self.announce(f"{name} {target}".rstrip())
        return _Run(row, self.seconds, if_late)

    def skip(self, name: str, why: str, target: str = "") -> None:
        """Enter a check that can't be carried out."""
        self.checks.append(Check(name, target, Result.SKIPPED, found=why))
