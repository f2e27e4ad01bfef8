"""The rules for attempts to pay, at their edges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connection_strings.lightning import LightningPaymentStatus
from flash_driver.journal.attempt_rules import DEFINITE, Begun, Counted, counting_attempt, telling_attempt
from tests.support.journals import a_payment

ATTEMPTS = st.lists(st.sampled_from(LightningPaymentStatus), max_size=5).map(
    lambda statuses: [a_payment(1, attempt=place, status=status) for place, status in enumerate(statuses, 1)]
)


@given(ATTEMPTS)
def test_a_new_attempt_counts_only_when_all_before_have_failed(attempts: list) -> None:  # type: ignore[type-arg]  # of attempts
    """As long as any attempt may be under way or is complete, no new one counts."""
    new = a_payment(1, attempt=len(attempts) + 1)
    telling = telling_attempt(attempts)
    free = all(attempt.status is LightningPaymentStatus.FAILED for attempt in attempts)
    assert counting_attempt(attempts, new) == (Begun(new) if free or telling is None else Counted(telling))
    assert (telling is None) == (attempts == [])
    if telling is not None and telling.status in DEFINITE:
        statuses = {attempt.status for attempt in attempts}
        assert telling.status is LightningPaymentStatus.COMPLETE or statuses == {LightningPaymentStatus.FAILED}
