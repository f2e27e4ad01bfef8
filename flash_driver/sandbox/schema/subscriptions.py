"""Flash's subscriptions, with their noise and their gaps (flash-server.md 3.5 and 3.6)."""

# ruff: noqa: A002 - Flash calls the argument of its operations `input`

import asyncio
from collections.abc import AsyncGenerator

import strawberry
from graphql import GraphQLError

from flash_driver.sandbox.bank.bank import Bank
from flash_driver.sandbox.bank.broker import account_topic, invoice_topic
from flash_driver.sandbox.bank.custodian import PriceQuote
from flash_driver.sandbox.bank.invoices import Settled
from flash_driver.sandbox.bank.ledger import Account, Invoice
from flash_driver.sandbox.bank.refusals import InvalidInput, Refused
from flash_driver.sandbox.schema.accounts import MyUpdatesPayload, User, quote
from flash_driver.sandbox.schema.context import Info, thrown
from flash_driver.sandbox.schema.inputs import LnInvoicePaymentStatusInput, RealtimePriceInput
from flash_driver.sandbox.schema.scalars import PaymentHash, WalletId, malformed
from flash_driver.sandbox.schema.types import (
    GraphQLApplicationError,
    InvoicePaymentStatus,
    LnInvoicePaymentStatusPayload,
    LnUpdate,
    Price,
    RealtimePrice,
    RealtimePricePayload,
    UserUpdate,
)

__all__ = ["PRICE_TOPIC", "Subscription", "publish_price"]

PRICE_TOPIC = "price"


def publish_price(bank: Bank) -> None:
    """Tell the price to every account that listens, and to the price subscriptions."""
    for account in bank.ledger.accounts.values():
        _publish_price_to(bank, account)
    bank.broker.publish(PRICE_TOPIC, None)


def _publish_price_to(bank: Bank, account: Account) -> None:
    """Tell an account the price in its currency; where there is none, the one in dollars stands in for it."""
    topic = account_topic(account.id)
    if bank.broker.is_heard(topic):
        bank.broker.publish(topic, bank.quote(account.display_currency if bank.has_price(account) else "USD"))


@strawberry.type
class Subscription:
    """What can be listened to."""

    @strawberry.subscription
    async def my_updates(self, info: Info) -> AsyncGenerator[MyUpdatesPayload, None]:
        """Tell everything that happens to the account, and the price, often."""
        account = info.context.account
        if account is None:
            raise GraphQLError("Not Authenticated for subscription", extensions={"code": "NOT_AUTHENTICATED"})
        return _my_updates(info, account)

    @strawberry.subscription
    async def ln_invoice_payment_status(
        self, info: Info, input: LnInvoicePaymentStatusInput
    ) -> AsyncGenerator[LnInvoicePaymentStatusPayload, None]:
        """Tell of one invoice: its state now, PAID when it is paid, and EXPIRED at its end even after that."""
        if complaint := malformed(input.payment_request):
            raise thrown(InvalidInput(complaint.message))
        return _invoice_status(info, input.payment_request)

    @strawberry.subscription
    async def realtime_price(self, info: Info, input: RealtimePriceInput) -> AsyncGenerator[RealtimePricePayload, None]:
        """Tell the price in a currency."""
        if complaint := malformed(input.currency):
            raise thrown(InvalidInput(complaint.message))
        return _prices(info, input)


async def _my_updates(info: Info, account: Account) -> AsyncGenerator[MyUpdatesPayload, None]:
    me = User(entry=account)
    with info.context.bank.broker.subscribe(account_topic(account.id)) as events:
        if info.context.bank.has_price(account) and not info.context.bank.faults.take("drop_first_event"):
            _publish_price_to(info.context.bank, account)
        while True:
            event = await events.get()
            for update in _updates(event):
                yield MyUpdatesPayload(errors=[], update=update, me=None if isinstance(update, Price) else me)


def _updates(event: Settled | PriceQuote) -> list[UserUpdate]:
    """Turn an event into what a client is told: the price in dollars comes in its old form too."""
    if isinstance(event, Settled):
        return [
            LnUpdate(
                payment_hash=PaymentHash(event.payment_hash),
                status=InvoicePaymentStatus(event.status),
                wallet_id=WalletId(event.wallet_id),
            )
        ]
    return [Price.of(event), RealtimePrice.of(event)] if event.currency == "USD" else [RealtimePrice.of(event)]


async def _invoice_status(info: Info, payment_request: str) -> AsyncGenerator[LnInvoicePaymentStatusPayload, None]:
    bank = info.context.bank
    try:
        invoice = info.context.invoices.find(payment_request)
        status = info.context.invoices.status(payment_request)
    except Refused as refusal:
        with bank.broker.subscribe(invoice_topic(payment_request)) as silence:
            yield LnInvoicePaymentStatusPayload(errors=[GraphQLApplicationError.of(refusal)])
            await silence.get()
        return
    topic = invoice_topic(payment_request if invoice is None else invoice.signed.payment_hash)
    with bank.broker.subscribe(topic) as events:
        if not bank.faults.take("drop_first_event"):
            bank.broker.publish(topic, status)
        if invoice is not None and status == "PENDING":
            bank.tasks.start(_announce_expiry(bank, invoice), "expiry")
        while True:
            yield LnInvoicePaymentStatusPayload(errors=[], status=InvoicePaymentStatus(await events.get()))


async def _announce_expiry(bank: Bank, invoice: Invoice) -> None:
    """Publish EXPIRED a second after the invoice's end, to everyone, even if it was paid."""
    await asyncio.sleep((invoice.signed.expires_at - bank.clock()).total_seconds() + 1)
    bank.broker.publish(invoice_topic(invoice.signed.payment_hash), "EXPIRED")


async def _prices(info: Info, input: RealtimePriceInput) -> AsyncGenerator[RealtimePricePayload, None]:
    with info.context.bank.broker.subscribe(PRICE_TOPIC) as ticks:
        while not info.context.bank.custodian.knows((input.currency or "USD").upper()):
            yield RealtimePricePayload(errors=[GraphQLApplicationError(message="Unsupported exchange unit")])
            await ticks.get()
        while True:
            yield RealtimePricePayload(errors=[], realtime_price=quote(info, input.currency))
            await ticks.get()
