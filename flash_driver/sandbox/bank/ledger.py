"""What really happened: accounts, wallets, invoices, payments and transactions.

The ledger does no I/O, knows no rates and no protocol, and depends on no report of events: a fault may keep a reply or
an event from a client, but never an entry from here. Tests of a driver compare it with this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from uuid import uuid4

if TYPE_CHECKING:
    from datetime import datetime

    from flash_driver.sandbox.bank.signer import SignedInvoice
    from flash_driver.sandbox.options import Currency, MigrationState

__all__ = [
    "IN_CIRCULATION",
    "Account",
    "AlreadySettled",
    "Invoice",
    "InvoiceStatus",
    "Ledger",
    "Payment",
    "Transaction",
    "Wallet",
]

InvoiceStatus: TypeAlias = Literal["PENDING", "PAID", "EXPIRED"]
PaymentStatus: TypeAlias = Literal["NONE", "PENDING", "SUCCESS", "FAILURE"]

IN_CIRCULATION: Final = ("PENDING", "SUCCESS")


class AlreadySettled(Exception):
    """An invoice is paid at most once."""


@dataclass(slots=True)
class Wallet:
    """A balance in cents, or in satoshis if the currency is BTC; an external wallet has none."""

    account_id: str
    currency: Currency
    balance: Decimal
    external: bool = False
    id: str = field(default_factory=lambda: str(uuid4()))


@dataclass(slots=True)
class Account:
    """A user of Flash.

    Attributes:
        active: Whether it may receive; Flash closes, locks or has not yet opened some accounts.
        migration: How far its own move to USDT is.

    """

    username: str
    display_currency: str
    wallets: list[Wallet] = field(default_factory=list)
    active: bool = True
    migration: MigrationState = "NOT_BEGUN"
    id: str = field(default_factory=lambda: str(uuid4()))

    def wallet(self, wallet_id: str) -> Wallet | None:
        """Find one of the account's own wallets."""
        return next((wallet for wallet in self.wallets if wallet.id == wallet_id), None)

    def wallet_of(self, currency: Currency) -> Wallet | None:
        """Find the account's wallet of a currency."""
        return next((each for each in self.wallets if each.currency == currency and not each.external), None)


@dataclass(slots=True)
class Invoice:
    """An invoice that the sandbox issued for one of its wallets.

    Attributes:
        purged: Whether the custodian has deleted it; then nobody knows any more that it was paid.

    """

    signed: SignedInvoice
    wallet_id: str
    credit: Decimal | None
    memo: str
    settled_at: datetime | None = None
    msat_received: int | None = None
    purged: bool = False

    def status(self, now: datetime) -> InvoiceStatus:
        """PAID for ever once it was paid, else PENDING until it expires."""
        if self.settled_at is not None:
            return "PAID"
        return "EXPIRED" if self.signed.expires_at <= now else "PENDING"

    def snapshot(self, now: datetime) -> dict[str, Any]:
        """Tell what is known of it."""
        return {
            "payment_hash": self.signed.payment_hash,
            "payment_request": self.signed.payment_request,
            "preimage": self.signed.preimage,
            "wallet_id": self.wallet_id,
            "msat": self.signed.msat,
            "cents": None if self.credit is None else str(self.credit),
            "msat_received": self.msat_received,
            "status": self.status(now),
            "memo": self.memo,
            "created_at": self.signed.created_at.isoformat(),
            "expires_at": self.signed.expires_at.isoformat(),
            "settled_at": self.settled_at and self.settled_at.isoformat(),
        }


