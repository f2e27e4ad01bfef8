"""Flash's mutations that create invoices (flash-server.md 3.4)."""

# ruff: noqa: A002 - Flash calls the argument of its operations `input`

from decimal import Decimal

import strawberry

from flash_driver.sandbox.bank.invoices import InvoiceOrder
from flash_driver.sandbox.bank.rate_limit import Bucket
from flash_driver.sandbox.bank.refusals import Refused
from flash_driver.sandbox.schema.context import Info
from flash_driver.sandbox.schema.inputs import (
    LnInvoiceCreateInput,
    LnInvoiceCreateOnBehalfOfRecipientInput,
    LnNoAmountInvoiceCreateInput,
    LnNoAmountInvoiceCreateOnBehalfOfRecipientInput,
    LnUsdInvoiceCreateInput,
    LnUsdInvoiceCreateOnBehalfOfRecipientInput,
)
from flash_driver.sandbox.schema.resolving import (
    in_dollars,
    in_satoshis,
    lightning_node_offline,
    not_implemented,
    recipient,
    telling,
    told,
)
from flash_driver.sandbox.schema.types import LnInvoice, LnInvoicePayload, LnNoAmountInvoice, LnNoAmountInvoicePayload

__all__ = ["ReceivingMutations"]


def _no_invoice(refusal: Refused) -> LnInvoicePayload:
    return LnInvoicePayload(errors=told(refusal))


def _no_amountless_invoice(refusal: Refused) -> LnNoAmountInvoicePayload:
    return LnNoAmountInvoicePayload(errors=told(refusal))


async def _issue(info: Info, order: InvoiceOrder, bucket: Bucket) -> LnInvoicePayload:
    """Create an invoice on one of the account's two limits."""
    signed = await info.context.invoices.create(order, bucket=bucket)
    return LnInvoicePayload(errors=[], invoice=LnInvoice.of(signed))


@strawberry.type
class ReceivingMutations:
    """The ways to an invoice."""

    @strawberry.mutation
    @telling(_no_invoice, "write:wallet")
    async def ln_usd_invoice_create(self, info: Info, input: LnUsdInvoiceCreateInput) -> LnInvoicePayload:
        """Create an invoice worth an amount in cents."""
        context = info.context
        wallet = in_dollars(context.routed(context.own_wallet(input.wallet_id)))
        order = InvoiceOrder(wallet, input.amount, input.memo, minutes=input.expires_in)
        return await _issue(info, order, "own")

    @strawberry.mutation
    @telling(_no_invoice)
    async def ln_usd_invoice_create_on_behalf_of_recipient(
        self, info: Info, input: LnUsdInvoiceCreateOnBehalfOfRecipientInput
    ) -> LnInvoicePayload:
        """Create an invoice worth an amount in cents for any account; needs no credential."""
        context = info.context
        wallet = in_dollars(context.routed(recipient(context, input.recipient_wallet_id)))
        order = InvoiceOrder(wallet, input.amount, input.memo, input.description_hash, input.expires_in)
        return await _issue(info, order, "public")

    @strawberry.mutation
    @telling(_no_amountless_invoice, "write:wallet")
    async def ln_no_amount_invoice_create(
        self, info: Info, input: LnNoAmountInvoiceCreateInput
    ) -> LnNoAmountInvoicePayload:
        """Create an invoice whose payer chooses the amount; neither limited nor routed."""
        context = info.context
        order = InvoiceOrder(context.own_wallet(input.wallet_id), None, input.memo, minutes=input.expires_in)
        signed = await context.invoices.create(order, bucket=None)
        return LnNoAmountInvoicePayload(errors=[], invoice=LnNoAmountInvoice.of(signed))

    @strawberry.mutation
    @telling(_no_amountless_invoice)
    async def ln_no_amount_invoice_create_on_behalf_of_recipient(
        self, info: Info, input: LnNoAmountInvoiceCreateOnBehalfOfRecipientInput
    ) -> LnNoAmountInvoicePayload:
        """Refuse: this one needs a Lightning node that Flash no longer has."""
        recipient(info.context, input.recipient_wallet_id)
        raise lightning_node_offline()

    @strawberry.mutation
    @telling(_no_invoice, "write:wallet")
    async def ln_invoice_create(self, info: Info, input: LnInvoiceCreateInput) -> LnInvoicePayload:
        """Create an invoice in satoshis, which Flash itself no longer does."""
        context = info.context
        wallet = in_satoshis(context, context.own_wallet(input.wallet_id))
        order = InvoiceOrder(wallet, Decimal(input.amount), input.memo, minutes=input.expires_in)
        return await _issue(info, order, "own")

    @strawberry.mutation
    @telling(_no_invoice)
    async def ln_invoice_create_on_behalf_of_recipient(
        self, info: Info, input: LnInvoiceCreateOnBehalfOfRecipientInput
    ) -> LnInvoicePayload:
        """Create an invoice in satoshis for any account, which Flash itself no longer does."""
        context = info.context
        if not context.bank.options.btc_wallet:
            not_implemented()
        wallet = in_satoshis(context, recipient(context, input.recipient_wallet_id))
        order = InvoiceOrder(wallet, Decimal(input.amount), input.memo, input.description_hash, input.expires_in)
        return await _issue(info, order, "public")
