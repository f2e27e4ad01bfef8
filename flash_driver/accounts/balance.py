"""What the account's wallet holds, in millisatoshi: an estimate wherever it holds dollars, and marked as one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from connection_strings.errors import LightningError
from connection_strings.lightning import BalanceEstimate, LightningNodeBalance, OffchainBalance
from connection_strings.money import LightMoney
from flash_driver.flash_api.documents import BALANCE, PRICE
from flash_driver.flash_api.replies import read_balances, read_price

if TYPE_CHECKING:
    from decimal import Decimal

    from flash_driver.accounts.account import Account
    from flash_driver.common.deadline import Deadline
    from flash_driver.transports.delivery import Delivery
    from flash_driver.wallets import ChosenWallet

__all__ = ["balance_of"]


async def balance_of(account: Account, deadline: Deadline) -> LightningNodeBalance:
    """Ask the server for the balance of the account's wallet, also where that is another wallet by now.

    The price, which dollars are turned into satoshi at, is asked for at the same time.

    Raises:
        LightningError: The balance or the price can't be read.

    """
    wallet = await account.wallets.choose(deadline)
    told, priced = await asyncio.gather(
        account.router.perform(BALANCE(), deadline), _ask_price(account, wallet, deadline)
    )
    rows = read_balances(told.data("reading the balance"))
    held = next((row.minor_units for row in rows if row.wallet.id == wallet.id), None)
    if held is None and (moved := await account.wallets.moved_from(wallet.id, deadline)) is not None:
        wallet, held = moved, next((row.minor_units for row in rows if row.wallet.id == moved.id), None)
    if held is None:
        raise LightningError("the server does not tell the balance of this wallet")
    if not wallet.currency.in_cents:
        return LightningNodeBalance(offchain=OffchainBalance(local=LightMoney.from_sat(int(held))))
    return _estimate(account, wallet, held, priced or await account.router.perform(PRICE(), deadline))


async def _ask_price(account: Account, wallet: ChosenWallet, deadline: Deadline) -> Delivery | None:
    """Ask for the price where the wallet holds dollars."""
    return await account.router.perform(PRICE(), deadline) if wallet.currency.in_cents else None


def _estimate(account: Account, wallet: ChosenWallet, cents: Decimal, priced: Delivery) -> LightningNodeBalance:
    """Return what cents are worth at the server's price now, or at the rate known from before."""
    rates = account.memory.receiving[wallet.currency]
    try:
        account.memory.price.see(read_price(priced.data("reading the price")))
    except LightningError:
        if not rates.known:
            raise
    cents_per_sat, time = rates.cents_per_sat
    local = LightMoney.from_msat(rates.to_msat(cents))
    estimate = BalanceEstimate(
        currency=wallet.currency, minor_units=cents, minor_units_per_sat=cents_per_sat, rate_time=time
    )
    return LightningNodeBalance(offchain=OffchainBalance(local=local), estimate=estimate)
