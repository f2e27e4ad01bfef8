"""Payments: attempted once, followed until it is known how they ended, never made twice.

An attempt is journalled before its first byte is sent, and from then on followed to its end by a task of its own,
whatever becomes of the caller. What an answer proves is decided in `attempts`; an end that can't be proved is UNKNOWN:
a host that is told "failed" pays again (flash-api.md 7.4).

UNKNOWN is resolved later where the server can tell: by an answer that comes late on the socket, or by asking with the
same idempotency key *after the BOLT11 has expired*. Before that the repetition of a lost request may be its first
execution, long after the host was told UNKNOWN and may have paid in another way. Afterwards nothing can be executed any
more, because payee and custodian refuse an expired invoice, so that the question can only bring out what the server has
kept; which it does for 24 hours (flash-api.md 3.7). A server that answered with an error has kept nothing, and is never
asked.

One case can't be told from a payment that never arrived: the money left, the custodian ended in an error, *and* that
answer was lost. Then the repetition pays again if the custodian does not refuse a BOLT11 that it has paid, which it is
known to do ("payment already prepared") though nothing in Flash assures it (flash-api.md 3.7).
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from connection_strings.errors import (
    BackendUnavailable,
    InvalidReply,
    InvalidRequest,
    LightningError,
    NotSupported,
    RequestRefused,
)
from connection_strings.lightning import LightningPaymentStatus, PayInvoiceParams, PayResponse, PayResult
from flash_driver.attempts import (
    fee_limit,
    idempotency_key,
    is_question,
    judge,
    key_is_unheard_of,
    open_end,
    operation,
    response,
)
from flash_driver.deadline import Deadline
from flash_driver.journal.base import PaymentRecord
from flash_driver.log import get_logger
from flash_driver.operations import FEE_PROBE, FEE_PROBE_NO_AMOUNT, PRICE
from flash_driver.outcome import Outcome, Unknown
from flash_driver.payment_request import PAYMENT_HASH, PaymentRequest, decode
from flash_driver.persistence import Persistence
from flash_driver.rates import RateUnknown
from flash_driver.replies import read_fee_cents, read_price
from flash_driver.transports.trail import Trail
from flash_driver.verdict import data_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from decimal import Decimal
    from typing import Any

    from flash_driver.journal.base import Journal
    from flash_driver.outcome import Evidence
    from flash_driver.rates import RateBook
    from flash_driver.replies import Currency
    from flash_driver.settings import ProcessSettings
    from flash_driver.transports.router import Router
    from flash_driver.wallets import ChosenWallet, WalletDirectory

__all__ = ["Payments", "Persistence"]

_LONGEST_WAIT_FOR_WALLET: Final = 5.0
_LONGEST_WAIT_FOR_PRICE: Final = 5.0
_LONGEST_WAIT_TO_FIND: Final = 3.0
_MSAT_PER_SAT: Final = 1000
_SHARE_OF_TIME: Final = 0.6
"""How much of the time left the first sending may use."""

_log: Final = get_logger(part="payments")


@dataclass(frozen=True, slots=True)
class _Order:
    """A payment that has passed all checks that need no server."""

    request: PaymentRequest
    amount_msat: int
    fee_limit_msat: int | None


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
        self._process = process
        self._router = router
        self._wallets = wallets
        self._rates = rates
        self._journal = journal
        self._clock = clock
        self._persistence = persistence or Persistence()
        self._preparing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._following: dict[str, asyncio.Task[PayResponse]] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, asyncio.Event] = {}
        self._taken_up = False
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
        order = self._order(bolt11, params)
        self._insist_on_open()
        deadline = Deadline.after(params.send_timeout.total_seconds())
        await self._take_up()
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
                    task = self._follow(payment_hash, self._go_on(known, deadline))
                else:
                    prepared = await self._prepare(order, known, deadline)
                    if isinstance(prepared, PayResponse):
                        return prepared
                    self._insist_on_open()
                    task = self._follow(payment_hash, self._carry_out(prepared, deadline))
        finally:
            preparing.release()
        # Who sent it has a deadline of his own, which this caller need not share.
        if joined and not (await asyncio.wait({task}, timeout=deadline.remaining))[0]:
            return await self._as_journalled(payment_hash)
        return await self._outcome_of(task, payment_hash)

    async def find(self, payment_hash: str) -> PaymentRecord | None:
        """Return what is known of a payment; None only when none was ever attempted for this hash.

        Where the server may be asked how it ended, that is waited for a little: a host that makes a client for each
        call would close it before its resolver has asked, and never learn.
        """
        if PAYMENT_HASH.fullmatch(payment_hash) is None:
            return None
        await self._take_up()
        record = await self._journal.find_payment(payment_hash.lower())
        if record is None or not self._may_ask(record):
            return record
        if record.payment_hash not in self._asked:
            # Another process left it open since this one took up what there was.
            self._resolve_later(record)
        if (asked := self._asked.get(record.payment_hash)) is None or asked.is_set():
            return record
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_WAIT_TO_FIND):
                await asked.wait()
        return await self._journal.find_payment(record.payment_hash)

    async def history(self, *, include_pending: bool, offset: int) -> list[PaymentRecord]:
        """Return each payment once, in the order they were first attempted."""
        await self._take_up()
        return await self._journal.list_payments(include_pending=include_pending, offset=offset)

    async def aclose(self) -> None:
        """End everything; an attempt that is under way is left UNKNOWN in the journal, to be asked about later."""
        # Whoever is preparing a payment now finds this before the first byte.
        self._closed = True
        tasks = [*self._following.values(), *self._late, *self._resolving.values()]
        self._resolving.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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

    # --- before the first byte --------------------------------------------------------------------------------------

    def _order(self, bolt11: str, params: PayInvoiceParams) -> _Order:
        request = decode(bolt11)
        amount = None if params.amount is None else params.amount.msat
        if request.amount_msat is None and amount is None:
            raise InvalidRequest("amount", "is needed: this BOLT11 leaves it to the payer")
        if request.amount_msat is not None and amount not in (None, request.amount_msat):
            raise InvalidRequest("amount", "differs from the BOLT11's own; leave it out, or make it the same")
        amount_msat = request.amount_msat if request.amount_msat is not None else amount or 0
        return _Order(request, amount_msat, fee_limit(amount_msat, params))

    async def _prepare(
        self, order: _Order, failed: PaymentRecord | None, deadline: Deadline
    ) -> PaymentRecord | PayResponse:
        """Make everything ready for a new attempt; a response says why there will be none."""
        request = order.request
        if request.expires_at <= self._clock():
            return PayResponse(result=PayResult.ERROR, error_detail="the invoice has expired")
        wallet = await self._wallets.choose(deadline.at_most(_LONGEST_WAIT_FOR_WALLET))
        expected = self._process.network or wallet.network
        if expected not in (None, request.network, "mainnet" if request.network == "bitcoin" else None):
            detail = f"the invoice is for {request.network}, this wallet is on {expected}"
            return PayResponse(result=PayResult.ERROR, error_detail=detail)
        cents = await self._cents(order, wallet, deadline)
        too_dear = await self._exceeds_fee_limit(order, wallet, cents, deadline)
        if too_dear is not None:
            return PayResponse(result=PayResult.ERROR, error_detail=too_dear)
        attempt = 1 if failed is None else failed.attempt + 1
        return PaymentRecord(
            payment_hash=request.payment_hash,
            bolt11=request.bolt11,
            wallet_id=wallet.id,
            amount_msat=order.amount_msat,
            created_at=self._clock(),
            attempt=attempt,
            idempotency_key=idempotency_key(wallet.id, request.payment_hash, attempt) if cents is None else None,
            cents=cents,
        )

    async def _cents(self, order: _Order, wallet: ChosenWallet, deadline: Deadline) -> Decimal | None:
        """What to send on an amountless BOLT11; the server converts it back at its own rate (flash-api.md 6)."""
        if order.request.amount_msat is not None:
            return None
        if not wallet.currency.in_cents:
            raise NotSupported("Flash pays amountless invoices from USD and USDT wallets only")
        rates = self._rates(wallet.currency)
        await self._ask_price(rates, deadline)
        return rates.cents_to_pay(order.amount_msat)

    async def _ask_price(self, rates: RateBook, deadline: Deadline) -> None:
        """Have the server tell its price; without an answer the book knows best whether it still has one to pay at."""
        with contextlib.suppress(RequestRefused, BackendUnavailable, InvalidReply):
            delivery = await self._router.perform(PRICE(), deadline.share(0.5).at_most(_LONGEST_WAIT_FOR_PRICE))
            rates.see_tick(read_price(data_of(delivery, "asking for the price")))

    async def _in_msat(self, fee: Decimal, wallet: ChosenWallet, deadline: Deadline) -> int:
        """What a fee comes to in millisatoshi, rather a little more than less."""
        if not wallet.currency.in_cents:
            return int((fee * _MSAT_PER_SAT).to_integral_value(ROUND_CEILING))
        rates = self._rates(wallet.currency)
        try:
            return rates.fee_msat(fee)
        except RateUnknown:
            await self._ask_price(rates, deadline)
            return rates.fee_msat(fee)

    async def _exceeds_fee_limit(
        self, order: _Order, wallet: ChosenWallet, cents: Decimal | None, deadline: Deadline
    ) -> str | None:
        """Ask for the fee where the host limits it: no payment of Flash takes a limit itself (flash-api.md 3.8)."""
        if order.fee_limit_msat is None:
            return None
        variables: dict[str, object] = {"walletId": wallet.id, "paymentRequest": order.request.bolt11}
        document = FEE_PROBE if cents is None else FEE_PROBE_NO_AMOUNT
        if cents is not None:
            variables["amount"] = cents
        try:
            delivery = await self._router.perform(document(input=variables), deadline.share(0.5))
            fee = read_fee_cents(data_of(delivery, "asking for the fee"), document.field or "")
            if fee is None:
                return "the fee limit can't be kept, because the server does not tell the fee"
            fee_msat = await self._in_msat(fee, wallet, deadline)
        except LightningError as error:
            return f"the fee limit can't be kept, because the fee can't be asked for: {error}"
        if fee_msat > order.fee_limit_msat:
            return f"the fee of about {fee_msat} msat exceeds the limit of {order.fee_limit_msat} msat"
        return None

    # --- from the first byte on -------------------------------------------------------------------------------------

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
            caller = asyncio.current_task()
            if not task.cancelled() or (caller is not None and caller.cancelling()):
                raise
        # Not the caller was cancelled but the client closed: what was begun may be under way.
        record = await self._journal.find_payment(payment_hash)
        if record is None:
            return PayResponse(result=PayResult.ERROR, error_detail="the client was closed before anything was sent")
        return response(record)

    async def _carry_out(self, record: PaymentRecord, deadline: Deadline) -> PayResponse:
        counted = await self._journal.begin_payment(record)
        if counted is not record:
            return await self._go_on(counted, deadline)
        trail = Trail(_log.bind(payment_hash=record.payment_hash), "sending payment", "payment settled")
        return await self._send(record, deadline, trail, sent_before=False)

    async def _go_on(self, record: PaymentRecord, deadline: Deadline) -> PayResponse:
        """Answer for an attempt made before, or by another process: ask how it ended if that is a question at all."""
        record = await self._wait_for_sender(record, deadline)
        # One that is still pending has a sender, who alone may send it.
        if record.status is LightningPaymentStatus.PENDING and self._may_be_sending(record):
            return response(record)
        if not is_question(record):
            return response(replace(record, status=LightningPaymentStatus.UNKNOWN) if open_end(record) else record)
        trail = Trail(_log.bind(payment_hash=record.payment_hash), "asking about payment", "payment settled")
        return await self._send(record, deadline, trail, sent_before=True)

    async def _wait_for_sender(self, record: PaymentRecord, deadline: Deadline) -> PaymentRecord:
        """While another process may be sending an attempt, wait for what it makes of it."""
        while (
            record.status is LightningPaymentStatus.PENDING
            and self._may_be_sending(record)
            and deadline.remaining > self._persistence.look
        ):
            await asyncio.sleep(self._persistence.look)
            record = await self._journal.find_payment(record.payment_hash) or record
        return record

    def _may_be_sending(self, record: PaymentRecord) -> bool:
        return abs(self._clock() - record.created_at) < timedelta(seconds=self._persistence.sender_lives)

    async def _send(self, record: PaymentRecord, deadline: Deadline, trail: Trail, *, sent_before: bool) -> PayResponse:
        try:
            record, outcome, via = await self._send_until_known(record, deadline, trail, sent_before=sent_before)
        except BaseException as error:
            why = "it was interrupted while it was being sent"
            await self._keep(replace(record, status=LightningPaymentStatus.UNKNOWN, failure=why))
            _log.warning("payment interrupted", payment_hash=record.payment_hash, by=type(error).__name__)
            raise
        record = await self._keep(record)
        if record.status is LightningPaymentStatus.COMPLETE:
            trail.done(via)
        else:
            _log.warning(
                "payment not settled", payment_hash=record.payment_hash, status=record.status.value, why=record.failure
            )
            self._resolve_later(record)
        return response(record, outcome)

    async def _send_until_known(
        self, record: PaymentRecord, deadline: Deadline, trail: Trail, *, sent_before: bool
    ) -> tuple[PaymentRecord, Outcome, str]:
        """Send an attempt, and again under the same key while it is not known how it ended and that is a question."""
        # Silence must not use up the time in which a question could bring out how it ended.
        share = 1.0 if record.idempotency_key is None else _SHARE_OF_TIME
        delivery = await self._router.perform(operation(record), deadline.share(share), trail, self._take_late(record))
        if key_is_unheard_of(record, delivery) and not sent_before:
            record = replace(record, idempotency_key=None)
            await self._journal.update_payment(record)
            delivery = await self._router.perform(operation(record), deadline, trail, self._take_late(record))
        judged = judge(record, delivery.outcome, delivery.reasons, sent_before=sent_before)
        for pause in self._persistence.pauses:
            if not is_question(judged) or deadline.remaining <= pause:
                break
            await asyncio.sleep(pause)
            _log.info("asking again with the same key", payment_hash=record.payment_hash, why=judged.failure)
            delivery = await self._router.perform(operation(judged), deadline, late=self._take_late(record))
            judged = judge(judged, delivery.outcome, delivery.reasons, sent_before=True)
        return judged, delivery.outcome, delivery.transport

    async def _keep(self, record: PaymentRecord) -> PaymentRecord:
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

    # --- later ------------------------------------------------------------------------------------------------------

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
        judged = await self._keep(judge(known, outcome, {}, sent_before=True))
        _log.info("late answer to a payment", payment_hash=judged.payment_hash, status=judged.status.value)

    async def _take_up(self) -> None:
        """Go on with what earlier processes left open."""
        if not self._taken_up:
            for record in await self._journal.unresolved_payments():
                self._resolve_later(record)
            self._taken_up = True

    def _may_ask(self, record: PaymentRecord) -> bool:
        """Whether it is late enough to ask how a payment ended."""
        sending = record.status is LightningPaymentStatus.PENDING and self._may_be_sending(record)
        if sending or not is_question(record):
            return False
        return self._clock() >= decode(record.bolt11).expires_at + timedelta(seconds=self._persistence.later[0])

    def _resolve_later(self, record: PaymentRecord) -> None:
        if is_question(record) and record.payment_hash not in self._resolving and not self._closed:
            asked = self._asked[record.payment_hash] = asyncio.Event()
            task = asyncio.create_task(self._resolve(record, asked), name="flash-driver payment resolver")
            self._resolving[record.payment_hash] = task

            def end(_: asyncio.Task[None]) -> None:
                self._resolving.pop(record.payment_hash, None)
                asked.set()

            task.add_done_callback(end)

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
            delivery = await self._router.perform(operation(known), Deadline.after(_LONGEST_WAIT_FOR_WALLET))
            judged = await self._keep(judge(known, delivery.outcome, delivery.reasons, sent_before=True))
            asked.set()
            if not is_question(judged):
                _log.info("payment resolved", payment_hash=judged.payment_hash, status=judged.status.value)
                return