@dataclass(slots=True)
class Payment:
    """All that a wallet ever did about one BOLT11.

    Attributes:
        status: What became of the money; NONE while it never moved.
        times_requested: How many sends asked for it, replays of an idempotency key included.
        times_executed: How often the money left and did not come back. More than 1 is a double payment.

    """

    wallet_id: str
    payment_hash: str
    payment_request: str
    created_at: datetime
    status: PaymentStatus = "NONE"
    msat: int | None = None
    cost: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    idempotency_keys: list[str] = field(default_factory=list)
    times_requested: int = 0
    times_executed: int = 0
    settled_at: datetime | None = None

    def snapshot(self) -> dict[str, Any]:
        """Tell what is known of it."""
        return {
            "payment_hash": self.payment_hash,
            "payment_request": self.payment_request,
            "wallet_id": self.wallet_id,
            "status": self.status,
            "msat": self.msat,
            "cents": str(self.cost),
            "fee_cents": str(self.fee),
            "idempotency_key": self.idempotency_keys[-1] if self.idempotency_keys else None,
            "idempotency_keys": list(self.idempotency_keys),
            "times_requested": self.times_requested,
            "times_executed": self.times_executed,
            "created_at": self.created_at.isoformat(),
            "settled_at": self.settled_at and self.settled_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Transaction:
    """A movement on a wallet, in the wallet's unit: positive came in, negative went out."""

    wallet: Wallet
    amount: Decimal
    fee: Decimal
    created_at: datetime
    invoice: Invoice | None = None
    id: str = field(default_factory=lambda: str(uuid4()))


class Ledger:
    """All that happened to the money of one sandbox."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.wallets: dict[str, Wallet] = {}
        self.invoices: dict[str, Invoice] = {}
        self.payments: dict[tuple[str, str], Payment] = {}
        self.transactions: dict[str, Transaction] = {}

    def open_account(self, username: str, display_currency: str, account_id: str | None = None) -> Account:
        """Open an account without wallets, under an id of its own or a new one."""
        account = Account(username, display_currency, id=account_id or str(uuid4()))
        self.accounts[account.id] = account
        return account

    def open_wallet(
        self,
        account: Account,
        currency: Currency,
        balance: Decimal,
        *,
        wallet_id: str | None = None,
        external: bool = False,
    ) -> Wallet:
        """Give an account a wallet, under an id of its own or a new one."""
        wallet = Wallet(account.id, currency, balance, external, wallet_id or str(uuid4()))
        account.wallets.append(wallet)
        self.wallets[wallet.id] = wallet
        return wallet

    def forget(self) -> None:
        """Drop all invoices, payments and transactions; accounts and wallets stay."""
        for entries in (self.invoices, self.payments, self.transactions):
            entries.clear()

    def add_invoice(self, wallet: Wallet, signed: SignedInvoice, credit: Decimal | None, memo: str) -> Invoice:
        """Enter an invoice; `credit` is what its payment brings, or None where the payer chooses."""
        invoice = Invoice(signed, wallet.id, credit, memo)
        self.invoices[signed.payment_hash] = invoice
        return invoice

    def settle(self, invoice: Invoice, *, msat: int, credit: Decimal, now: datetime) -> None:
        """Enter that an invoice was paid."""
        if invoice.settled_at is not None:
            raise AlreadySettled(invoice.signed.payment_hash)
        invoice.settled_at, invoice.msat_received, invoice.credit = now, msat, credit
        wallet = self.wallets[invoice.wallet_id]
        wallet.balance += credit
        self._record(Transaction(wallet, credit, Decimal(0), now, invoice))

    def payment(self, wallet: Wallet, payment_hash: str, payment_request: str, now: datetime) -> Payment:
        """Find or open the record of what a wallet does about a BOLT11."""
        fresh = Payment(wallet.id, payment_hash, payment_request, now)
        return self.payments.setdefault((wallet.id, payment_hash), fresh)

    def commit(self, payment: Payment, *, msat: int, cost: Decimal, fee: Decimal) -> None:
        """Let the money of a payment leave its wallet; it is in flight until completed or returned."""
        payment.msat, payment.cost, payment.fee = msat, cost, fee
        payment.status = "PENDING"
        payment.times_executed += 1
        self.wallets[payment.wallet_id].balance -= cost + fee

    def complete(self, payment: Payment, now: datetime) -> None:
        """Enter that the money arrived."""
        payment.status, payment.settled_at = "SUCCESS", now
        self._record(Transaction(self.wallets[payment.wallet_id], -payment.cost, payment.fee, now))

    def give_back(self, payment: Payment) -> None:
        """Enter that the money came back."""
        payment.times_executed -= 1
        payment.status = "SUCCESS" if payment.times_executed else "FAILURE"
        self.wallets[payment.wallet_id].balance += payment.cost + payment.fee

    def fail(self, payment: Payment) -> None:
        """Enter that a send failed before the money left."""
        if payment.status == "NONE":
            payment.status = "FAILURE"

    def transactions_of(self, wallets: list[Wallet]) -> list[Transaction]:
        """List movements as Flash does: newest first per wallet, the wallets one after the other."""
        newest_first = list(reversed(self.transactions.values()))
        return [each for wallet in wallets for each in newest_first if each.wallet is wallet]

    def snapshot(self, now: datetime) -> dict[str, Any]:
        """Tell all of it."""
        return {
            "invoices": [invoice.snapshot(now) for invoice in self.invoices.values()],
            "payments": [payment.snapshot() for payment in self.payments.values()],
            "wallets": [
                {"id": each.id, "account_id": each.account_id, "currency": each.currency, "balance": str(each.balance)}
                for each in self.wallets.values()
            ],
        }

    def _record(self, transaction: Transaction) -> None:
        self.transactions[transaction.id] = transaction
