"""Payments of which it is not known how they ended: asked about in their time, by whatever process is there."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from connection_strings.lightning import LightningPaymentStatus
from flash_driver.common.clocks import utc_now
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.common.tasks import TaskSet
from flash_driver.payments.attempt import Persistence

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flash_driver.payments.attempt import PaymentAttempt
    from flash_driver.payments.attempt_store import AttemptStore
    from flash_driver.payments.sending import Sending

__all__ = ["Recovery"]

_LONGEST_WAIT_FOR_ANSWER: Final = 5.0
_LONGEST_WAIT_TO_FIND: Final = 3.0

_log: Final = get_logger(part="payments")


class Recovery:
    """Finds out later how payments ended; a task for each that is open.

    Args:
        store: Keeps the answers.
        sending: Asks.
        clock: The wall clock.
        persistence: When to ask.

    Attributes:
        unknown: The payments that stay unknown, each with when it was sent, as of the last look; None before the first.

    """

    def __init__(
        self,
        *,
        store: AttemptStore,
        sending: Sending,
        clock: Callable[[], datetime] = utc_now,
        persistence: Persistence | None = None,
    ) -> None:
        self._store = store
        self._sending = sending
        self._clock = clock
        self._persistence = persistence or Persistence()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, asyncio.Event] = {}
        self._watching = TaskSet()
        self._taken_up = False
        self._closed = False
        self.unknown: dict[str, datetime] | None = None

    def watch(self) -> None:
        """Look now and again for payments that stay unknown, also those that other processes have left."""
        if not self._watching and not self._closed:
            self._watching.start(self._watch(), "payments watcher")

    async def stuck(self) -> list[PaymentAttempt]:
        """Return the payments that stay unknown, in the order they were first attempted, and ask about them in time."""
        found = [await self._sending.without_sender(attempt) for attempt in await self._store.unresolved()]
        for attempt in found:
            if attempt.record.payment_hash not in self._asked:
                self.later(attempt)
        stuck = [attempt for attempt in found if attempt.record.status is LightningPaymentStatus.UNKNOWN]
        self.unknown = {
            attempt.record.payment_hash: attempt.record.sent_at or attempt.record.created_at for attempt in stuck
        }
        return stuck

    def settled(self, attempt: PaymentAttempt) -> None:
        """Take in that it is known how a payment ended."""
        if self.unknown is not None:
            self.unknown.pop(attempt.record.payment_hash, None)

    async def take_up(self) -> None:
        """Go on, once, with what earlier processes left open, and with what an earlier client could not keep."""
        if not self._taken_up:
            self._store.resume()
            for attempt in await self._store.unresolved():
                self.later(attempt)
            self._taken_up = True

    def later(self, attempt: PaymentAttempt) -> None:
        """Ask about a payment in its time, if that is a question at all."""
        pending = attempt.record.status is LightningPaymentStatus.PENDING
        if attempt.record.status is LightningPaymentStatus.UNKNOWN and self.unknown is not None:
            self.unknown[attempt.record.payment_hash] = attempt.record.sent_at or attempt.record.created_at
        if (attempt.is_question or pending) and attempt.record.payment_hash not in self._tasks and not self._closed:
            asked = self._asked[attempt.record.payment_hash] = asyncio.Event()
            task = asyncio.create_task(self._resolve(attempt, asked), name="flash-driver payment resolver")
            self._tasks[attempt.record.payment_hash] = task

            def end(done: asyncio.Task[None]) -> None:
                self._tasks.pop(attempt.record.payment_hash, None)
                asked.set()
                if not done.cancelled() and (error := done.exception()) is not None:
                    why = type(error).__name__
                    _log.error("asking about a payment broke", payment_hash=attempt.record.payment_hash, error=why)

            task.add_done_callback(end)

    async def latest(self, attempt: PaymentAttempt) -> PaymentAttempt:
        """Return what is known of a payment, after a short wait for the answer where the server may be asked by now.

        A host that makes a client for each call would close it before its resolver has asked, and never learn.
        """
        attempt = await self._sending.without_sender(attempt)
        moments = attempt.moments_to_ask(self._clock(), self._persistence)
        if not moments or attempt.may_have_sender(self._clock(), self._persistence.margin):
            return attempt
        if attempt.record.payment_hash not in self._asked:
            # Another process left it open since this one took up what there was.
            self.later(attempt)
        asked = self._asked.get(attempt.record.payment_hash)
        if moments[0] > self._clock() or asked is None or asked.is_set():
            return attempt
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_WAIT_TO_FIND):
                await asked.wait()
        return await self._store.find(attempt.record.payment_hash) or attempt

    async def aclose(self) -> None:
        """Ask nothing any more; what is open is taken up by the next process or client."""
        self._closed = True
        tasks = [*self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(self._watching.aclose(), *tasks, return_exceptions=True)

    async def _watch(self) -> None:
        failing = False
        while True:
            try:
                await self.stuck()
                failing = False
            except LightningError as error:
                if not failing:
                    _log.warning("payments that stay unknown can't be looked for, trying again", why=str(error))
                failing = True
            await asyncio.sleep(self._persistence.watch)

    async def _resolve(self, attempt: PaymentAttempt, asked: asyncio.Event) -> None:
        """Ask how a payment ended at its moments, until that is known or there are no more.

        `asked` is set as soon as the first answer is kept.
        """
        while attempt.may_have_sender(self._clock(), self._persistence.margin):
            await asyncio.sleep(self._persistence.look)
            attempt = await self._store.find(attempt.record.payment_hash) or attempt
        attempt = await self._sending.without_sender(attempt)
        for moment in attempt.moments_to_ask(self._clock(), self._persistence):
            while (left := (moment - self._clock()).total_seconds()) > 0:  # noqa: ASYNC110 - the clock may be set back
                await asyncio.sleep(left)
            known = await self._store.find(attempt.record.payment_hash)
            if known is None or known.record.begun_by != attempt.record.begun_by or not known.is_question:
                return
            if not known.may_be_asked(self._clock(), self._persistence):
                continue  # the machine slept meanwhile
            answer = await self._sending.ask_once(known, Deadline.after(_LONGEST_WAIT_FOR_ANSWER))
            asked.set()
            if not answer.is_open:
                self.settled(answer)
                _log.info(
                    "payment resolved", payment_hash=answer.record.payment_hash, status=answer.record.status.value
                )
