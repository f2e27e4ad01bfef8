"""A payment from its first byte on: sent, asked about under its key, and kept in the journal whatever happens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from connection_strings.lightning import LightningPaymentStatus
from flash_driver.common.log import get_logger
from flash_driver.flash_api.outcomes import Outcome, Unknown
from flash_driver.payments.attempt import is_question, judge, key_is_unheard_of, open_end, operation, response
from flash_driver.payments.persistence import Persistence
from flash_driver.transports.call_log import CallLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from connection_strings.lightning import PayResponse
    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.outcomes import Evidence
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import PaymentRecord
    from flash_driver.transports.router import Router

__all__ = ["Sending"]

_log: Final = get_logger(part="payments")


class Sending:
    """Sends attempts to pay, and takes in what comes back, also late.

    Args:
        router: Carries them.
        journal: Keeps them.
        on_open_end: Told each attempt of which it is not known how it ended.
        clock: The wall clock.
        persistence: How persistently it is asked how one ended.

    """

    def __init__(
        self,
        *,
        router: Router,
        journal: Journal,
        on_open_end: Callable[[PaymentRecord], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        persistence: Persistence | None = None,
    ) -> None:
        self._router = router
        self._journal = journal
        self._on_open_end = on_open_end
        self._clock = clock
        self._persistence = persistence or Persistence()
        self._late: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Take no late answers any more."""
        tasks = [*self._late]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def carry_out(self, record: PaymentRecord, deadline: Deadline) -> PayResponse:
        """Begin an attempt in the journal, then send it; go on with the one that counts if there is one already."""
        counted = await self._journal.begin_payment(record)
        if counted is not record:
            return await self.go_on(counted, deadline)
        call_log = CallLog(_log.bind(payment_hash=record.payment_hash), "sending payment", "payment settled")
        return await self._send(record, deadline, call_log, sent_before=False)

    async def go_on(self, record: PaymentRecord, deadline: Deadline) -> PayResponse:
        """Answer for an attempt made before, or by another process: ask how it ended if that is a question at all."""
        record = await self._wait_for_sender(record, deadline)
        # One that is still pending has a sender, who alone may send it.
        if record.status is LightningPaymentStatus.PENDING and self.may_be_sending(record):
            return response(record)
        if not is_question(record):
            return response(replace(record, status=LightningPaymentStatus.UNKNOWN) if open_end(record) else record)
        call_log = CallLog(_log.bind(payment_hash=record.payment_hash), "asking about payment", "payment settled")
        return await self._send(record, deadline, call_log, sent_before=True)

    async def _wait_for_sender(self, record: PaymentRecord, deadline: Deadline) -> PaymentRecord:
        """While another process may be sending an attempt, wait for what it makes of it."""
        while (
            record.status is LightningPaymentStatus.PENDING
            and self.may_be_sending(record)
            and deadline.remaining > self._persistence.look
        ):
            await asyncio.sleep(self._persistence.look)
            record = await self._journal.find_payment(record.payment_hash) or record
        return record

    def may_be_sending(self, record: PaymentRecord) -> bool:
        """Whether another process may still be at a pending attempt."""
        return abs(self._clock() - record.created_at) < timedelta(seconds=self._persistence.sender_lives)

    async def _send(
        self, record: PaymentRecord, deadline: Deadline, call_log: CallLog, *, sent_before: bool
    ) -> PayResponse:
        try:
            record, outcome, via = await self._send_until_known(record, deadline, call_log, sent_before=sent_before)
        except BaseException as error:
            why = "it was interrupted while it was being sent"
            await self.keep(replace(record, status=LightningPaymentStatus.UNKNOWN, failure=why))
            _log.warning("payment interrupted", payment_hash=record.payment_hash, by=type(error).__name__)
            raise
        record = await self.keep(record)
        if record.status is LightningPaymentStatus.COMPLETE:
            call_log.done(via)
        else:
            _log.warning(
                "payment not settled", payment_hash=record.payment_hash, status=record.status.value, why=record.failure
            )
            self._on_open_end(record)
        return response(record, outcome)

    async def _send_until_known(
        self, record: PaymentRecord, deadline: Deadline, call_log: CallLog, *, sent_before: bool
    ) -> tuple[PaymentRecord, Outcome, str]:
        """Send an attempt, and again under the same key while it is not known how it ended and that is a question."""
        # The custodian may take all the time that the caller gives: its answer is waited for to the end.
        delivery = await self._router.perform(operation(record), deadline, call_log, self._take_late(record))
        if key_is_unheard_of(record, delivery) and not sent_before:
            record = replace(record, idempotency_key=None)
            await self._journal.update_payment(record)
            delivery = await self._router.perform(operation(record), deadline, call_log, self._take_late(record))
        judged = judge(record, delivery.outcome, delivery.reasons, sent_before=sent_before)
        for pause in self._persistence.pauses:
            if not is_question(judged) or deadline.remaining <= pause:
                break
            await asyncio.sleep(pause)
            _log.info("asking again with the same key", payment_hash=record.payment_hash, why=judged.failure)
            delivery = await self._router.perform(operation(judged), deadline, late=self._take_late(record))
            judged = judge(judged, delivery.outcome, delivery.reasons, sent_before=True)
        return judged, delivery.outcome, delivery.transport

    async def keep(self, record: PaymentRecord) -> PaymentRecord:
        """Keep what an attempt has become; what is known for good from elsewhere, such as a late answer, counts more.

        A journal that can't keep it changes nothing about what happened: the attempt stays pending there, which no
        host takes for a failure.
        """
        try:
            known = await self._journal.find_payment(record.payment_hash)
            if known is not None and known.attempt == record.attempt and not open_end(known) and open_end(record):
                return known
            await self._journal.update_payment(record)
        except LightningError as error:
            _log.error(
                "the journal could not keep how a payment ended", payment_hash=record.payment_hash, why=str(error)
            )
        return record

    def _take_late(self, record: PaymentRecord) -> Callable[[Evidence], None]:
        """Return what keeps an answer that comes after its time: it may be the only one there ever is."""

        def take(evidence: Evidence) -> None:
            outcome = operation(record).classify(evidence)
            if isinstance(outcome, Unknown) and not outcome.answered:
                return
            task = asyncio.create_task(self._keep_late(record, outcome), name="flash-driver late payment answer")
            self._late.add(task)
            task.add_done_callback(self._late.discard)

        return take

    async def _keep_late(self, record: PaymentRecord, outcome: Outcome) -> None:
        known = await self._journal.find_payment(record.payment_hash)
        if known is None or known.attempt != record.attempt or not open_end(known):
            return
        judged = await self.keep(judge(known, outcome, {}, sent_before=True))
        _log.info("late answer to a payment", payment_hash=judged.payment_hash, status=judged.status.value)
