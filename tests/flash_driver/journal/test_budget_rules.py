"""The rules of the invoice budget, at their edges."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from flash_driver.journal.budget_rules import BudgetWait, InvoiceBudget, budget_wait, in_the_way, still_spent
from tests.support.journals import NOON

MOMENTS = st.integers(-300, 300).map(lambda seconds: NOON + timedelta(seconds=seconds))


@given(st.lists(MOMENTS, max_size=8), st.integers(1, 5), st.integers(1, 200))
def test_after_the_wait_there_is_room(spent: list, invoices: int, seconds: int) -> None:  # type: ignore[type-arg]  # of moments
    """After the time that was told, and not before, there is room for one invoice."""
    limit = InvoiceBudget(invoices, seconds)
    kept = still_spent(spent, limit, NOON)
    wait = budget_wait(in_the_way(kept, limit), None, limit, NOON)
    if wait is None:
        assert len(kept) < invoices
        return
    then = wait.until
    assert not wait.blocked
    assert NOON < then <= NOON + timedelta(seconds=seconds)
    assert budget_wait(in_the_way(still_spent(kept, limit, then), limit), None, limit, then) is None
    before = then - timedelta(microseconds=1)
    assert budget_wait(in_the_way(still_spent(kept, limit, before), limit), None, limit, before) is not None


def test_a_block_far_ahead_is_none() -> None:
    """A block that ends in a day can only come of a clock that was set back: Flash's last five minutes."""
    assert budget_wait(None, NOON + timedelta(days=1), None, NOON) is None
    soon = NOON + timedelta(minutes=5)
    assert budget_wait(None, soon, None, NOON) == BudgetWait(soon, blocked=True)
