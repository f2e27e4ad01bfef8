"""Payments: attempted once, followed until it is known how they ended, never made twice.

An attempt is journalled when it is asked for, so that it counts as in flight from then on, and again before its first
byte is sent. A task of its own follows it to its end, whatever becomes of the caller. What an answer proves is decided
in `attempt`; an end that can't be proved is UNKNOWN: a host that is told "failed" pays again (flash-server.md 7.4).

UNKNOWN is resolved later where the server can tell: by an answer that comes late on the socket, or by asking with the
same idempotency key *after the BOLT11 has expired*. Before that the repetition of a lost request may be its first
execution, long after the host was told UNKNOWN and may have paid in another way; so it needs the host's word that it
never does that (`PayInvoiceParams.resolve_early`), and ends after ten minutes. Afterwards nothing can be executed any
more, because payee and custodian refuse an expired invoice, so that the question can only bring out what the server has
kept; which it does for 24 hours (flash-server.md 3.7). A server that answered an error has kept nothing, and is never
asked.

One case can't be told from a payment that never arrived: the money left, the custodian ended in an error, *and* that
answer was lost. Then the repetition pays again if the custodian does not refuse a BOLT11 that it has paid, which it is
known to do ("payment already prepared") though nothing in Flash assures it (flash-server.md 3.7).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from connection_strings.checks import read_payment_hash
from connection_strings.errors import BackendUnavailable, InvalidRequest, LightningError
from connection_strings.lightning import LightningPaymentStatus
from flash_driver.common.clocks import utc_now
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.payments.attempt import PaymentAttempt, Persistence
from flash_driver.payments.attempt_store import AttemptStore, Unkept
from flash_driver.payments.order import Order, read_order
from flash_driver.payments.preparation import Costs, PaymentDeclined, Preparation
from flash_driver.payments.recovery import Recovery
from flash_driver.payments.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from connection_strings.lightning import LightningPayment, PayInvoiceParams, PayResponse
    from flash_driver.flash_api.replies import Currency
    from flash_driver.journal.journal import Journal
    from flash_driver.money.sending_rate import SendingRate
    from flash_driver.money.server_price import ServerPrice
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.router import Router
    from flash_driver.wallets import WalletDirectory

__all__ = ["Payments"]

_log: Final = get_logger(part="payments")


@dataclass(slots=True)
class _UnderWay:
    """A payment that this process is at.

    Attributes:
        order: What was asked for.
        task: Carries it out.
        callers: How many wait for it.
        sending: Whether it may have been sent; before that it ends with its last caller.

    """

    order: Order
    task: asyncio.Task[PayResponse] | None = None
    callers: int = 0
    sending: bool = False


class Payments:
    """Pays BOLT11 invoices out of one account, until it is closed.

    Args:
        process: What is set for the process.
        router: Carries what is asked and sent.
        wallets: Which wallet pays.
        price: What the server says a bitcoin costs.
        rates: What is known of the rate at which a currency is sent.
        journal: Keeps the attempts.
        unkept: Ends that the journal could not keep yet, shared by all clients of the account in this process.
        clock: The wall clock.
        persistence: How persistently it is asked how a payment ended.

    """

    def __init__(
        self,
        *,
        process: ProcessSettings,
        router: Router,
        wallets: WalletDirectory,
        price: ServerPrice,
        rates: Callable[[Currency], SendingRate],
        journal: Journal,
        unkept: dict[str, Unkept] | None = None,
        clock: Callable[[], datetime] = utc_now,
        persistence: Persistence | None = None,
    ) -> None:
        self._clock = clock
        self._persistence = persistence or Persistence()
        self._store = AttemptStore(journal, {} if unkept is None else unkept)
        costs = Costs(router=router, price=price, rates=rates, journal=journal, clock=clock)
        self._preparation = Preparation(process=process, router=router, wallets=wallets, costs=costs, clock=clock)
        self._sending = Sending(
            router=router, store=self._store, on_open_end=self._leave_open, clock=clock, persistence=persistence
        )
        self._recovery = Recovery(store=self._store, sending=self._sending, clock=clock, persistence=persistence)
        self._under_way: dict[str, _UnderWay] = {}
        self._closed = False

    async def pay(self, bolt11: str, params: PayInvoiceParams) -> PayResponse:
        """Pay, and say how that ended.

        A caller that is cancelled while the payment is being prepared has paid nothing; afterwards the payment goes on
        without it, and `find` knows it.

        Raises:
            InvalidRequest: The BOLT11 or the amount makes no sense, or another payment with its hash was made.
            RateUnknown: The server does not tell its price, which an amountless BOLT11 is paid at; nothing was sent.
            BackendUnavailable: The client was closed, or the time was over before anything was sent.
            LightningError: Something else before the payment failed; nothing was sent.

        """
        self._insist_on_open()
        order = read_order(bolt11, params)
        deadline = Deadline.after(order.send_seconds)
        under_way = self._under_way.get(order.request.payment_hash)
        if under_way is None:
            return await self._outcome_of(self._start(order, deadline), deadline=None)
        same = under_way.order
        order.insist_on_same(same.request.bolt11, same.amount_msat, "is being paid")
        # The first caller has a deadline of its own, which this one need not share.
        return await self._outcome_of(under_way, deadline)

    async def find(self, payment_hash: str) -> LightningPayment | None:
        """Return what is known of a payment; None only when none was ever attempted for this hash.

        Where the server may be asked how it ended, that is waited for a little.
        """
        known_as = read_payment_hash(payment_hash)
        if known_as is None:
            return None
        await self._recovery.take_up()
        attempt = await self._store.find(known_as)
        if (attempt is None or not attempt.is_open) and (under_way := self._under_way.get(known_as)) is not None:
            complete = attempt is not None and attempt.record.status is LightningPaymentStatus.COMPLETE
            if not complete:
                attempt = PaymentAttempt.begun(under_way.order, attempt, self._clock())
        elif attempt is not None:
            attempt = await self._recovery.latest(attempt)
        if attempt is None:
            await self._store.insist_unknown(known_as)
        return None if attempt is None else attempt.payment(self._clock(), self._persistence)

    @property
    def known_unknown(self) -> Mapping[str, datetime] | None:
        """Payments that stay unknown, each with when it was sent, as of the last look; None before the first."""
        return self._recovery.unknown

    def watch(self) -> None:
        """Look for payments that stay unknown now and again, until closed."""
        self._recovery.watch()

    async def unknown(self) -> list[LightningPayment]:
        """Return the payments that stay unknown, in the order they were first attempted."""
        await self._recovery.take_up()
        return [attempt.payment(self._clock(), self._persistence) for attempt in await self._recovery.stuck()]

    async def history(self, *, include_pending: bool, after: str | None, offset: int) -> list[LightningPayment]:
        """Return each payment once, in the order they were first attempted, as `Journal.list_payments` does."""
        await self._recovery.take_up()
        attempts = await self._store.history(include_pending=include_pending, after=after, offset=offset)
        return [attempt.payment(self._clock(), self._persistence) for attempt in attempts]

    async def settle_by_hand(self, payment_hash: str, *, paid: bool, reason: str) -> LightningPayment:
        """Write down how a payment ended that nobody else can tell any more.

        Args:
            payment_hash: Which payment.
            paid: Whether the money left, as the Flash app shows it.
            reason: How the operator knows, in words; kept for good.

        Raises:
            InvalidRequest: There is no such payment, it is known how it ended, or it is being sent.

        """
        if not reason.strip():
            raise InvalidRequest("reason", "is needed: say how you know")
        await self._recovery.take_up()
        attempt = await self._store.find(payment_hash.lower())
        if attempt is None:
            raise InvalidRequest("payment_hash", "is not that of a payment in this journal")
        attempt = await self._sending.without_sender(attempt)
        if attempt.record.payment_hash in self._under_way or attempt.record.status is LightningPaymentStatus.PENDING:
            raise InvalidRequest("payment_hash", "is that of a payment which is being sent; wait for its end")
        if not attempt.is_open:
            raise InvalidRequest(
                "payment_hash", f"is that of a payment which is known to be {attempt.record.status.value}"
            )
        settled = attempt.settled_by_hand(paid=paid, reason=reason.strip())
        kept = await self._store.advance(attempt, settled)
        if kept != settled:
            raise InvalidRequest("payment_hash", "is that of a payment which has just changed; look at it again")
        self._recovery.settled(settled)
        _log.warning(
            "payment settled by hand", payment_hash=attempt.record.payment_hash, status=settled.record.status.value
        )
        return settled.payment(self._clock(), self._persistence)

    async def aclose(self) -> None:
        """End everything; a payment that was being sent is left UNKNOWN, one of which nothing was sent has FAILED."""
        self._closed = True
        tasks = [each.task for each in self._under_way.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(self._recovery.aclose(), self._sending.aclose(), *tasks, return_exceptions=True)
        await self._store.aclose()

    # --- one payment ------------------------------------------------------------------------------------------------

    def _start(self, order: Order, deadline: Deadline) -> _UnderWay:
        under_way = self._under_way[order.request.payment_hash] = _UnderWay(order)
        under_way.task = task = asyncio.create_task(self._carry_out(under_way, deadline), name="flash-driver payment")

        def forget(done: asyncio.Task[PayResponse]) -> None:
            del self._under_way[order.request.payment_hash]
            if not done.cancelled() and not isinstance(done.exception(), LightningError | None):
                error = type(done.exception()).__name__
                _log.error("following a payment broke", payment_hash=order.request.payment_hash, error=error)

        task.add_done_callback(forget)
        return under_way

    async def _carry_out(self, under_way: _UnderWay, deadline: Deadline) -> PayResponse:
        """Answer for an earlier attempt that counts, else make a new one."""
        order = under_way.order
        await self._recovery.take_up()
        known = await self._store.find(order.request.payment_hash)
        if known is None or known.record.status is LightningPaymentStatus.FAILED:
            return await self._attempt(under_way, known, deadline)
        order.insist_on_same_as(known.record)
        if known.record.status is LightningPaymentStatus.COMPLETE:
            return known.response(paid_before=True)
        abandoned = not known.may_have_sender(self._clock(), self._persistence.margin)
        known = await self._sending.after_sender(known, deadline)
        if abandoned and known.record.status is LightningPaymentStatus.FAILED:
            return await self._attempt(under_way, known, deadline)
        under_way.sending = True
        return await self._sending.ask(known, deadline)

    async def _attempt(
        self, under_way: _UnderWay, failed: PaymentAttempt | None, deadline: Deadline, *, last: bool = False
    ) -> PayResponse:
        """Begin an attempt in the journal, prepare it, send it; or answer for another one that was begun meanwhile.

        One that was refused for certain is followed by another, once, where the account has another wallet by now.
        """
        order, marked = under_way.order, None
        begun = PaymentAttempt.begun(order, failed, self._clock())
        try:
            counting = await self._store.begin(begun)
            if counting is None:
                prepared = await self._preparation.prepare(begun, order, deadline)
                marked = prepared.about_to_be_sent(self._clock())
                self._insist_on_open()
                counting = await self._store.advance(begun, marked)
        except PaymentDeclined as declined:
            return (await self._store.keep(begun, begun.not_sent(str(declined)))).response()
        except LightningError as error:
            await self._store.keep(begun, begun.not_sent(f"it was not sent: {error}"))
            raise
        except BaseException:
            self._store.keep_in_background(
                begun, begun.not_sent("it was not sent: it was interrupted while it was being prepared")
            )
            raise
        under_way.sending = True
        if marked is not None and counting == marked:
            sent = await self._sending.send(marked, deadline)
            another_may_do = not last and sent.attempt.another_wallet_may_do(sent.outcome)
            if another_may_do and await self._preparation.has_moved(marked, deadline):
                return await self._attempt(under_way, sent.attempt, deadline, last=True)
            return sent.attempt.response(sent.outcome)
        # Another process has begun an attempt, or preparing took so long that it called this one failed.
        counting = (
            counting
            or await self._store.find(order.request.payment_hash)
            or begun.not_sent("it was not sent: it is no longer kept")
        )
        order.insist_on_same_as(counting.record)
        return await self._sending.ask(await self._sending.after_sender(counting, deadline), deadline)

    async def _outcome_of(self, under_way: _UnderWay, deadline: Deadline | None) -> PayResponse:
        """Wait for the end of a payment, at most until the deadline."""
        order, task = under_way.order, under_way.task
        assert task is not None  # noqa: S101 - for the type checker; it is set as soon as there is one
        under_way.callers += 1
        try:
            await asyncio.wait({task}, timeout=None if deadline is None else deadline.remaining)
        except asyncio.CancelledError:
            if under_way.callers == 1 and not under_way.sending:
                task.cancel()
            raise
        finally:
            under_way.callers -= 1
        if not task.done():
            told = PaymentAttempt.begun(order, None, self._clock()).response()
            return replace(told, error_detail="another call is still at this payment")
        if not task.cancelled():
            return task.result()
        # Not the caller was cancelled but the client closed.
        closed = {"client": "it was closed"}
        try:
            attempt = await self._store.find(order.request.payment_hash)
        except LightningError:
            raise BackendUnavailable("paying", closed, executed=None if under_way.sending else False) from None
        if attempt is None:
            raise BackendUnavailable("paying", closed, executed=False)
        return attempt.response()

    def _leave_open(self, attempt: PaymentAttempt) -> None:
        self._recovery.later(attempt)

    def _insist_on_open(self) -> None:
        """Let nothing leave after the close: nobody would follow it."""
        if self._closed:
            raise BackendUnavailable("paying", {"client": "it was closed"}, executed=False)
