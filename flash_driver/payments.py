"""Payments: attempted once, followed until it is known how they ended, never made twice.

An attempt is journalled before its first byte is sent. What the server says is read by `outcome`; only a clear word
ends an attempt. Everything else is asked again under the same idempotency key, and then left UNKNOWN: a host that is
told "failed" pays again (flash-api.md 7.4).
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from connection_strings.errors import InvalidRequest, LightningError, NotSupported
from connection_strings.lightning import (
    LightningPaymentStatus,
    PayDetails,
    PayInvoiceParams,
    PayResponse,
    PayResult,
)
from connection_strings.money import LightMoney
from flash_driver.deadline import Deadline
from flash_driver.journal.base import PaymentRecord
from flash_driver.log import get_logger
from flash_driver.operations import FEE_PROBE, FEE_PROBE_NO_AMOUNT, PAY, PAY_NO_AMOUNT
from flash_driver.outcome import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.payment_request import PAYMENT_HASH, PaymentRequest, decode
from flash_driver.replies import read_fee_cents
from flash_driver.transports.trail import Trail
from flash_driver.verdict import data_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.journal.base import Journal
    from flash_driver.operations import Operation
    from flash_driver.outcome import Evidence
    from flash_driver.rates import RateBook
    from flash_driver.replies import Currency
    from flash_driver.settings import ProcessSettings
    from flash_driver.transports.router import Delivery, Router
    from flash_driver.wallets import ChosenWallet, WalletDirectory

__all__ = ["Payments"]

_REPLAYS: Final = 2
_REPLAY_PAUSE_SECONDS: Final = 0.5
_LONGEST_WAIT_FOR_WALLET: Final = 5.0

_log: Final = get_logger()


@dataclass(frozen=True, slots=True)
class _Order:
    """A payment that has passed all checks that need no server."""

    request: PaymentRequest
    amount_msat: int
    fee_limit_msat: int | None


class Payments:
    """Pays BOLT11 invoices out of one account."""

    def __init__(
        self,
        *,
        process: ProcessSettings,
        router: Router,
        wallets: WalletDirectory,
        rates: Callable[[Currency], RateBook],
        journal: Journal,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._process = process
        self._router = router
        self._wallets = wallets
        self._rates = rates
        self._journal = journal
        self._clock = clock
        self._paying: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._late: set[asyncio.Task[None]] = set()

    async def pay(self, bolt11: str, params: PayInvoiceParams) -> PayResponse:
        """Pay, and say how that ended.

        Raises:
            InvalidRequest: The BOLT11 or the amount makes no sense; nothing was sent.
            LightningError: Something before the payment failed; nothing was sent.

        """
        order = self._order(bolt11, params)
        lock = self._paying.setdefault(order.request.payment_hash, asyncio.Lock())
        async with lock:
            known = await self._journal.find_payment(order.request.payment_hash)
            if known is not None and known.status is not LightningPaymentStatus.FAILED:
                return await self._go_on(known, Deadline.after(params.send_timeout.total_seconds()))
            if order.request.expires_at <= self._clock():
                return PayResponse(result=PayResult.ERROR, error_detail="the invoice has expired")
            return await self._pay(order, known, Deadline.after(params.send_timeout.total_seconds()))

    async def find(self, payment_hash: str) -> PaymentRecord | None:
        """Return what is known of a payment; None only when none was ever attempted for this hash."""
        if PAYMENT_HASH.fullmatch(payment_hash) is None:
            return None
        return await self._journal.find_payment(payment_hash.lower())

    async def aclose(self) -> None:
        """End what still waits for late answers."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    # --- before the first byte --------------------------------------------------------------------------------------

    def _order(self, bolt11: str, params: PayInvoiceParams) -> _Order:
        request = decode(bolt11)
        amount = None if params.amount is None else params.amount.msat
        if request.amount_msat is None and amount is None:
            raise InvalidRequest("amount", "is needed: this BOLT11 leaves it to the payer")
        if request.amount_msat is not None and amount not in (None, request.amount_msat):
            raise InvalidRequest("amount", "differs from the BOLT11's own; leave it out, or make it the same")
        amount_msat = request.amount_msat if request.amount_msat is not None else amount or 0
        return _Order(request, amount_msat, _fee_limit(amount_msat, params))

    async def _pay(self, order: _Order, failed: PaymentRecord | None, deadline: Deadline) -> PayResponse:
        wallet = await self._wallets.choose(deadline.at_most(_LONGEST_WAIT_FOR_WALLET))
        expected = self._process.network or wallet.network
        if expected not in (None, order.request.network, "mainnet" if order.request.network == "bitcoin" else None):
            detail = f"the invoice is for {order.request.network}, this wallet is on {expected}"
            return PayResponse(result=PayResult.ERROR, error_detail=detail)
        cents = self._cents(order, wallet)
        too_dear = await self._exceeds_fee_limit(order, wallet, cents, deadline)
        if too_dear is not None:
            return PayResponse(result=PayResult.ERROR, error_detail=too_dear)
        attempt = 1 if failed is None else failed.attempt + 1
        record = PaymentRecord(
            payment_hash=order.request.payment_hash,
            bolt11=order.request.bolt11,
            wallet_id=wallet.id,
            amount_msat=order.amount_msat,
            created_at=self._clock(),
            attempt=attempt,
            idempotency_key=_key(wallet.id, order.request.payment_hash, attempt) if cents is None else None,
            cents=cents,
        )
        counted = await self._journal.begin_payment(record)
        if counted != record:
            return await self._go_on(counted, deadline)
        return await self._send(record, deadline)

    def _cents(self, order: _Order, wallet: ChosenWallet) -> Decimal | None:
        """What to send on an amountless BOLT11; the server converts it back at its own rate (flash-api.md 6)."""
        if order.request.amount_msat is not None:
            return None
        if not wallet.currency.in_cents:
            raise NotSupported("Flash pays amountless invoices from USD and USDT wallets only")
        return self._rates(wallet.currency).quote(order.amount_msat, Decimal(0)).cents

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
            fee_cents = read_fee_cents(data_of(delivery, "asking for the fee"), document.field or "")
        except LightningError as error:
            return f"the fee limit can't be kept, because the fee can't be asked for: {error}"
        if fee_cents is None:
            return "the fee limit can't be kept, because the server does not tell the fee"
        rates = self._rates(wallet.currency)
        fee_msat = rates.to_msat(fee_cents) if wallet.currency.in_cents else int(fee_cents * 1000)
        if fee_msat > order.fee_limit_msat:
            return f"the fee of about {fee_msat} msat exceeds the limit of {order.fee_limit_msat} msat"
        return None

    # --- from the first byte on -------------------------------------------------------------------------------------

    async def _send(self, record: PaymentRecord, deadline: Deadline) -> PayResponse:
        trail = Trail(_log.bind(payment_hash=record.payment_hash), "sending payment", "payment settled")
        delivery = await self._router.perform(_operation(record), deadline, trail, self._take_late(record))
        if _key_not_known(delivery, record):
            # An older server refuses the whole document, so nothing was executed; go without, and send only once.
            record = replace(record, idempotency_key=None)
            await self._journal.update_payment(record)
            delivery = await self._router.perform(_operation(record), deadline, trail, self._take_late(record))
        return await self._replay(record, delivery.outcome, delivery, deadline, trail)

    async def _go_on(self, record: PaymentRecord, deadline: Deadline) -> PayResponse:
        """Answer for a payment attempted before: ask again with its key if its end is not known, never anew."""
        if record.status is LightningPaymentStatus.COMPLETE:
            return _response(record)
        if record.idempotency_key is None:
            return _response(replace(record, status=LightningPaymentStatus.UNKNOWN))
        return await self._send(record, deadline)

    async def _replay(
        self, record: PaymentRecord, outcome: Outcome, delivery: Delivery, deadline: Deadline, trail: Trail
    ) -> PayResponse:
        for _ in range(_REPLAYS):
            if not isinstance(outcome, Unknown) or record.idempotency_key is None:
                break
            if deadline.remaining <= _REPLAY_PAUSE_SECONDS:
                break
            await asyncio.sleep(_REPLAY_PAUSE_SECONDS)
            delivery = await self._router.perform(_operation(record), deadline)
            # "Not executed" is about this repetition; what became of the first sending is as unknown as before.
            outcome = outcome if isinstance(delivery.outcome, NotExecuted) else delivery.outcome
        ended = _ended(record, outcome, delivery.reasons)
        await self._journal.update_payment(ended)
        if ended.status is LightningPaymentStatus.COMPLETE:
            trail.done(delivery.transport)
        else:
            _log.warning(
                "payment not settled", payment_hash=ended.payment_hash, status=ended.status.value, why=ended.failure
            )
        return _response(ended, route_missing=isinstance(outcome, Refused) and outcome.code == "ROUTE_FINDING_ERROR")

    def _take_late(self, record: PaymentRecord) -> Callable[[Evidence], None]:
        """Return what keeps an answer that comes after its time: it may be the only one there ever is."""

        def take(evidence: Evidence) -> None:
            outcome = _operation(record).classify(evidence)
            if isinstance(outcome, Completed | Refused):
                task = asyncio.create_task(self._keep_late(record, outcome), name="flash-driver late payment answer")
                self._late.add(task)
                task.add_done_callback(self._late.discard)

        return take

    async def _keep_late(self, record: PaymentRecord, outcome: Outcome) -> None:
        ended = _ended(record, outcome, {})
        await self._journal.update_payment(ended)
        _log.info("late answer to a payment", payment_hash=ended.payment_hash, status=ended.status.value)


