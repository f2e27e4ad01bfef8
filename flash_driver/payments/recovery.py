"""Payments of which it is not known how they ended: asked about when a question can execute nothing any more."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.lightning import LightningPaymentStatus
from flash_driver.bolt11.payment_request import decode
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.payments.attempt import is_question, judge, operation
from flash_driver.payments.persistence import Persistence

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import PaymentRecord
    from flash_driver.payments.sending import Sending
    from flash_driver.transports.router import Router

__all__ = ["Resolving"]

_LONGEST_WAIT_FOR_ANSWER: Final = 5.0
_LONGEST_WAIT_TO_FIND: Final = 3.0

_log: Final = get_logger(part="payments")


class Resolving:
    """Finds out later how payments ended; a task for each that is open.

    Args:
        router: Carries the questions.
        journal: Keeps the answers.
        sending: Knows what may still be under way, and how answers are kept.
        clock: The wall clock.
        persistence: When to ask.

    """

    def __init__(
        self,
        *,
        router: Router,
        journal: Journal,
        sending: Sending,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        persistence: Persistence | None = None,
    ) -> None:
        self._router = router
        self._journal = journal
        self._sending = sending
        self._clock = clock
        self._persistence = persistence or Persistence()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, asyncio.Event] = {}
        self._taken_up = False
        self._closed = False

    async def take_up(self) -> None:
        """Go on, once, with what earlier processes left open."""
        if not self._taken_up:
            for record in await self._journal.unresolved_payments():
                self.later(record)
            self._taken_up = True

    def later(self, record: PaymentRecord) -> None:
        """Ask about a payment in its time, if that is a question at all."""
        if is_question(record) and record.payment_hash not in self._tasks and not self._closed:
            asked = self._asked[record.payment_hash] = asyncio.Event()
            task = asyncio.create_task(self._resolve(record, asked), name="flash-driver payment resolver")
            self._tasks[record.payment_hash] = task

            def end(_: asyncio.Task[None]) -> None:
                self._tasks.pop(record.payment_hash, None)
                asked.set()

            task.add_done_callback(end)

    async def latest(self, record: PaymentRecord) -> PaymentRecord | None:
        """Return what is known of a payment, after a short wait for the answer where the server may be asked by now.

        A host that makes a client for each call would close it before its resolver has asked, and never learn.
        """
        if not self._may_ask(record):
            return record
        if record.payment_hash not in self._asked:
            # Another process left it open since this one took up what there was.
            self.later(record)
        if (asked := self._asked.get(record.payment_hash)) is None or asked.is_set():
            return record
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_WAIT_TO_FIND):
                await asked.wait()
        return await self._journal.find_payment(record.payment_hash)

    async def aclose(self) -> None:
        """Ask nothing any more; what is open is taken up by the next process or client."""
        self._closed = True
        tasks = [*self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _may_ask(self, record: PaymentRecord) -> bool:
        """Whether it is late enough to ask how a payment ended."""
        sending = record.status is LightningPaymentStatus.PENDING and self._sending.may_be_sending(record)
        if sending or not is_question(record):
            return False
        return self._clock() >= decode(record.bolt11).expires_at + timedelta(seconds=self._persistence.later[0])

    async def _resolve(self, record: PaymentRecord, asked: asyncio.Event) -> None:
        """Ask how a payment ended once its BOLT11 has expired, so that the question can't execute it.

        `asked` is set as soon as the first answer is in the journal.
        """
        expires_at = decode(record.bolt11).expires_at
        for wait in self._persistence.later:
            due = expires_at + timedelta(seconds=wait)
            while (left := (due - self._clock()).total_seconds()) > 0:  # noqa: ASYNC110 - the clock may be set back
                await asyncio.sleep(left)
            known = await self._journal.find_payment(record.payment_hash)
            forgotten = self._clock() - record.created_at > timedelta(seconds=self._persistence.forgotten)
            if known is None or forgotten or known.attempt != record.attempt or not is_question(known):
                return
            delivery = await self._router.perform(operation(known), Deadline.after(_LONGEST_WAIT_FOR_ANSWER))
            judged = await self._sending.keep(judge(known, delivery.outcome, delivery.reasons, sent_before=True))
            asked.set()
            if not is_question(judged):
                _log.info("payment resolved", payment_hash=judged.payment_hash, status=judged.status.value)
                return
