"""Flash's mutations that pay, and those that ask what paying would cost (flash-server.md 3.7 and 3.8)."""

# ruff: noqa: A002, ARG002 - Flash calls the argument of its operations `input`; two of them never look at it

import strawberry

from flash_driver.sandbox.bank.payments import SendOrder
from flash_driver.sandbox.bank.refusals import Refused, UncodedRefusal
from flash_driver.sandbox.schema.context import Context, Info
from flash_driver.sandbox.schema.inputs import (
    LnInvoiceFeeProbeInput,
    LnInvoicePaymentInput,
    LnNoAmountInvoiceFeeProbeInput,
    LnNoAmountInvoicePaymentInput,
    LnNoAmountUsdInvoiceFeeProbeInput,
    LnNoAmountUsdInvoicePaymentInput,
    LnUsdInvoiceFeeProbeInput,
)
from flash_driver.sandbox.schema.resolving import in_dollars, lightning_node_offline, not_implemented, telling, told
from flash_driver.sandbox.schema.scalars import USDCents
from flash_driver.sandbox.schema.types import CentAmountPayload, PaymentSendPayload, PaymentSendResult, SatAmountPayload

__all__ = ["PayingMutations"]


def _not_sent(refusal: Refused) -> PaymentSendPayload:
    """Tell a refusal with status FAILURE, unless it came from a layer that knows no status."""
    status = None if isinstance(refusal, UncodedRefusal) else PaymentSendResult.FAILURE
    return PaymentSendPayload(errors=told(refusal), status=status)


def _no_estimate(refusal: Refused) -> CentAmountPayload:
    return CentAmountPayload(errors=told(refusal))


async def _send(context: Context, order: SendOrder) -> PaymentSendPayload:
    return PaymentSendPayload(errors=[], status=PaymentSendResult(await context.sends.send(order)))


async def _estimate(context: Context, order: SendOrder) -> CentAmountPayload:
    estimate = await context.sends.probe(order)
    return CentAmountPayload(errors=[], amount=USDCents(estimate.fee), invoice_amount=USDCents(estimate.principal))


@strawberry.type
class PayingMutations:
    """The ways to spend money, and to ask for the fee."""

    @strawberry.mutation
    @telling(_not_sent, "write:wallet")
    async def ln_invoice_payment_send(self, info: Info, input: LnInvoicePaymentInput) -> PaymentSendPayload:
        """Pay an invoice that says its amount; not routed, and the memo is ignored."""
        wallet = info.context.own_wallet(input.wallet_id)
        return await _send(info.context, SendOrder(wallet, input.payment_request, key=input.idempotency_key))

    @strawberry.mutation
    @telling(_not_sent, "write:wallet")
    async def ln_no_amount_usd_invoice_payment_send(
        self, info: Info, input: LnNoAmountUsdInvoicePaymentInput
    ) -> PaymentSendPayload:
        """Pay an amount in cents to an invoice that says no amount; there is no idempotency key."""
        wallet = in_dollars(info.context.routed(info.context.own_wallet(input.wallet_id)))
        return await _send(info.context, SendOrder(wallet, input.payment_request, input.amount))

    @strawberry.mutation
    @telling(_not_sent, "write:wallet")
    async def ln_no_amount_invoice_payment_send(
        self, info: Info, input: LnNoAmountInvoicePaymentInput
    ) -> PaymentSendPayload:
        """Refuse: this one needs a Lightning node that Flash no longer has."""
        info.context.own_wallet(input.wallet_id)
        raise lightning_node_offline()

    @strawberry.mutation
    @telling(_no_estimate, "read:wallet")
    async def ln_usd_invoice_fee_probe(self, info: Info, input: LnUsdInvoiceFeeProbeInput) -> CentAmountPayload:
        """Estimate the fee for an invoice that says its amount."""
        wallet = in_dollars(info.context.routed(info.context.own_wallet(input.wallet_id)))
        return await _estimate(info.context, SendOrder(wallet, input.payment_request))

    @strawberry.mutation
    @telling(_no_estimate, "read:wallet")
    async def ln_no_amount_usd_invoice_fee_probe(
        self, info: Info, input: LnNoAmountUsdInvoiceFeeProbeInput
    ) -> CentAmountPayload:
        """Estimate the fee for an invoice that says no amount."""
        wallet = in_dollars(info.context.routed(info.context.own_wallet(input.wallet_id)))
        return await _estimate(info.context, SendOrder(wallet, input.payment_request, input.amount))

    @strawberry.mutation
    async def ln_invoice_fee_probe(self, info: Info, input: LnInvoiceFeeProbeInput) -> SatAmountPayload:
        """Refuse, as Flash does."""
        info.context.authenticated()
        info.context.authorise("read:wallet")
        not_implemented()

    @strawberry.mutation
    async def ln_no_amount_invoice_fee_probe(
        self, info: Info, input: LnNoAmountInvoiceFeeProbeInput
    ) -> SatAmountPayload:
        """Refuse, as Flash does."""
        info.context.authenticated()
        info.context.authorise("read:wallet")
        not_implemented()
