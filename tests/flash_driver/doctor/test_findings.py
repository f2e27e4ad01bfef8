from __future__ import annotations

import asyncio

import pytest

from flash_driver.doctor.findings import Examination, NotApplicable, Result, Trouble


async def test_rows_end_as_what_happened() -> None:
    """A check passes, fails with advice, is skipped with a reason, or runs out of time."""
    heard: list[str] = []
    examination = Examination(0.05, heard.append)
    async with examination.check("good", "there", if_late="") as row:
        row.found = "fine"
    async with examination.check("bad", if_late=""):
        raise Trouble("odd", "mend it")
    async with examination.check("needless", if_late=""):
        raise NotApplicable("not here")
    async with examination.check("late", if_late="hurry"):
        await asyncio.Event().wait()
    examination.skip("never", "because")
    assert [(row.name, row.result, row.found, row.advice) for row in examination.checks] == [
        ("good", Result.PASS, "fine", ""),
        ("bad", Result.FAIL, "odd", "mend it"),
        ("needless", Result.SKIPPED, "not here", ""),
        ("late", Result.FAIL, "no answer within 0.05 s", "hurry"),
        ("never", Result.SKIPPED, "because", ""),
    ]
    assert heard == ["good there", "bad", "needless", "late"]


async def test_other_errors_are_not_swallowed() -> None:
    """A bug in a check, and a cancellation, are not findings."""
    examination = Examination(5)
    with pytest.raises(ZeroDivisionError):
        async with examination.check("bug", if_late=""):
            raise ZeroDivisionError
    with pytest.raises(asyncio.CancelledError):
        async with examination.check("cancelled", if_late=""):
            raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("creates", "hears", "usable"),
    [([], [], False), (["http"], [], False), ([], ["asking"], False), (["http"], ["asking"], True)],
)
def test_usable_needs_both(creates: list[str], hears: list[str], *, usable: bool) -> None:
    """A server is of use when invoices can be created and settlements heard of."""
    assert Examination(5, creates=creates, hears=hears).usable is usable
