"""Payments: attempted once, followed until it is known how they ended, never made twice.

An attempt is journalled before its first byte is sent, and from then on followed to its end by a task of its own,
whatever becomes of the caller. What an answer proves is decided in `attempts`; an end that can't be proved is UNKNOWN:
a host that is told "failed" pays again (flash-server.md 7.4).

UNKNOWN is resolved later where the server can tell: by an answer that comes late on the socket, or by asking with the
same idempotency key *after the BOLT11 has expired*. Before that the repetition of a lost request may be its first
execution, long after the host was told UNKNOWN and may have paid in another way. Afterwards nothing can be executed any
more, because payee and custodian refuse an expired invoice, so that the question can only bring out what the server has
kept; which it does for 24 hours (flash-server.md 3.7). A server that answered an error has kept nothing, and is never
asked.

One case can't be told from a payment that never arrived: the money left, the custodian ended in an error, *and* that
answer was lost. Then the repetition pays again if the custodian does not refuse a BOLT11 that it has paid, which it is
known to do ("payment already prepared") though nothing in Flash assures it (flash-server.md 3.7).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from connection_strings.errors import BackendUnavailable
from connection_strings.lightning import LightningPaymentStatus, PayInvoiceParams, PayResponse, PayResult
from connection_strings.payment_hash import read_payment_hash
from flash_driver.common.cancelling import being_cancelled
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.payments.attempt import response
from flash_driver.payments.preparation import Preparation, read_order
from flash_driver.payments.recovery import Resolving
from flash_driver.payments.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from flash_driver.flash_api.replies import Currency
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import PaymentRecord
    from flash_driver.money.rate_book import RateBook
    from flash_driver.payments.persistence import Persistence
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.router import Router
    from flash_driver.wallets import WalletDirectory

__all__ = ["Payments"]

_log: Final = get_logger(part="payments")


class Payments:
    """Pays BOLT11 invoices out of one account, until it is closed."""

    def __init__(
        self,
        *,
        process: ProcessSettings,
        router: Router,
        wallets: WalletDirectory,
        rates: Callable[[Currency], RateBook],
        journal: Journal,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        persistence: Persistence | None = None,
    ) -> None:
        self._journal = journal
        self._preparation = Preparation(process=process, router=router, wallets=wallets, rates=rates, clock=clock)
        self._sending = Sending(
            router=router, journal=journal, on_open_end=self._leave_open, clock=clock, persistence=persistence
        )
        self._resolving = Resolving(
            router=router, journal=journal, sending=self._sending, clock=clock, persistence=persistence
        )
        self._preparing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._following: dict[str, asyncio.Task[PayResponse]] = {}
        self._closed = False

    async def pay(self, bolt11: str, params: PayInvoiceParams) -> PayResponse:
        """Pay, and say how that ended.

        A caller that is cancelled before the attempt was journalled has paid nothing; afterwards the attempt is
        followed to its end without him, and `find` knows it.

        Raises:
            InvalidRequest: The BOLT11 or the amount makes no sense; nothing was sent.
            RateUnknown: The server does not tell its price, which an amountless BOLT11 is paid at; nothing was sent.
            BackendUnavailable: The client was closed, or the time was over before anything was sent.
            LightningError: Something else before the payment failed; nothing was sent.

        """
        order = read_order(bolt11, params)
        self._insist_on_open()
        deadline = Deadline.after(params.send_timeout.total_seconds())
        await self._resolving.take_up()
        payment_hash = order.request.payment_hash
        preparing = self._preparing.setdefault(payment_hash, asyncio.Lock())
        if not await deadline.acquire(preparing):
            return await self._as_journalled(payment_hash)
        try:
            task = self._following.get(payment_hash)
            joined = task is not None
            if task is None:
                known = await self._journal.find_payment(payment_hash)
                if known is not None and known.status is not LightningPaymentStatus.FAILED:
                    self._insist_on_open()
                    task = self._follow(payment_hash, self._sending.go_on(known, deadline))
                else:
                    prepared = await self._preparation.prepare(order, known, deadline)
                    if isinstance(prepared, PayResponse):
                        return prepared
                    self._insist_on_open()
                    task = self._follow(payment_hash, self._sending.carry_out(prepared, deadline))
        finally:
            preparing.release()
        # Who sent it has a deadline of his own, which this caller need not share.
        if joined and not (await asyncio.wait({task}, timeout=deadline.remaining))[0]:
            return await self._as_journalled(payment_hash)
        return await self._outcome_of(task, payment_hash)

    async def find(self, payment_hash: str) -> PaymentRecord | None:
        """Return what is known of a payment; None only when none was ever attempted for this hash.

        Where the server may be asked how it ended, that is waited for a little.
        """
        known_as = read_payment_hash(payment_hash)
        if known_as is None:
            return None
        await self._resolving.take_up()
        record = await self._journal.find_payment(known_as)
        return None if record is None else await self._resolving.latest(record)

    async def history(self, *, include_pending: bool, offset: int) -> list[PaymentRecord]:
        """Return each payment once, in the order they were first attempted."""
        await self._resolving.take_up()
        return await self._journal.list_payments(include_pending=include_pending, offset=offset)

    async def aclose(self) -> None:
        """End everything; an attempt that is under way is left UNKNOWN in the journal, to be asked about later."""
        # Whoever is preparing a payment now finds this before the first byte.
        self._closed = True
        tasks = [*self._following.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(self._resolving.aclose(), self._sending.aclose(), *tasks, return_exceptions=True)

    def _leave_open(self, record: PaymentRecord) -> None:
        self._resolving.later(record)

    def _insist_on_open(self) -> None:
        """Let nothing leave after the close: it would be followed by nobody."""
        if self._closed:
            raise BackendUnavailable("paying", {"client": "it was closed"}, executed=False)

    async def _as_journalled(self, payment_hash: str) -> PayResponse:
        """Answer a caller whose time is over while another is at the same payment."""
        record = await self._journal.find_payment(payment_hash)
        if record is None:
            ways = {"payment": "another call prepares it and took all the time"}
            raise BackendUnavailable("paying", ways, executed=False)
        return response(record)

    def _follow(self, payment_hash: str, work: Coroutine[Any, Any, PayResponse]) -> asyncio.Task[PayResponse]:
        task = asyncio.create_task(work, name="flash-driver payment")
        self._following[payment_hash] = task

        def forget(done: asyncio.Task[PayResponse]) -> None:
            self._following.pop(payment_hash, None)
            if not done.cancelled() and (error := done.exception()) is not None:
                _log.error("following a payment broke", payment_hash=payment_hash, error=type(error).__name__)

        task.add_done_callback(forget)
        return task

    async def _outcome_of(self, task: asyncio.Task[PayResponse], payment_hash: str) -> PayResponse:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled() or being_cancelled():
                raise
        # Not the caller was cancelled but the client closed: what was begun may be under way.
        record = await self._journal.find_payment(payment_hash)
        if record is None:
            return PayResponse(result=PayResult.ERROR, error_detail="the client was closed before anything was sent")
        return response(record)
