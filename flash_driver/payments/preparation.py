"""A payment before its first byte: what is checked, asked for and decided while nothing can have been paid yet."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING
from typing import TYPE_CHECKING, Final

from connection_strings.errors import (
    BackendUnavailable,
    InvalidReply,
    InvalidRequest,
    LightningError,
    NotSupported,
    RequestRefused,
)
from connection_strings.lightning import PayResponse, PayResult
from flash_driver.bolt11.payment_request import PaymentRequest, decode
from flash_driver.flash_api.documents import FEE_PROBE, FEE_PROBE_NO_AMOUNT, PAY, PRICE
from flash_driver.flash_api.replies import read_fee_cents, read_price
from flash_driver.journal.records import PaymentRecord
from flash_driver.money.rate_book import RateUnknown
from flash_driver.payments.attempt import fee_limit, idempotency_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from connection_strings.lightning import PayInvoiceParams
    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.replies import Currency
    from flash_driver.money.rate_book import RateBook
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.router import Router
    from flash_driver.wallets import ChosenWallet, WalletDirectory

__all__ = ["Order", "Preparation", "read_order"]

_LONGEST_WAIT_FOR_WALLET: Final = 5.0
_LONGEST_WAIT_FOR_PRICE: Final = 5.0
_MSAT_PER_SAT: Final = 1000


@dataclass(frozen=True, slots=True)
class Order:
    """A payment that has passed all checks that need no server.

    Attributes:
        request: The BOLT11.
        amount_msat: What the payee gets, in millisatoshi.
        fee_limit_msat: The highest fee that the host accepts, in millisatoshi; None for any.

    """

    request: PaymentRequest
    amount_msat: int
    fee_limit_msat: int | None


def read_order(bolt11: str, params: PayInvoiceParams) -> Order:
    """Check what a host wants to have paid.

    Raises:
        InvalidRequest: The BOLT11 or the amount makes no sense.

    """
    request = decode(bolt11)
    if request.unknown_features:
        bits = ", ".join(str(bit) for bit in request.unknown_features)
        raise InvalidRequest(
            "bolt11", f"requires what no wallet known here can do (feature {bits} of BOLT 9); ask for another"
        )
    amount = None if params.amount is None else params.amount.msat
    if request.amount_msat is None and amount is None:
        raise InvalidRequest("amount", "is needed: this BOLT11 leaves it to the payer")
    if request.amount_msat is not None and amount not in (None, request.amount_msat):
        raise InvalidRequest("amount", "differs from the BOLT11's own; leave it out, or make it the same")
    amount_msat = request.amount_msat if request.amount_msat is not None else amount or 0
    return Order(request, amount_msat, fee_limit(amount_msat, params))


class Preparation:
    """Makes payments ready to be sent.

    Args:
        process: What is set for the process.
        router: For questions about fee and price.
        wallets: Which wallet pays.
        rates: What is known of a currency's rate.
        clock: The wall clock.

    """

    def __init__(
        self,
        *,
        process: ProcessSettings,
        router: Router,
        wallets: WalletDirectory,
        rates: Callable[[Currency], RateBook],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._process = process
        self._router = router
        self._wallets = wallets
        self._rates = rates
        self._clock = clock

    async def prepare(
        self, order: Order, failed: PaymentRecord | None, deadline: Deadline
    ) -> PaymentRecord | PayResponse:
        """Make everything ready for a new attempt; a response says why there will be none.

        Raises:
            RateUnknown: The server does not tell its price, which an amountless BOLT11 is paid at.
            NotSupported: The wallet pays no amountless BOLT11.
            LightningError: The wallet can't be found out.

        """
        request = order.request
        if request.expires_at <= self._clock():
            return PayResponse(result=PayResult.ERROR, error_detail="the invoice has expired")
        wallet = await self._wallets.choose(deadline.at_most(_LONGEST_WAIT_FOR_WALLET))
        self._router.insist_on_a_way(PAY)
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

    async def _cents(self, order: Order, wallet: ChosenWallet, deadline: Deadline) -> Decimal | None:
        """What to send on an amountless BOLT11; the server converts it back at its own rate (flash-server.md 6)."""
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
            rates.see_tick(read_price(delivery.data("asking for the price")))

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
        self, order: Order, wallet: ChosenWallet, cents: Decimal | None, deadline: Deadline
    ) -> str | None:
        """Ask for the fee where the host limits it: no payment of Flash takes a limit itself (flash-server.md 3.8)."""
        if order.fee_limit_msat is None:
            return None
        variables: dict[str, object] = {"walletId": wallet.id, "paymentRequest": order.request.bolt11}
        document = FEE_PROBE if cents is None else FEE_PROBE_NO_AMOUNT
        if cents is not None:
            variables["amount"] = cents
        try:
            delivery = await self._router.perform(document(input=variables), deadline.share(0.5))
            fee = read_fee_cents(delivery.data("asking for the fee"), document.field or "")
            if fee is None:
                return "the fee limit can't be kept, because the server does not tell the fee"
            fee_msat = await self._in_msat(fee, wallet, deadline)
        except LightningError as error:
            return f"the fee limit can't be kept, because the fee can't be asked for: {error}"
        if fee_msat > order.fee_limit_msat:
            return f"the fee of about {fee_msat} msat exceeds the limit of {order.fee_limit_msat} msat"
        return None
