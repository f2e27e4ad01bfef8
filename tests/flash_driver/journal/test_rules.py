"""The rules of budget and attempts, at their edges."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from connection_strings.lightning import LightningPaymentStatus
from flash_driver.journal.budget_rules import InvoiceBudget
from flash_driver.journal.rules import DEFINITE, budget_wait, counting_attempt, in_the_way, still_spent, telling_attempt
from tests.support.journals import NOON, a_payment

MOMENTS = st.integers(-300, 300).map(lambda seconds: NOON + timedelta(seconds=seconds))
ATTEMPTS = st.lists(st.sampled_from(LightningPaymentStatus), max_size=5).map(
    lambda statuses: [a_payment(1, attempt=place, status=status) for place, status in enumerate(statuses, 1)]
)


@given(st.lists(MOMENTS, max_size=8), st.integers(1, 5), st.integers(1, 200))
def test_after_the_wait_there_is_room(spent: list, invoices: int, seconds: int) -> None:  # type: ignore[type-arg]  # of moments
    """Who waits as long as he is told, and no shorter, finds room for one invoice."""
    limit = InvoiceBudget(invoices, seconds)
    kept = still_spent(spent, limit, NOON)
    wait = budget_wait(in_the_way(kept, limit), None, limit, NOON)
    if wait is None:
        assert len(kept) < invoices
        return
    then = NOON + wait
    assert wait <= timedelta(seconds=seconds)
    assert budget_wait(in_the_way(still_spent(kept, limit, then), limit), None, limit, then) is None
    before = then - timedelta(microseconds=1)
    assert budget_wait(in_the_way(still_spent(kept, limit, before), limit), None, limit, before) is not None


@given(ATTEMPTS)
def test_a_new_attempt_counts_only_when_all_before_have_failed(attempts: list) -> None:  # type: ignore[type-arg]  # of attempts
    """As long as any attempt may be under way or is complete, no new one counts."""
    new = a_payment(1, attempt=len(attempts) + 1)
    free = all(attempt.status is LightningPaymentStatus.FAILED for attempt in attempts)
    assert (counting_attempt(attempts, new) is new) == free
    telling = telling_attempt(attempts)
    assert (telling is None) == (attempts == [])
    if telling is not None and telling.status in DEFINITE:
        statuses = {attempt.status for attempt in attempts}
        assert telling.status is LightningPaymentStatus.COMPLETE or statuses == {LightningPaymentStatus.FAILED}


def test_a_block_far_ahead_is_none() -> None:
    """A block that ends in a day can only come of a clock that was set back: Flash's last five minutes."""
    assert budget_wait(None, NOON + timedelta(days=1), None, NOON) is None
    assert budget_wait(None, NOON + timedelta(minutes=5), None, NOON) == timedelta(minutes=5)
