"""A payment before its first byte: what is asked for and decided while nothing can have been paid yet."""

from __future__ import annotations

import asyncio
import contextlib
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final

from connection_strings.errors import (
    BackendUnavailable,
    InvalidReply,
    InvalidRequest,
    LightningError,
    NotSupported,
    RequestRefused,
)
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger
from flash_driver.flash_api.documents import FEE_PROBE, FEE_PROBE_NO_AMOUNT, PAY, PRICE
from flash_driver.flash_api.replies import Currency, FeeEstimate, read_fee_probe, read_price
from flash_driver.money.server_price import RateUnknown

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flash_driver.common.deadline import Deadline
    from flash_driver.journal.journal import Journal
    from flash_driver.money.sending_rate import SendingRate
    from flash_driver.money.server_price import ServerPrice
    from flash_driver.payments.attempt import PaymentAttempt
    from flash_driver.payments.order import Order
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.router import Router
    from flash_driver.wallets import ChosenWallet, WalletDirectory

__all__ = ["Costs", "PaymentDeclined", "Preparation"]

_LONGEST_WAIT_FOR_WALLET: Final = 5.0
_LONGEST_WAIT: Final = 5.0
_MSAT_PER_SAT: Final = 1000
_LATEST_INVOICES: Final = 20
_STEPS: Final = {Currency.USD: Decimal("0.01"), Currency.USDT: Decimal(1), Currency.BTC: Decimal(1)}
"""How exactly costs are told, in cents (BTC: satoshi): to within half a step (flash-server.md 3.8)."""

_log: Final = get_logger(part="payments")


class PaymentDeclined(LightningError):
    """A payment will not be made, for a reason that the host is told as its result; nothing was sent."""


