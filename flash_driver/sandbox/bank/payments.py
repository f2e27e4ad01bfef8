"""Payments out of a wallet, with idempotency keys and what the custodian may answer (flash-server.md 3.7 and 3.8)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from flash_driver.sandbox.bank.invoices import UNDECODABLE, check_amount
from flash_driver.sandbox.bank.ledger import IN_CIRCULATION, Payment, Wallet
from flash_driver.sandbox.bank.refusals import (
    DecodeError,
    InsufficientBalance,
    InvalidInput,
    Refused,
    custodian_error,
    unexpected,
    unexpected_error,
)
from flash_driver.sandbox.bank.signer import NotAnInvoiceError, ReadInvoice, read_invoice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flash_driver.sandbox.bank.bank import Bank
    from flash_driver.sandbox.bank.invoices import Invoices
    from flash_driver.sandbox.faults import Fault

__all__ = ["FeeEstimate", "Payments", "SendOrder", "SendStatus"]

SendStatus: TypeAlias = Literal["SUCCESS", "FAILURE", "PENDING"]

MAX_KEY: Final = 256
_KEY_REUSED: Final = "This idempotency key was already used for a different payment. Use a new key for a new payment."


@dataclass(frozen=True, slots=True)
class SendOrder:
    """A payment as a client asks for it.

    Attributes:
        wallet: Where the money comes from.
        payment_request: The BOLT11.
        amount: Cents for an amountless BOLT11, else None.
        key: The idempotency key, if the mutation has one.

    """

    wallet: Wallet
    payment_request: str
    amount: Decimal | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """What a payment is thought to cost, and the sum it pays, in the wallet's unit."""

    fee: Decimal
    principal: Decimal


@dataclass(frozen=True, slots=True)
class _Stored:
    """The result that Flash keeps under an idempotency key."""

    payment_request: str
    status: SendStatus


