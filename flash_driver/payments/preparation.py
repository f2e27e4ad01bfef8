"""A payment before its first byte: what is asked for and decided while nothing can have been paid yet."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final

from connection_strings.errors import (
    BackendUnavailable,
    InvalidReply,
    LightningError,
    NotSupported,
    RequestRefused,
)
from flash_driver.flash_api.documents import FEE_PROBE, FEE_PROBE_NO_AMOUNT, PAY, PRICE
from flash_driver.flash_api.replies import Currency, read_fee_cents, read_price
from flash_driver.money.rate_book import RateUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.common.deadline import Deadline
    from flash_driver.money.rate_book import RateBook
    from flash_driver.payments.attempt import PaymentAttempt
    from flash_driver.payments.order import Order
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.router import Router
    from flash_driver.wallets import ChosenWallet, WalletDirectory

__all__ = ["PaymentDeclined", "Preparation"]

_LONGEST_WAIT_FOR_WALLET: Final = 5.0
_LONGEST_WAIT_FOR_PRICE: Final = 5.0
_MSAT_PER_SAT: Final = 1000
_FEE_STEPS: Final = {Currency.USD: Decimal("0.01"), Currency.USDT: Decimal(1), Currency.BTC: Decimal(1)}
"""How exactly a fee is told, in cents (BTC: satoshi): it may be half a step more than it says (flash-server.md 3.8)."""


class PaymentDeclined(LightningError):
    """A payment will not be made, for a reason that the host is told as its result; nothing was sent."""


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

    async def prepare(self, attempt: PaymentAttempt, order: Order, deadline: Deadline) -> PaymentAttempt:
        """Make an attempt ready to be sent.

        Raises:
            PaymentDeclined: The BOLT11 has expired or is for another network, or its fee is above the limit.
            RateUnknown: The server does not tell its price, which an amountless BOLT11 is paid at.
            NotSupported: The wallet pays no amountless BOLT11.
            LightningError: The wallet can't be found out.

        """
        request = order.request
        if request.expires_at <= self._clock():
            raise PaymentDeclined("the invoice has expired")
        wallet = await self._wallets.choose(deadline.at_most(_LONGEST_WAIT_FOR_WALLET))
        self._router.insist_on_a_way(PAY)
        expected = self._process.network or wallet.network
        if expected not in (None, request.network, "mainnet" if request.network == "bitcoin" else None):
            raise PaymentDeclined(f"the invoice is for {request.network}, this wallet is on {expected}")
        cents = await self._cents(order, wallet, deadline)
        if order.fee_limit_msat is not None:
            await self._insist_on_fee_limit(order, order.fee_limit_msat, wallet, cents, deadline)
        return attempt.prepared(wallet.id, cents)

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

    async def _insist_on_fee_limit(
        self, order: Order, limit_msat: int, wallet: ChosenWallet, cents: Decimal | None, deadline: Deadline
    ) -> None:
        """Ask for the fee where the host limits it: no payment of Flash takes a limit itself (flash-server.md 3.8).

        The fee is told rounded, so the payment may cost half a step more than it says; that must be within the limit.

        Raises:
            PaymentDeclined: It is not, or it can't be found out.

        """
        half_step = _FEE_STEPS[wallet.currency] / 2
        try:
            fee = await self._fee(order, wallet, cents, deadline)
            half_step_msat = await self._in_msat(half_step, wallet, deadline)
            highest_msat = await self._in_msat(fee + half_step, wallet, deadline)
        except LightningError as error:
            raise PaymentDeclined(
                f"the fee limit can't be kept, because the fee can't be asked for: {error}"
            ) from error
        if limit_msat < half_step_msat:
            raise PaymentDeclined(
                f"the fee limit of {limit_msat} msat can't be kept, because the server tells fees to within"
                f" {half_step_msat} msat only; allow at least that much"
            )
        if highest_msat > limit_msat:
            raise PaymentDeclined(f"the fee of up to {highest_msat} msat exceeds the limit of {limit_msat} msat")

    async def _fee(self, order: Order, wallet: ChosenWallet, cents: Decimal | None, deadline: Deadline) -> Decimal:
        """Ask for the fee; returns it in cents (a BTC wallet: satoshi), as it is told."""
        variables: dict[str, object] = {"walletId": wallet.id, "paymentRequest": order.request.bolt11}
        document = FEE_PROBE if cents is None else FEE_PROBE_NO_AMOUNT
        if cents is not None:
            variables["amount"] = cents
        delivery = await self._router.perform(document(input=variables), deadline.share(0.5))
        fee = read_fee_cents(delivery.data("asking for the fee"), document.field or "")
        if fee is None:
            raise InvalidReply("the server does not tell the fee")
        return fee
