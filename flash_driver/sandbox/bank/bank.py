"""The parts that Flash's business is made of, and the accounts it starts with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4, uuid5

from flash_driver.common.tasks import TaskSet
from flash_driver.sandbox.bank.api_keys import ApiKeys
from flash_driver.sandbox.bank.broker import Broker
from flash_driver.sandbox.bank.custodian import Clock, Custodian, PriceQuote
from flash_driver.sandbox.bank.cutover import Presentation, present
from flash_driver.sandbox.bank.ledger import Account, Ledger
from flash_driver.sandbox.bank.rate_limit import RateLimit, RateLimiters
from flash_driver.sandbox.bank.signer import InvoiceSigner
from flash_driver.sandbox.bank.traffic import Traffic
from flash_driver.sandbox.faults import Faults

if TYPE_CHECKING:
    from flash_driver.sandbox.options import CutoverState, SandboxOptions

__all__ = ["Bank", "open_bank"]

_IDS: Final = UUID("5f0d6f43-50a4-4a1e-9d0f-9b3f4f6a7c11")
"""The name space of ids that follow from a token."""


@dataclass(slots=True)
class Bank:
    """Everything that one sandbox knows and owns.

    Attributes:
        owner: The account whose credentials the sandbox hands out.
        stranger: Another user, whose wallets must not answer to the owner.
        keys: The API keys of all accounts.
        custodian_seconds: How long the custodian takes for an invoice, a payment or a fee probe.
        cutover: How far the move from USD to USDT is.

    """

    options: SandboxOptions
    clock: Clock
    ledger: Ledger
    custodian: Custodian
    limiters: RateLimiters
    owner: Account
    stranger: Account
    signer: InvoiceSigner = field(default_factory=InvoiceSigner)
    network: InvoiceSigner = field(default_factory=InvoiceSigner)
    broker: Broker = field(default_factory=Broker)
    faults: Faults = field(default_factory=Faults)
    traffic: Traffic = field(default_factory=Traffic)
    tasks: TaskSet = field(default_factory=lambda: TaskSet("sandbox"))
    keys: ApiKeys = field(default_factory=ApiKeys)
    custodian_seconds: float = 0
    cutover: CutoverState = "PRE"

    def present(self, account: Account, *, capable: bool = False) -> Presentation:
        """Show an account's wallets to a client; see `cutover.present`."""
        return present(account, self.cutover, capable=capable)

    async def wait_for_custodian(self) -> None:
        """Take as long as the custodian does; Flash waits for it (flash-server.md 15)."""
        if self.custodian_seconds:
            await asyncio.sleep(self.custodian_seconds)

    def has_price(self, account: Account) -> bool:
        """Whether the price service knows the account's display currency."""
        return self.custodian.knows(account.display_currency)

    def quote(self, currency: str) -> PriceQuote:
        """Ask the price service, unless a fault has an answer of its own."""
        quote = self.custodian.quote(currency)
        fault = self.faults.take("wrong_price")
        return quote if fault is None else replace(quote, sat_base=fault.details["base"])

    def reset(self) -> None:
        """Forget invoices, payments, counts, faults and rate limits, and refill the wallets; credentials stay."""
        self.ledger.forget()
        self.faults.clear()
        self.traffic.forget()
        self.limiters = RateLimiters(RateLimit.parse(self.options.rate_limit))
        self.custodian_seconds = self.options.custodian_seconds
        self.cutover = self.options.cutover_state
        for account in self.ledger.accounts.values():
            account.active, account.migration = True, self.options.migration
        self.custodian = _custodian(self.options, self.clock)
        for wallet in self.ledger.wallets.values():
            wallet.balance = Decimal(0) if wallet.external else self.options.balance_cents


def open_bank(options: SandboxOptions, clock: Clock) -> Bank:
    """Make a bank with the owner's wallets and a stranger's."""
    ledger = Ledger()
    return Bank(
        options=options,
        clock=clock,
        ledger=ledger,
        custodian=_custodian(options, clock),
        limiters=RateLimiters(RateLimit.parse(options.rate_limit)),
        owner=_open_account(ledger, options.username, options),
        stranger=_open_account(ledger, "stranger", options),
        custodian_seconds=options.custodian_seconds,
        cutover=options.cutover_state,
    )


def _custodian(options: SandboxOptions, clock: Clock) -> Custodian:
    return Custodian(
        usd_per_btc=options.usd_per_btc,
        spread=options.spread,
        drift_percent_per_minute=options.drift_percent_per_minute,
        unit=options.invoice_unit,
        rounding=options.invoice_rounding,
        clock=clock,
    )


def _open_account(ledger: Ledger, username: str, options: SandboxOptions) -> Account:
    """Open an account with its wallets; the same token always gives the same ids."""

    def name(what: str) -> str:
        """Make an id: a UUID that token and subject decide, or a new one where there is no token."""
        return str(uuid5(_IDS, f"{options.token} {username} {what}") if options.token else uuid4())

    account = ledger.open_account(username, options.display_currency, name("account"))
    account.migration = options.migration
    for currency in options.currencies:
        ledger.open_wallet(account, currency, options.balance_cents, wallet_id=name(currency))
    if options.external_wallet:
        ledger.open_wallet(account, "USD", Decimal(0), wallet_id=name("external"), external=True)
    return account
