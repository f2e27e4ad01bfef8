"""Creating invoices and settling them, as Flash and its custodian do (flash-server.md 3.4 and 3.5)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from flash_driver.sandbox.bank.broker import account_topic, invoice_topic
from flash_driver.sandbox.bank.ledger import AlreadySettled, Invoice, InvoiceStatus, Wallet
from flash_driver.sandbox.bank.refusals import DecodeError, InvalidInput, Refused, custodian_error, unexpected
from flash_driver.sandbox.bank.signer import MAX_MSAT, PREFIXES, NotAnInvoiceError, SignedInvoice, read_invoice

if TYPE_CHECKING:
    from flash_driver.sandbox.bank.bank import Bank
    from flash_driver.sandbox.bank.rate_limit import Bucket

__all__ = ["UNDECODABLE", "InvoiceOrder", "Invoices", "NotPayableError", "Settled", "check_amount"]

MAX_MEMO: Final = 50
MIN_MSAT: Final = 1000
UNDECODABLE: Final = "Invalid lightning request, couldn't decode."

_EXPONENTIAL_BELOW: Final = Decimal("0.000001")


class NotPayableError(Exception):
    """Nobody can pay this: it is unknown, expired or paid."""


@dataclass(frozen=True, slots=True)
class InvoiceOrder:
    """An invoice as a client asks for it.

    Attributes:
        wallet: Where the money goes.
        amount: Cents, or satoshis for a BTC wallet; None or zero lets the payer choose.
        memo: The description.
        description_hash: Asked for instead of the description.
        minutes: How long it should live; the custodian has the last word.

    """

    wallet: Wallet
    amount: Decimal | None
    memo: str | None
    description_hash: str | None = None
    minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """An event: an invoice of an account was paid (Flash tells of nothing else, but a test may)."""

    payment_hash: str
    wallet_id: str
    status: InvoiceStatus = "PAID"


def check_amount(amount: Decimal | None) -> None:
    """Refuse an amount that JavaScript writes with an exponent: Flash can't turn it into a whole number.

    Raises:
        Refused: It lies between zero and a millionth of a cent.

    """
    if amount is not None and 0 < abs(amount) < _EXPONENTIAL_BELOW:
        words = unexpected("BigIntConversionError", "Input string must follow the pattern (-)##.## or -##")
        raise Refused(words, "UNEXPECTED_CLIENT_ERROR")


class Invoices:
    """The invoices that this sandbox issues."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    async def create(self, order: InvoiceOrder, *, bucket: Bucket | None) -> SignedInvoice:
        """Issue an invoice, and give back what its client gets to see.

        Args:
            order: What is asked for.
            bucket: Which limit of the account it counts against; None where Flash has no limit.

        Raises:
            Refused: The limit is reached, or the custodian can't make such an invoice.

        """
        bank, wallet = self._bank, order.wallet
        if not bank.ledger.accounts[wallet.account_id].active:
            raise InvalidInput("Account is inactive.")
        if bucket and not bank.limiters.allow(bucket, wallet.account_id, bank.clock()):
            raise Refused("Too many invoices creation, please wait for a while and try again.", "TOO_MANY_REQUEST")
        check_amount(order.amount)
        await bank.wait_for_custodian()
        memo = order.memo or ""
        if len(memo) > MAX_MEMO:
            raise custodian_error()
        msat, credit = self._terms(wallet, order.amount)
        signed = bank.signer.sign(
            msat=msat,
            description=memo,
            description_hash=order.description_hash if bank.options.description_hash == "honour" else None,
            now=bank.clock(),
            expiry=self._expiry(order.minutes),
            network=PREFIXES[bank.options.network],
        )
        bank.ledger.add_invoice(wallet, signed, credit, memo)
        return self._as_handed_out(signed, memo)

    def find(self, payment_request: str) -> Invoice | None:
        """Look an invoice up by its BOLT11; None if it is somebody else's."""
        try:
            return self._bank.ledger.invoices.get(read_invoice(payment_request).payment_hash)
        except NotAnInvoiceError as error:
            raise DecodeError(UNDECODABLE) from error

    def status(self, payment_request: str) -> InvoiceStatus:
        """Ask the custodian. What it does not know is expired once the BOLT11 is, and an error before that."""
        invoice = self.find(payment_request)
        if invoice is not None and not invoice.purged:
            return invoice.status(self._bank.clock())
        if read_invoice(payment_request).expires_at <= self._bank.clock():
            return "EXPIRED"
        raise custodian_error()

    def settle(self, invoice: Invoice, *, msat: int, late: bool = False) -> None:
        """Let an invoice be paid, and tell those who subscribed.

        Raises:
            NotPayableError: It is paid already, or expired and `late` isn't allowed.

        """
        bank, now = self._bank, self._bank.clock()
        if invoice.status(now) == "EXPIRED" and not late:
            raise NotPayableError("the invoice has expired")
        wallet = bank.ledger.wallets[invoice.wallet_id]
        credit = invoice.credit
        if credit is None:
            credit = Decimal(msat) / 1000 if wallet.currency == "BTC" else bank.custodian.cents_for(msat)
        try:
            bank.ledger.settle(invoice, msat=msat, credit=credit, now=now)
        except AlreadySettled:
            raise NotPayableError("the invoice is paid already") from None
        if bank.faults.take("drop_settlement"):
            return
        payment_hash = invoice.signed.payment_hash
        bank.broker.publish(account_topic(wallet.account_id), Settled(payment_hash, wallet.id))
        bank.broker.publish(invoice_topic(payment_hash), "PAID")

    def _terms(self, wallet: Wallet, amount: Decimal | None) -> tuple[int | None, Decimal | None]:
        """Work out the BOLT11's amount and what its payment will be worth."""
        if not amount:
            return None, None
        if wallet.currency == "BTC":
            msat, credit = int(amount * 1000), amount
        else:
            credit = self._bank.custodian.accept(amount, wallet.currency)
            msat = self._bank.custodian.msat_for(credit)
        if not MIN_MSAT <= msat <= MAX_MSAT:
            raise custodian_error()
        return msat, credit

    def _expiry(self, minutes: int | None) -> timedelta:
        longest = timedelta(seconds=self._bank.options.invoice_expiry_seconds)
        return min(timedelta(minutes=minutes or 1), longest)

    def _as_handed_out(self, signed: SignedInvoice, memo: str) -> SignedInvoice:
        """Swap the invoice for a wrong one if a fault says so; the ledger keeps the right one."""
        fault = self._bank.faults.take("wrong_invoice")
        what = fault and fault.details["what"]
        if what is None:
            return signed
        if what == "payment_hash":
            return replace(signed, payment_hash=secrets.token_hex(32))
        bank_network = self._bank.options.network
        return self._bank.signer.sign(
            msat=(signed.msat or 500_000) * 2 if what == "amount" else signed.msat,
            description=memo,
            description_hash=secrets.token_hex(32) if what == "description_hash" else None,
            now=signed.created_at,
            expiry=signed.expires_at - signed.created_at,
            network=PREFIXES["regtest" if bank_network == "mainnet" else "mainnet"]
            if what == "network"
            else PREFIXES[bank_network],
            preimage=signed.preimage,
        )
