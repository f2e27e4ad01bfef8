"""A payment before its first byte: what is asked for and decided while nothing can have been paid yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connection_strings.errors import InvalidRequest, LightningError, RequestRefused
from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger
from flash_driver.flash_api.documents import PAY
from flash_driver.payments.costs import PaymentDeclined

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flash_driver.common.deadline import Deadline
    from flash_driver.payments.attempt import PaymentAttempt
    from flash_driver.payments.costs import Costs
    from flash_driver.payments.order import Order
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.router import Router
    from flash_driver.wallets import ChosenWallet, WalletDirectory

__all__ = ["Preparation"]

_LONGEST_WAIT_FOR_WALLET: Final = 5.0

_log: Final = get_logger(part="payments")


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