class Payments:
    """The payments of one sandbox."""

    def __init__(self, bank: Bank, invoices: Invoices) -> None:
        self._bank = bank
        self._invoices = invoices
        self._stored: dict[tuple[str, str], _Stored] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    def forget(self) -> None:
        """Drop all idempotency keys."""
        self._stored.clear()

    async def send(self, order: SendOrder) -> SendStatus:
        """Pay a BOLT11, or repeat what became of it under the same idempotency key.

        Raises:
            Refused: With Flash's words; whether money moved is what the ledger says, not they.

        """
        key = (order.key or "").strip()
        if len(key) > MAX_KEY:
            raise InvalidInput("Invalid format for the provided ImpotencyKey. You must use a UUID-v4 format")
        invoice = _decode(order)
        payment = self._bank.ledger.payment(
            order.wallet, invoice.payment_hash, order.payment_request, self._bank.clock()
        )
        payment.times_requested += 1
        if not key:
            return await self._execute(order, invoice, payment)
        scope = (order.wallet.id, key)
        async with self._locked(scope):
            stored = self._stored.get(scope)
            if stored is None:
                if key not in payment.idempotency_keys:
                    payment.idempotency_keys.append(key)
                stored = _Stored(order.payment_request, await self._execute(order, invoice, payment))
                self._stored[scope] = stored
            elif stored.payment_request != order.payment_request:
                raise InvalidInput(_KEY_REUSED)
            return stored.status

    async def probe(self, order: SendOrder) -> FeeEstimate:
        """Estimate a fee; paying an invoice of this sandbox is free."""
        invoice = _read(order.payment_request)
        await self._bank.wait_for_custodian()
        if invoice.msat is None and not order.amount:
            raise custodian_error()
        _, cost, fee = self._price(order, invoice)
        step = Decimal("0.01") if order.wallet.currency == "USD" else Decimal(1)
        return FeeEstimate(*(value.quantize(step, ROUND_HALF_EVEN) for value in (fee, cost)))

    def resolve(self, payment_hash: str, *, arrived: bool) -> list[Payment]:
        """Decide what became of the payments of a BOLT11 that are in flight."""
        in_flight = [
            payment
            for (_, each), payment in self._bank.ledger.payments.items()
            if each == payment_hash and payment.status == "PENDING"
        ]
        for payment in in_flight:
            if arrived:
                self._arrive(payment)
            else:
                self._bank.ledger.give_back(payment)
        return in_flight

    @asynccontextmanager
    async def _locked(self, scope: tuple[str, str]) -> AsyncIterator[None]:
        """Hold the key, or give up after as long as Flash waits."""
        lock = self._locks.setdefault(scope, asyncio.Lock())
        try:
            await asyncio.wait_for(lock.acquire(), self._bank.options.lock_wait_seconds)
        except TimeoutError:
            raise Refused(unexpected("ResourceAttemptsLockServiceError"), "UNEXPECTED_CLIENT_ERROR") from None
        try:
            yield
        finally:
            lock.release()

    async def _execute(self, order: SendOrder, invoice: ReadInvoice, payment: Payment) -> SendStatus:
        await self._bank.wait_for_custodian()
        fault = self._bank.faults.take("payment")
        if fault is not None:
            return await self._misbehave(fault, order, invoice, payment)
        self._pay(order, invoice, payment)
        return "SUCCESS"

    async def _misbehave(self, fault: Fault, order: SendOrder, invoice: ReadInvoice, payment: Payment) -> SendStatus:
        """Answer as an armed fault demands; money moves only where it says so."""
        await fault.wait()
        match fault.details["outcome"]:
            case "SUCCESS":
                self._pay(order, invoice, payment)
                return "SUCCESS"
            case "PENDING":
                self._commit(order, invoice, payment)
                return "PENDING"
            case "FAILURE":
                self._bank.ledger.fail(payment)
                return "FAILURE"
            case "INSUFFICIENT_BALANCE":
                self._bank.ledger.fail(payment)
                raise InsufficientBalance("insufficient balance.")
        if fault.details["executed"]:
            self._pay(order, invoice, payment)
        raise _ambiguous(order)

    def _pay(self, order: SendOrder, invoice: ReadInvoice, payment: Payment) -> None:
        self._commit(order, invoice, payment)
        self._arrive(payment)

    def _commit(self, order: SendOrder, invoice: ReadInvoice, payment: Payment) -> None:
        """Check what the custodian checks, and let the money leave."""
        msat, cost, fee = self._price(order, invoice)
        own = self._bank.ledger.invoices.get(invoice.payment_hash)
        if payment.status in IN_CIRCULATION and self._bank.options.repeated_send == "refuse":
            raise _already_prepared(order)
        if own is not None and own.settled_at is not None and payment.status not in IN_CIRCULATION:
            raise _already_prepared(order)
        if order.wallet.balance < cost + fee:
            self._bank.ledger.fail(payment)
            raise InsufficientBalance(f"insufficient balance. Required: {cost + fee}")
        if invoice.network != self._bank.options.network or invoice.expires_at <= self._bank.clock():
            self._bank.ledger.fail(payment)
            raise _ambiguous(order)
        self._bank.ledger.commit(payment, msat=msat, cost=cost, fee=fee)

    def _arrive(self, payment: Payment) -> None:
        """Complete a payment, and settle the invoice if it is one of ours."""
        self._bank.ledger.complete(payment, self._bank.clock())
        own = self._bank.ledger.invoices.get(payment.payment_hash)
        if own is not None and own.settled_at is None and payment.msat is not None:
            self._invoices.settle(own, msat=payment.msat, late=True)

    def _price(self, order: SendOrder, invoice: ReadInvoice) -> tuple[int, Decimal, Decimal]:
        """Work out what arrives in msat, and what it costs with its fee in the wallet's unit."""
        custodian, in_satoshis = self._bank.custodian, order.wallet.currency == "BTC"
        if invoice.msat is not None:
            msat = invoice.msat
            cost = Decimal(msat) / 1000 if in_satoshis else custodian.cost_of(msat)
        elif order.amount is not None and order.amount > 0:
            check_amount(order.amount)
            cost = custodian.accept(order.amount, order.wallet.currency)
            msat = int(cost * 1000) if in_satoshis else custodian.msat_bought(cost)
        else:
            raise _ambiguous(order)
        own = invoice.payment_hash in self._bank.ledger.invoices
        percent = Decimal(0) if own else self._bank.options.send_fee_percent
        return msat, cost, (cost * percent / 100).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)


def _read(payment_request: str) -> ReadInvoice:
    try:
        return read_invoice(payment_request)
    except NotAnInvoiceError as error:
        raise DecodeError(UNDECODABLE) from error


def _decode(order: SendOrder) -> ReadInvoice:
    """Decode what is to be paid; the keyed mutation leaves that to the custodian and passes on no reason."""
    try:
        return _read(order.payment_request)
    except DecodeError as error:
        raise (unexpected_error() if order.amount is None else error) from error


def _ambiguous(order: SendOrder) -> Refused:
    """Make the error behind which anything may have happened; only the no-amount mutation gives it a code."""
    return unexpected_error() if order.amount is None else custodian_error()


def _already_prepared(order: SendOrder) -> Refused:
    """Make the custodian's refusal to pay twice, as each mutation words it."""
    if order.amount is None:
        return unexpected_error()
    return Refused("Invoice is already paid", "LIGHTNING_PAYMENT_ERROR")
