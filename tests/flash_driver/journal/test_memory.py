"""The journal in memory, where it differs from the others: every event loop of the process uses the same object."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from flash_driver.journal.memory import MemoryJournal
from tests.support.journals import a_payment

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUNDS = 400
_PATIENCE = 60.0


@pytest.fixture
def _hasty_threads() -> Iterator[None]:
    """Let threads take turns within a method, not only between two."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hasty_threads")
def test_of_two_threads_one_alone_may_send_a_payment() -> None:
    """Two event loops in two threads that begin the same payment: exactly one gets permission, every time."""
    journals = [MemoryJournal() for _ in range(_ROUNDS)]
    permitted: list[int] = []
    together = threading.Barrier(2)

    async def begin_all() -> None:
        for number, journal in enumerate(journals):
            record = a_payment(1)
            together.wait(_PATIENCE)
            if await journal.begin_payment(record) is record:
                permitted.append(number)

    threads = [threading.Thread(target=lambda: asyncio.run(begin_all())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    assert sorted(permitted) == list(range(_ROUNDS))
