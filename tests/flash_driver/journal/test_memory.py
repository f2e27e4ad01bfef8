"""The journal in memory, where it differs from the others: every event loop of the process uses the same object."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from flash_driver.journal import attempt_rules, memory
from flash_driver.journal.memory import MemoryStore
from tests.benchmarks.call_paths import recording
from tests.support.journals import a_payment, open_journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from flash_driver.journal.records import PaymentRecord


def test_of_two_threads_one_alone_may_send_a_payment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two event loops in two threads that begin the same payment: one gets permission, however they take turns."""
    store = MemoryStore()
    both_inside = threading.Barrier(2)
    permitted: list[PaymentRecord] = []

    def decide(attempts: Sequence[PaymentRecord], record: PaymentRecord) -> attempt_rules.Begun | attempt_rules.Counted:
        counted = attempt_rules.counting_attempt(attempts, record)
        # Lets the other one in between deciding and keeping, if anything does; who waits for a lock never comes.
        with contextlib.suppress(threading.BrokenBarrierError):
            both_inside.wait(0.5)
        return counted

    async def begin() -> None:
        record = a_payment(1)
        journal = await open_journal(store)
        if isinstance(await journal.begin_payment(record), attempt_rules.Begun):
            permitted.append(record)

    monkeypatch.setattr(memory, "counting_attempt", decide)
    threads = [threading.Thread(target=lambda: asyncio.run(begin())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(permitted) == 1


async def test_a_payment_costs_nothing_for_accounts_that_do_not_know_it() -> None:
    """Beginning a payment enters as many functions in a process with forty other accounts as in one with none."""

    async def functions_entered(*, others: int) -> int:
        store = MemoryStore()
        for number in range(others):
            other = await open_journal(store, f"other {number}", f"other {number}")
            await other.begin_payment(a_payment(100 + number))
        journal = await open_journal(store)
        with recording() as path:
            assert isinstance(await journal.begin_payment(a_payment(1)), attempt_rules.Begun)
        return path.calls

    assert await functions_entered(others=40) == await functions_entered(others=0)
