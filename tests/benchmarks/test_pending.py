"""The short form of `python -m tests.benchmarks.pending`: counts, no times."""

from __future__ import annotations

from tests.benchmarks.pending import measure


async def test_pending_invoices_are_cheap() -> None:
    """A pending invoice costs less than 1 KiB, and a reconnection asks about few of many, the newest first."""
    figures = await measure(3000, watch_seconds=0.5)
    assert figures.bytes_each < 1024
    assert figures.requests_by_then < 100
    assert 1 <= figures.requests_at_once <= 8