def _fee_limit(amount_msat: int, params: PayInvoiceParams) -> int | None:
    limits: list[int] = []
    if params.max_fee_flat is not None:
        limits.append(params.max_fee_flat.msat)
    if params.max_fee_percent is not None:
        limits.append(int(amount_msat * Decimal(str(params.max_fee_percent)) / 100))
    return min(limits, default=None)


def _key(wallet_id: str, payment_hash: str, attempt: int) -> str:
    return hashlib.sha256(f"flash-driver/{wallet_id}/{payment_hash}/{attempt}".encode()).hexdigest()


def _operation(record: PaymentRecord) -> Operation:
    variables: dict[str, object] = {"walletId": record.wallet_id, "paymentRequest": record.bolt11}
    if record.cents is not None:
        return PAY_NO_AMOUNT(input={**variables, "amount": record.cents}, repeatable=False)
    if record.idempotency_key is None:
        return PAY(input=variables, repeatable=False)
    return PAY(input={**variables, "idempotencyKey": record.idempotency_key}, repeatable=True)


def _key_not_known(delivery: Delivery, record: PaymentRecord) -> bool:
    return (
        record.idempotency_key is not None
        and isinstance(delivery.outcome, NotExecuted)
        and Cause.INVALID in delivery.causes
        and any("idempotencyKey" in reason for reason in delivery.reasons.values())
    )