class Preparation:
    """Makes payments ready to be sent.

    Args:
        process: What is set for the process.
        router: Knows whether there is a way to pay at all.
        wallets: Which wallet pays.
        costs: Finds out what it costs.
        clock: The wall clock.

    """

    def __init__(
        self,
        *,
        process: ProcessSettings,
        router: Router,
        wallets: WalletDirectory,
        costs: Costs,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._process = process
        self._router = router
        self._wallets = wallets
        self._costs = costs
        self._clock = clock

    async def prepare(self, attempt: PaymentAttempt, order: Order, deadline: Deadline) -> PaymentAttempt:
        """Make an attempt ready to be sent.

        Raises:
            InvalidRequest: The BOLT11 is for another network.
            PaymentDeclined: The BOLT11 has expired, or its fee is above the limit.
            RateUnknown: The server does not tell its price, which an amountless BOLT11 is paid at.
            NotSupported: The wallet pays no amountless BOLT11.
            LightningError: The wallet can't be found out.

        """
        request = order.request
        if request.expires_at <= self._clock():
            raise PaymentDeclined("the invoice has expired")
        wallet = await self._wallets.choose(deadline.at_most(_LONGEST_WAIT_FOR_WALLET))
        self._router.insist_on_a_way(PAY)
        try:
            return await self._price(attempt, order, wallet, deadline)
        except PaymentDeclined as declined:
            refused = isinstance(declined.__cause__, RequestRefused)
            moved = await self._wallet_instead(wallet.id, deadline) if refused else None
            if moved is None:
                raise
            return await self._price(attempt, order, moved, deadline)

    async def has_moved(self, attempt: PaymentAttempt, deadline: Deadline) -> bool:
        """Whether the account has another wallet than the one that an attempt was to be paid from."""
        return await self._wallet_instead(attempt.record.wallet_id, deadline) is not None

    async def _wallet_instead(self, wallet_id: str, deadline: Deadline) -> ChosenWallet | None:
        try:
            return await self._wallets.moved_from(wallet_id, deadline.at_most(_LONGEST_WAIT_FOR_WALLET))
        except LightningError as error:
            _log.info("the wallet could not be looked up again", why=str(error))
            return None

    async def _price(
        self, attempt: PaymentAttempt, order: Order, wallet: ChosenWallet, deadline: Deadline
    ) -> PaymentAttempt:
        """Find out what to send from this wallet, and insist on the fee limit."""
        request = order.request
        expected = self._process.network or wallet.network
        if expected not in (None, request.network, "mainnet" if request.network == "bitcoin" else None):
            raise InvalidRequest("bolt11", f"is for {request.network}, and this wallet is on {expected}")
        cents = await self._costs.cents(order, wallet, deadline)
        await self._costs.insist_on_fee_limit(order, wallet, cents, deadline)
        return attempt.prepared(wallet.id, cents)


class Costs:
    """Finds out what payments cost.

    Args:
        router: For questions about fee and price.
        price: What the server says a bitcoin costs.
        rates: What is known of the rate at which a currency is sent.
        journal: Has invoices of this account, whose cost can be asked for.
        clock: The wall clock.

    """

    def __init__(
        self,
        *,
        router: Router,
        price: ServerPrice,
        rates: Callable[[Currency], SendingRate],
        journal: Journal,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._router = router
        self._price = price
        self._rates = rates
        self._journal = journal
        self._clock = clock

    async def cents(self, order: Order, wallet: ChosenWallet, deadline: Deadline) -> Decimal | None:
        """Return what to send on an amountless BOLT11, so that the payee gets at least the amount; None on others.

        The server is told cents and buys with them at a rate that it does not tell (flash-server.md 6).

        Raises:
            RateUnknown: The server does not tell its price now.
            NotSupported: The wallet pays no amountless BOLT11.

        """
        if order.request.amount_msat is not None:
            return None
        if not wallet.currency.in_cents:
            raise NotSupported("Flash pays amountless invoices from USD and USDT wallets only")
        rates = self._rates(wallet.currency)
        _, shown = await asyncio.gather(self._ask_price(deadline), self._ask_what_an_invoice_costs(wallet, deadline))
        if shown is not None:
            rates.learn(*shown, _STEPS[wallet.currency])
        return rates.quote(order.amount_msat)

    async def insist_on_fee_limit(
        self, order: Order, wallet: ChosenWallet, cents: Decimal | None, deadline: Deadline
    ) -> None:
        """Ask for the fee where the host limits it: no payment of Flash takes a limit itself (flash-server.md 3.8).

        The fee is told rounded, so the payment may cost half a step more than it says; that must be within the limit.

        Args:
            order: What is to be paid.
            wallet: What pays it.
            cents: What is sent on an amountless BOLT11, None on others.
            deadline: When all has to be done.

        Raises:
            PaymentDeclined: The limit is not kept, or that can't be found out.

        """
        limit_msat = order.fee_limit_msat
        if limit_msat is None:
            return
        step = _STEPS[wallet.currency]
        try:
            estimate = await self._probe(wallet, order.request.bolt11, cents, deadline)
            if estimate.fee is None:
                raise InvalidReply("the server does not tell the fee")
            half_step_msat = await self._in_msat(step / 2, wallet, deadline)
            highest_msat = await self._in_msat(estimate.fee + step / 2, wallet, deadline)
        except LightningError as error:
            raise PaymentDeclined(
                f"the fee limit can't be kept, because the fee can't be asked for: {error}"
            ) from error
        if cents is None and wallet.currency.in_cents and estimate.principal is not None:
            self._rates(wallet.currency).learn(order.amount_msat, estimate.principal, step)
        if limit_msat < half_step_msat:
            raise PaymentDeclined(
                f"the fee limit of {limit_msat} msat can't be kept, because the server tells fees to within"
                f" {half_step_msat} msat only; allow at least that much"
            )
        if highest_msat > limit_msat:
            raise PaymentDeclined(f"the fee of up to {highest_msat} msat exceeds the limit of {limit_msat} msat")

    async def _ask_price(self, deadline: Deadline) -> None:
        """Have the server tell its price; without an answer it is known best there whether an earlier one will do."""
        with contextlib.suppress(RequestRefused, BackendUnavailable, InvalidReply):
            delivery = await self._router.perform(PRICE(), deadline.share(0.5).at_most(_LONGEST_WAIT))
            self._price.see(read_price(delivery.data("asking for the price")))

    async def _ask_what_an_invoice_costs(self, wallet: ChosenWallet, deadline: Deadline) -> tuple[int, Decimal] | None:
        """Ask what it would cost to pay an invoice of this account: it shows the rate of sending, and nothing is sent.

        Returns:
            Its amount in millisatoshi and its cost in cents; None when there is none, or the server does not say.

        """
        with contextlib.suppress(LightningError):
            latest = await self._journal.latest_priced(wallet.currency, _LATEST_INVOICES)
            unpaid = [each for each in latest if each.status is not LightningInvoiceStatus.PAID]
            now = self._clock()
            # The server may refuse what has expired; of the others the largest shows most.
            shown = max(unpaid, key=lambda each: (each.expires_at > now, each.amount_msat or 0), default=None)
            if shown is not None and shown.amount_msat is not None:
                estimate = await self._probe(wallet, shown.bolt11, None, deadline.at_most(_LONGEST_WAIT))
                if estimate.principal is not None:
                    return shown.amount_msat, estimate.principal
        return None

    async def _probe(self, wallet: ChosenWallet, bolt11: str, cents: Decimal | None, deadline: Deadline) -> FeeEstimate:
        variables: dict[str, object] = {"walletId": wallet.id, "paymentRequest": bolt11}
        document = FEE_PROBE if cents is None else FEE_PROBE_NO_AMOUNT
        if cents is not None:
            variables["amount"] = cents
        delivery = await self._router.perform(document(input=variables), deadline.share(0.5))
        return read_fee_probe(delivery.data("asking for the fee"), document.field or "")

    async def _in_msat(self, fee: Decimal, wallet: ChosenWallet, deadline: Deadline) -> int:
        """What a fee comes to in millisatoshi, rather a little more than less."""
        if not wallet.currency.in_cents:
            return int((fee * _MSAT_PER_SAT).to_integral_value(ROUND_CEILING))
        try:
            return self._price.fee_msat(fee)
        except RateUnknown:
            await self._ask_price(deadline)
            return self._price.fee_msat(fee)
