"""One attempt to pay: its idempotency key, what is sent, and what an answer makes of it; pure.

What an answer proves depends on whether the attempt has been sent before (flash-server.md 3.7). The server keeps what a
payment ended with (SUCCESS, FAILURE, PENDING) under the key, for 24 hours, and repeats it; it keeps no errors.

==================  ===================================  ==============================================================
answer              to the first sending                 to a repetition, when an earlier sending was lost
==================  ===================================  ==============================================================
SUCCESS             paid                                 paid, the first time or now: once
FAILURE, no error   failed                               failed: kept from the first time, or the first never arrived
a final code        failed                               about this sending alone: `insufficient balance` may mean that
                                                         the lost one was carried out; unknown
not executed        failed                               unknown, as before
PENDING, lock busy  unknown; asking again is a question  the same
other errors        unknown, and nothing is kept: asking again would be paying again, so the key is given up
nothing             unknown; something may be kept, so asking again is a question first of all
==================  ===================================  ==============================================================
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from connection_strings.lightning import LightningPaymentStatus, PayDetails, PayResponse, PayResult
from flash_driver.bolt11.payment_request import decode
from flash_driver.flash_api.documents import PAY, PAY_NO_AMOUNT, Operation
from flash_driver.flash_api.outcomes import IN_FLIGHT, Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.journal.records import PaymentRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from connection_strings.lightning import LightningPayment
    from flash_driver.flash_api.documents import Document
    from flash_driver.payments.order import Order
    from flash_driver.transports.delivery import Delivery

__all__ = ["PaymentAttempt", "Persistence", "idempotency_key"]


@dataclass(frozen=True, slots=True)
class Persistence:
    """How persistently it is asked how a payment ended, in seconds.

    Attributes:
        pauses: Before each repetition while the host waits; the last one again and again while it is in flight.
        margin: How long after its end a call in another process is still taken for alive; clocks differ.
        look: Between two looks into the journal meanwhile.
        watch: Between two looks for payments that stay unknown, while somebody listens.
        early: When to ask after the sending, where the host allows it (`PayInvoiceParams.resolve_early`); never later
            than the last of these times.
        later: When to ask after the expiry of the BOLT11; the first leaves room for clocks that differ.
        forgotten: After how long the server is not asked any more: it keeps what it knows for 24 hours.

    """

    pauses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    margin: float = 10.0
    look: float = 0.5
    watch: float = 60.0
    early: tuple[float, ...] = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 590.0)
    later: tuple[float, ...] = (60.0, 600.0, 3600.0)
    forgotten: float = 20 * 3600.0


def idempotency_key(wallet_id: str, payment_hash: str, attempt: int) -> str:
    """Derive the key of an attempt: the same in every process, another one only after a definite failure."""
    return hashlib.sha256(f"flash-driver/{wallet_id}/{payment_hash}/{attempt}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PaymentAttempt:
    """An attempt to pay as its record tells it; each step makes a new one.

    Attributes:
        record: What the journal keeps of it.

    """

    record: PaymentRecord

    @classmethod
    def begun(cls, order: Order, failed: PaymentAttempt | None, now: datetime) -> PaymentAttempt:
        """Return the attempt as it is when it is asked for: nothing is prepared yet, and nothing sent.

        Args:
            order: What is to be paid.
            failed: The attempt before this one, None when this is the first.
            now: The time.

        """
        record = PaymentRecord(
            payment_hash=order.request.payment_hash,
            bolt11=order.request.bolt11,
            wallet_id="",
            amount_msat=order.amount_msat,
            created_at=now,
            attempt=1 if failed is None else failed.record.attempt + 1,
            idempotency_key=None,
            begun_by=uuid.uuid4().hex,
            sender_until=now + timedelta(seconds=order.send_seconds),
            resolve_early=order.resolve_early,
        )
        return cls(record)

    # --- how it stands ----------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it is not known how it ended."""
        return self.record.status not in (LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED)

    @property
    def is_question(self) -> bool:
        """Whether to send it once more is to ask how it ended, rather than to pay again."""
        record = self.record
        return self.is_open and record.idempotency_key is not None and record.sent_at is not None

    @property
    def told_status(self) -> LightningPaymentStatus:
        """How it stands for the host: of money that the server says is in flight it is known that it left."""
        in_flight = self.record.status is LightningPaymentStatus.UNKNOWN and self.record.failure == IN_FLIGHT
        return LightningPaymentStatus.PENDING if in_flight else self.record.status

    def may_have_sender(self, now: datetime, margin: float) -> bool:
        """Whether the call that began it may still be at it: it alone may send it, and writes down how that ended."""
        until = self.record.sender_until
        if self.record.status is not LightningPaymentStatus.PENDING or until is None:
            return False
        spare = timedelta(seconds=margin)
        # A beginning in the future means that a clock was set back; nobody waits for that.
        return self.record.created_at - spare < now < until + spare

    def is_forgotten(self, now: datetime, persistence: Persistence) -> bool:
        """Whether the server has kept nothing of it, or no longer: to send it again would be to pay again."""
        sent_at = self.record.sent_at
        return not self.is_question or sent_at is None or now > sent_at + timedelta(seconds=persistence.forgotten)

    def may_be_asked(self, now: datetime, persistence: Persistence) -> bool:
        """Whether the server may be asked now how it ended.

        A question before the expiry of the BOLT11 may be the first sending that is carried out, so it needs the host's
        permission and ends after ten minutes. Afterwards nothing can be executed any more.
        """
        sent_at = self.record.sent_at
        if sent_at is None or self.is_forgotten(now, persistence):
            return False
        early_end = sent_at + timedelta(seconds=persistence.early[-1] + persistence.margin)
        if self.record.resolve_early and now <= early_end:
            return True
        return now >= decode(self.record.bolt11).expires_at + timedelta(seconds=persistence.later[0])

    def moments_to_ask(self, now: datetime, persistence: Persistence) -> list[datetime]:
        """Return when to ask how it ended, from now on; of those that have passed only one, to be made up for now."""
        sent_at = self.record.sent_at
        if not self.is_question or sent_at is None:
            return []
        expires_at = decode(self.record.bolt11).expires_at
        early = [sent_at + timedelta(seconds=wait) for wait in persistence.early]
        later = [expires_at + timedelta(seconds=wait) for wait in persistence.later]
        moments = sorted(each for each in {*early, *later} if self.may_be_asked(each, persistence))
        overdue = [now] if any(each <= now for each in moments) and self.may_be_asked(now, persistence) else []
        return [*overdue, *(each for each in moments if each > now)]

    # --- what becomes of it -----------------------------------------------------------------------------------------

    def prepared(self, wallet_id: str, cents: Decimal | None) -> PaymentAttempt:
        """Return it ready to be sent; the mutation for amountless BOLT11s, which takes cents, has no key."""
        key = None if cents is not None else idempotency_key(wallet_id, self.record.payment_hash, self.record.attempt)
        return PaymentAttempt(replace(self.record, wallet_id=wallet_id, cents=cents, idempotency_key=key))

    def about_to_be_sent(self, now: datetime) -> PaymentAttempt:
        """Return it as it is from right before the first byte on."""
        return PaymentAttempt(replace(self.record, sent_at=now))

    def without_key(self) -> PaymentAttempt:
        """Return it without an idempotency key, which never comes back."""
        return PaymentAttempt(replace(self.record, idempotency_key=None))

    def not_sent(self, why: str) -> PaymentAttempt:
        """Return it as failed because certainly nothing of it was sent."""
        return PaymentAttempt(replace(self.record, status=LightningPaymentStatus.FAILED, failure=why, sent_at=None))

    def unknown(self, why: str) -> PaymentAttempt:
        """Return it as one of which nobody knows how it ended."""
        return PaymentAttempt(replace(self.record, status=LightningPaymentStatus.UNKNOWN, failure=why))

    def settled_by_hand(self, *, paid: bool, reason: str) -> PaymentAttempt:
        """Return it as an operator has decided that it ended."""
        status = LightningPaymentStatus.COMPLETE if paid else LightningPaymentStatus.FAILED
        return PaymentAttempt(
            replace(self.record, status=status, failure=None if paid else reason, settled_by_hand=reason)
        )

    def judged(self, outcome: Outcome, reasons: Mapping[str, str], *, sent_before: bool) -> PaymentAttempt:
        """Return what an answer makes of it, after the table above.

        Args:
            outcome: What the server, or the lack of it, said to this sending.
            reasons: Each transport that did not do, and why.
            sent_before: Whether an earlier sending may have been carried out.

        """
        match outcome:
            case Completed():
                return PaymentAttempt(replace(self.record, status=LightningPaymentStatus.COMPLETE, failure=None))
            case Refused(words, definite=definite) if definite or not sent_before:
                return PaymentAttempt(replace(self.record, status=LightningPaymentStatus.FAILED, failure=words))
            case Refused(words):
                return self.unknown(f"it was lost, and asked again the server said: {words}")
            case NotExecuted() if not sent_before:
                listed = "; ".join(f"{name}: {why}" for name, why in reasons.items())
                return self.not_sent(f"it was not sent: {listed}")
            case NotExecuted(reason):
                return self.unknown(f"it was lost, and the server can't be asked: {reason}")
            case Unknown(reason, answered=True, kept=False):
                return self.without_key().unknown(reason)
            case Unknown(reason):
                return self.unknown(reason)

    def over(self, kept: PaymentRecord | None) -> PaymentRecord | None:
        """Return what to write of an end where another writer came first; None when that one's word stands.

        Args:
            kept: What the journal keeps under the number of this attempt.

        """
        mine = self.record
        if kept is None or kept.begun_by != mine.begun_by or kept.status is LightningPaymentStatus.COMPLETE:
            return None
        # Only the call that began an attempt writes that it is pending, and no other ends one that is: it is its own.
        if kept.status is LightningPaymentStatus.PENDING or mine.status is LightningPaymentStatus.COMPLETE:
            return mine
        given_up = mine.idempotency_key is None and kept.idempotency_key is not None
        return replace(kept, idempotency_key=None) if given_up else None

    # --- what is sent and told --------------------------------------------------------------------------------------

    @property
    def document(self) -> Document:
        """What it is sent with; the mutation for amountless BOLT11s takes cents."""
        return PAY if self.record.cents is None else PAY_NO_AMOUNT

    def operation(self, about_to_write: Callable[[], None]) -> Operation:
        """Return what is sent, the same each time to the byte.

        It is never handed from one transport to the next after it may have been carried out: only who repeats it knows
        what the answer to a repetition is worth. Without a key nothing could be asked afterwards.
        """
        record = self.record
        variables: dict[str, object] = {"walletId": record.wallet_id, "paymentRequest": record.bolt11}
        if record.cents is not None:
            variables["amount"] = record.cents
        elif record.idempotency_key is not None:
            variables["idempotencyKey"] = record.idempotency_key
        return Operation(
            self.document,
            {"input": variables},
            repeatable=False,
            fresh_connection=record.idempotency_key is None,
            about_to_write=about_to_write,
        )

    def key_is_refused(self, delivery: Delivery) -> bool:
        """Whether an older server refused the request because it has no idempotency keys: nothing was executed."""
        return (
            self.record.idempotency_key is not None
            and isinstance(delivery.outcome, NotExecuted)
            and Cause.INVALID in delivery.causes
            and any("idempotencyKey" in reason for reason in delivery.reasons.values())
        )

    def another_wallet_may_do(self, outcome: Outcome) -> bool:
        """Whether certainly nothing was paid, by a refusal that may be about the wallet.

        Args:
            outcome: The server's last answer.

        """
        match outcome:
            case Refused(retry_after=None, definite=False, temporary=False):
                return self.record.status is LightningPaymentStatus.FAILED
            case _:
                return False

    def response(self, outcome: Outcome | None = None, *, paid_before: bool = False) -> PayResponse:
        """Return what the host is told.

        The server tells no fee, so neither fee nor total is known (flash-server.md 3.7): both are None then.

        Args:
            outcome: The last answer of the server, where there was one.
            paid_before: Whether an earlier call has paid it.

        """
        route_missing = isinstance(outcome, Refused) and outcome.code == "ROUTE_FINDING_ERROR"
        results = {
            LightningPaymentStatus.COMPLETE: PayResult.OK,
            LightningPaymentStatus.FAILED: PayResult.COULD_NOT_FIND_ROUTE if route_missing else PayResult.ERROR,
        }
        status, payment = self.told_status, self.record.payment
        details = PayDetails(
            payment_hash=self.record.payment_hash,
            status=status,
            total_amount=payment.amount_sent,
            fee_amount=payment.fee,
            preimage=self.record.preimage,
        )
        return PayResponse(
            result=results.get(self.record.status, PayResult.UNKNOWN),
            details=details,
            error_detail=self.record.failure,
            paid_before=paid_before,
            unreachable=self.record.status is LightningPaymentStatus.FAILED and isinstance(outcome, NotExecuted),
        )

    def payment(self, now: datetime, persistence: Persistence) -> LightningPayment:
        """Return the payment as the host sees it, with what could tell how it ended."""
        return replace(self.record.payment, status=self.told_status, way_out=self._way_out(now, persistence))

    def _way_out(self, now: datetime, persistence: Persistence) -> str | None:
        if not self.is_open:
            return None
        by_hand = "look it up in the Flash app, then settle it by hand (`flash-driver payment settle`)"
        if self.may_have_sender(now, persistence.margin):
            return f"it is being sent; that ends at {self.record.sender_until:%Y-%m-%d %H:%M:%S} UTC"
        if self.record.sent_at is None:
            return "nothing of it was sent; the next look at it says so"
        if not self.is_question:
            return f"the server has kept nothing that it could be asked about: {by_hand}"
        moments = self.moments_to_ask(now, persistence)
        if not moments:
            return f"the server has forgotten it: {by_hand}"
        when = "at once" if moments[0] <= now else f"at {moments[0]:%Y-%m-%d %H:%M:%S} UTC"
        return f"the server is asked again {when}, while a process of this account runs; else {by_hand}"
