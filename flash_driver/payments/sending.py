"""A payment from its first byte on: sent, asked about under its key, and kept in the journal whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from connection_strings.errors import BackendUnavailable
from connection_strings.lightning import LightningPaymentStatus
from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger
from flash_driver.common.tasks import TaskSet
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import WriteMark
from flash_driver.flash_api.outcomes import Unknown
from flash_driver.payments.attempt import Persistence
from flash_driver.transports.call_log import CallLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from connection_strings.lightning import PayResponse
    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.outcomes import Evidence, Outcome
    from flash_driver.payments.attempt import PaymentAttempt
    from flash_driver.payments.attempt_store import AttemptStore
    from flash_driver.transports.delivery import Delivery
    from flash_driver.transports.router import Router

__all__ = ["Sending", "Sent"]

_log: Final = get_logger(part="payments")


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an attempt that was sent.

    Attributes:
        attempt: As the journal keeps it.
        outcome: The server's last answer to it.

    """

    attempt: PaymentAttempt
    outcome: Outcome


class Sending:
    """Sends attempts to pay, and takes in what comes back, also late.

    Args:
        router: Carries them.
        store: Keeps them.
        on_open_end: Told each attempt of which it is not known how it ended.
        clock: The wall clock.
        persistence: How persistently it is asked how one ended.

    """

    def __init__(
        self,
        *,
        router: Router,
        store: AttemptStore,
        on_open_end: Callable[[PaymentAttempt], None],
        clock: Callable[[], datetime] = utc_now,
        persistence: Persistence | None = None,
    ) -> None:
        self._router = router
        self._store = store
        self._on_open_end = on_open_end
        self._clock = clock
        self._persistence = persistence or Persistence()
        self._late = TaskSet()

    async def aclose(self) -> None:
        """Take no late answers any more."""
        await self._late.aclose()

    async def send(self, seen: PaymentAttempt, deadline: Deadline, *, sent_before: bool = False) -> Sent:
        """Send an attempt, and again under the same key while it is not known how it ended and that is a question.

        The custodian may take all the time that the host gives, so each sending is waited for until the deadline. The
        answer to an earlier one, which may come late on the socket, ends that too.

        Args:
            seen: The attempt as the journal knows it: about to be sent, or sent before.
            deadline: Until when the host waits.
            sent_before: Whether an earlier sending may have been carried out.

        """
        doing = "asking about payment" if sent_before else "sending payment"
        call_log = CallLog(_log.bind(payment_hash=seen.record.payment_hash), doing, "payment settled")
        attempt, asked = seen, 0
        mark, heard = WriteMark(), asyncio.Event()
        try:
            while True:
                late = partial(self._take_late, attempt, heard)
                delivery = await self._router.perform(attempt.operation(mark), deadline, call_log, late)
                if not sent_before and attempt.key_is_refused(delivery):
                    mark = WriteMark()
                    seen = attempt = await self._give_key_up(attempt)
                    continue
                attempt = attempt.judged(delivery.outcome, delivery.reasons, sent_before=sent_before)
                sent_before = True
                pause = self._pause_before(asked, delivery.outcome) if attempt.is_question else None
                if pause is None or deadline.remaining <= pause:
                    break
                asked += 1
                if await _happens(heard, pause):
                    break  # what was heard is kept, and counts more
                _log.info(
                    "asking again with the same key", payment_hash=seen.record.payment_hash, why=attempt.record.failure
                )
        except BaseException as error:
            if attempt.record.status is LightningPaymentStatus.PENDING:
                # Only a clean interruption proves that nothing was written; whatever else broke proves nothing.
                unwritten = isinstance(error, asyncio.CancelledError) and not mark.begun
                why = f"it was interrupted ({type(error).__name__})"
                attempt = (
                    attempt.not_sent(f"{why} before it was sent")
                    if unwritten
                    else attempt.unknown(f"{why} while it was being sent")
                )
            _log.warning(
                "payment interrupted", payment_hash=seen.record.payment_hash, status=attempt.record.status.value
            )
            self._store.keep_in_background(seen, attempt)
            raise
        return await self._ended(seen, attempt, delivery, call_log)

    async def ask(self, attempt: PaymentAttempt, deadline: Deadline) -> PayResponse:
        """Answer for an attempt that was sent before: ask how it ended, if that is a question at all."""
        now = self._clock()
        if attempt.may_have_sender(now, self._persistence.margin) or attempt.is_forgotten(now, self._persistence):
            return attempt.response()
        sent = await self.send(attempt, deadline, sent_before=True)
        return sent.attempt.response(sent.outcome)

    async def ask_once(self, attempt: PaymentAttempt, deadline: Deadline) -> PaymentAttempt:
        """Ask how an attempt ended, and return it as it stands then."""
        late = partial(self._take_late, attempt, asyncio.Event())
        delivery = await self._router.perform(attempt.operation(WriteMark()), deadline, late=late)
        return await self._store.keep(attempt, attempt.judged(delivery.outcome, delivery.reasons, sent_before=True))

    async def after_sender(self, attempt: PaymentAttempt, deadline: Deadline) -> PaymentAttempt:
        """While another process may be at an attempt, wait for what it makes of it; then end what it left behind."""
        while (
            attempt.may_have_sender(self._clock(), self._persistence.margin)
            and deadline.remaining > self._persistence.look
        ):
            await asyncio.sleep(self._persistence.look)
            attempt = await self._store.find(attempt.record.payment_hash) or attempt
        return await self.without_sender(attempt)

    async def without_sender(self, attempt: PaymentAttempt) -> PaymentAttempt:
        """Return an attempt as failed or unknown if its sender is dead; nobody else ends one that is pending."""
        pending = attempt.record.status is LightningPaymentStatus.PENDING
        if not pending or attempt.may_have_sender(self._clock(), self._persistence.margin):
            return attempt
        if attempt.record.sent_at is None:
            ended = attempt.not_sent("it was not sent: the process that prepared it ended")
        else:
            ended = attempt.unknown("the process that sent it ended before the answer came")
        return await self._store.advance(attempt, ended) or attempt

    def _pause_before(self, asked: int, outcome: Outcome) -> float | None:
        """Return how long to wait, in seconds, before it is asked again; None when it was asked often enough.

        One that the server says is in flight there is asked about until the deadline.
        """
        pauses = self._persistence.pauses
        in_flight = isinstance(outcome, Unknown) and outcome.kept
        return pauses[min(asked, len(pauses) - 1)] if in_flight or asked < len(pauses) else None

    async def _ended(
        self, seen: PaymentAttempt, attempt: PaymentAttempt, delivery: Delivery, call_log: CallLog
    ) -> Sent:
        """Keep what an attempt has become, and tell of it."""
        kept = await self._store.keep(seen, attempt)
        if kept.record.status is LightningPaymentStatus.COMPLETE:
            call_log.done(delivery.transport)
        else:
            _log.warning(
                "payment not settled",
                payment_hash=kept.record.payment_hash,
                status=kept.record.status.value,
                why=kept.record.failure,
            )
            self._on_open_end(kept)
        return Sent(kept, delivery.outcome)

    async def _give_key_up(self, attempt: PaymentAttempt) -> PaymentAttempt:
        """Go on without the key that the server does not know; that is kept first, so that it never comes back.

        Raises:
            LightningError: The journal could not keep it; nothing was executed.

        """
        without = attempt.without_key()
        kept = await self._store.advance(attempt, without)
        if kept != without:
            raise BackendUnavailable("paying", {"journal": "another process has ended this attempt"}, executed=False)
        return without

    def _take_late(self, attempt: PaymentAttempt, heard: asyncio.Event, evidence: Evidence) -> None:
        """Keep an answer that comes after its time, and then tell: it may be the only one there is."""
        outcome = classify(attempt.document, evidence)
        if isinstance(outcome, Unknown) and not outcome.answered:
            return
        self._late.start(self._keep_late(attempt, outcome, heard), "late payment answer")

    async def _keep_late(self, attempt: PaymentAttempt, outcome: Outcome, heard: asyncio.Event) -> None:
        known = await self._store.find(attempt.record.payment_hash)
        if known is None or known.record.begun_by != attempt.record.begun_by or not known.is_open:
            return
        # What has no key was sent once and is never sent again.
        sent_before = attempt.record.idempotency_key is not None
        kept = await self._store.keep(known, known.judged(outcome, {}, sent_before=sent_before))
        _log.info("late answer to a payment", payment_hash=kept.record.payment_hash, status=kept.record.status.value)
        heard.set()


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for so long; tell whether it has happened."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
