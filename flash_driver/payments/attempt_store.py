"""The attempts of one account: in the journal, and in memory those whose end the journal has not kept yet.

What an answer proved must not be lost because the journal is locked in that moment: the next call would pay again, or
never learn that it was paid. So an end stays in memory until the journal has it, and is answered from there meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from connection_strings.errors import BackendUnavailable, LightningError
from flash_driver.common.log import get_logger
from flash_driver.journal.attempt_rules import Begun
from flash_driver.payments.attempt import PaymentAttempt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import PaymentRecord

__all__ = ["AttemptStore", "Unkept"]

_LONGEST_WAIT_TO_KEEP: Final = 2.0
"""How long a caller waits, in seconds, until an end is in the journal; it goes on being tried."""
_LONGEST_WAIT_TO_CLOSE: Final = 5.0
_PAUSES: Final = (0.1, 0.3, 1.0, 3.0)
"""Between two tries to keep an end, in seconds; the last one again and again."""

_log: Final = get_logger(part="payments")


@dataclass(frozen=True, slots=True)
class Unkept:
    """How an attempt ended, as long as the journal has not kept it.

    Attributes:
        seen: The attempt as the journal knows it.
        record: What it has become.

    """

    seen: PaymentRecord
    record: PaymentRecord


class AttemptStore:
    """Keeps attempts to pay.

    Args:
        journal: Where they are kept for good.
        unkept: Ends that the journal has not kept yet, by payment hash. All clients of an account in this process share
            them, so they outlive the one that has learned them.

    """

    def __init__(self, journal: Journal, unkept: dict[str, Unkept]) -> None:
        self._journal = journal
        self._unkept = unkept
        self._writing: dict[str, asyncio.Task[PaymentRecord]] = {}

    async def begin(self, attempt: PaymentAttempt) -> PaymentAttempt | None:
        """Keep a new attempt; returns another one that counts instead, None when there is none.

        Raises:
            LightningError: The journal can't be used now. It may have kept the attempt all the same.

        """
        if attempt.record.payment_hash in self._unkept:
            writing = self._writer(attempt.record.payment_hash)
            if not (await asyncio.wait({writing}, timeout=_LONGEST_WAIT_TO_KEEP))[0]:
                why = "it has not kept yet how the last attempt ended"
                raise BackendUnavailable("paying", {"journal": why}, executed=False)
        decision = await self._journal.begin_payment(attempt.record)
        return None if isinstance(decision, Begun) else PaymentAttempt(decision.record)

    async def find(self, payment_hash: str) -> PaymentAttempt | None:
        """Return the attempt for this payment hash that tells most.

        Raises:
            LightningError: The journal can't be used now, and nothing is known without it.

        """
        before = dict(self._unkept)
        unkept = before.get(payment_hash)
        try:
            record = await self._journal.find_payment(payment_hash)
        except LightningError:
            if unkept is None or unkept.record.sent_at is None:
                raise
            return PaymentAttempt(unkept.record)
        return None if record is None else PaymentAttempt(self._newer(record, before))

    async def insist_unknown(self, payment_hash: str) -> None:
        """Make sure that no other account of this journal has attempted this payment.

        Raises:
            KnownElsewhere: One has.

        """
        await self._journal.insist_unknown("payment", payment_hash)

    async def unresolved(self) -> list[PaymentAttempt]:
        """Return the payments of which it is not known how they ended, in the order they were first attempted."""
        before = dict(self._unkept)
        found = [PaymentAttempt(self._newer(record, before)) for record in await self._journal.unresolved_payments()]
        return [attempt for attempt in found if attempt.is_open]

    async def history(self, *, include_pending: bool, after: str | None, offset: int) -> list[PaymentAttempt]:
        """Return each payment once, in the order they were first attempted, as `Journal.list_payments` does."""
        before = dict(self._unkept)
        rows = await self._journal.list_payments(include_pending=include_pending, after=after, offset=offset)
        return [PaymentAttempt(self._newer(record, before)) for record in rows]

    async def advance(self, before: PaymentAttempt, after: PaymentAttempt) -> PaymentAttempt | None:
        """Keep a step that comes before the sending; returns the attempt as it stands, None when it is gone.

        Raises:
            LightningError: The journal can't be used now: nothing may be sent.

        """
        kept = await self._journal.update_payment(after.record, seen=before.record)
        return None if kept is None else PaymentAttempt(kept)

    async def keep(self, before: PaymentAttempt, after: PaymentAttempt) -> PaymentAttempt:
        """Keep what an attempt has become, and return it as it stands then.

        Waits a little for the journal; what that can't keep now stays in memory, and goes on being written.
        """
        writing = self.keep_in_background(before, after)
        await asyncio.wait({writing}, timeout=_LONGEST_WAIT_TO_KEEP)
        if writing.done() and not writing.cancelled() and writing.result().begun_by == after.record.begun_by:
            return PaymentAttempt(writing.result())
        return after

    def keep_in_background(self, before: PaymentAttempt, after: PaymentAttempt) -> asyncio.Task[PaymentRecord]:
        """Keep what an attempt has become without waiting for the journal; it is known at once."""
        payment_hash = after.record.payment_hash
        waiting = self._unkept.get(payment_hash)
        if waiting is None:
            self._unkept[payment_hash] = Unkept(before.record, after.record)
        elif waiting.record.begun_by == after.record.begun_by:
            self._unkept[payment_hash] = Unkept(waiting.seen, after.record)
        # Else the journal has not even begun this attempt: it keeps how the one before it ended first.
        return self._writer(payment_hash)

    def resume(self) -> None:
        """Go on writing what an earlier client of the account could not."""
        for payment_hash in list(self._unkept):
            self._writer(payment_hash)

    async def aclose(self) -> None:
        """Wait a little for what is not kept yet; what then is not stays in memory for the account's next client."""
        writing = set(self._writing.values())
        if writing:
            await asyncio.wait(writing, timeout=_LONGEST_WAIT_TO_CLOSE)
        for payment_hash, task in list(self._writing.items()):
            _log.error("closed before the journal kept how a payment ended", payment_hash=payment_hash)
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)

    def _newer(self, record: PaymentRecord, before: Mapping[str, Unkept]) -> PaymentRecord:
        """Return what memory knows of the same attempt, where the journal does not know how it ended.

        Args:
            record: What the journal said.
            before: What was not kept when the journal was asked; it may have been written while it answered.

        """
        unkept = self._unkept.get(record.payment_hash) or before.get(record.payment_hash)
        same = unkept is not None and unkept.record.begun_by == record.begun_by
        return unkept.record if unkept is not None and same and PaymentAttempt(record).is_open else record

    def _writer(self, payment_hash: str) -> asyncio.Task[PaymentRecord]:
        task = self._writing.get(payment_hash)
        if task is None or task.done():
            unkept = self._unkept[payment_hash]
            task = asyncio.create_task(self._write(unkept), name="flash-driver payment keeping")
            self._writing[payment_hash] = task
            task.add_done_callback(partial(self._forget, payment_hash))
        return task

    async def _write(self, unkept: Unkept) -> PaymentRecord:
        """Write an end, and what is learned meanwhile, until the journal has it; return the attempt as it stands."""
        payment_hash, failures = unkept.record.payment_hash, 0
        while True:
            try:
                kept = await self._journal.update_payment(unkept.record, seen=unkept.seen)
            except LightningError as error:
                self._tell(unkept.record, error, first=failures == 0)
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
                unkept = self._unkept.get(payment_hash, unkept)
                continue
            newer = self._unkept.get(payment_hash, unkept)
            if newer is not unkept:
                unkept = newer
            elif kept is not None and kept != unkept.record and (mine := PaymentAttempt(unkept.record).over(kept)):
                unkept = self._unkept[payment_hash] = Unkept(kept, mine)
            else:
                self._unkept.pop(payment_hash, None)
                if failures:
                    _log.info("the journal has kept how a payment ended", payment_hash=payment_hash)
                return unkept.record if kept is None else kept

    @staticmethod
    def _tell(record: PaymentRecord, error: LightningError, *, first: bool) -> None:
        if first:
            _log.error(
                "the journal can't keep how a payment ended, trying again",
                payment_hash=record.payment_hash,
                status=record.status.value,
                why=str(error),
            )

    def _forget(self, payment_hash: str, done: asyncio.Task[PaymentRecord]) -> None:
        if self._writing.get(payment_hash) is done:
            del self._writing[payment_hash]
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.error("keeping how a payment ended broke", payment_hash=payment_hash, error=type(error).__name__)