def _ended(record: PaymentRecord, outcome: Outcome, reasons: object) -> PaymentRecord:
    match outcome:
        case Completed():
            return replace(record, status=LightningPaymentStatus.COMPLETE, failure=None)
        case Refused(words):
            return replace(record, status=LightningPaymentStatus.FAILED, failure=words)
        case NotExecuted():
            listed = (
                "; ".join(f"{name}: {why}" for name, why in dict(reasons).items()) if isinstance(reasons, dict) else ""
            )
            return replace(record, status=LightningPaymentStatus.FAILED, failure=f"it was not sent: {listed}")
        case Unknown(reason):
            return replace(record, status=LightningPaymentStatus.UNKNOWN, failure=reason)


def _response(record: PaymentRecord, *, route_missing: bool = False) -> PayResponse:
    results = {
        LightningPaymentStatus.COMPLETE: PayResult.OK,
        LightningPaymentStatus.FAILED: PayResult.COULD_NOT_FIND_ROUTE if route_missing else PayResult.ERROR,
    }
    payment = record.payment
    return PayResponse(
        result=results.get(record.status, PayResult.UNKNOWN),
        details=PayDetails(
            payment_hash=record.payment_hash,
            status=record.status,
            total_amount=payment.amount_sent or LightMoney.from_msat(record.amount_msat),
            fee_amount=payment.fee,
            preimage=record.preimage,
        ),
        error_detail=record.failure,
    )
