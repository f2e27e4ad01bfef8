"""Flash's move of accounts from a USD to a USDT wallet: which wallets are shown, and where money goes.

Source: flash-server.md 3.2 and 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_driver.sandbox.bank.refusals import InvalidInput

if TYPE_CHECKING:
    from flash_driver.sandbox.bank.ledger import Account, Wallet
    from flash_driver.sandbox.options import CutoverState, MigrationState

__all__ = ["Presentation", "present"]


@dataclass(frozen=True, slots=True)
class Presentation:
    """An account's wallets as one client sees them.

    Attributes:
        wallets: What is shown; the cash wallet is the last that Flash itself holds.
        default: The cash wallet that is shown.
        legacy: The USD wallet, if there is one.
        active: The cash wallet that money really goes to and comes from.

    """

    wallets: list[Wallet]
    default: Wallet
    legacy: Wallet | None
    active: Wallet

    def behind(self, wallet: Wallet) -> Wallet:
        """Find the wallet that money of a given one is routed to; only the legacy one is routed."""
        return self.active if wallet is self.legacy else wallet

    def history_of(self, wallets: list[Wallet]) -> list[Wallet]:
        """Name the wallets whose transactions belong to these: both cash wallets go together."""
        named: dict[str, Wallet] = {}
        for wallet in wallets:
            together = [self.active, self.legacy] if wallet in (self.active, self.legacy) else [wallet]
            named.update((each.id, each) for each in together if each is not None)
        return list(named.values())


def present(account: Account, state: CutoverState, *, capable: bool) -> Presentation:
    """Decide what a client sees of an account's wallets.

    Args:
        account: Whose they are.
        state: How far the move of all accounts is.
        capable: Whether the client understands USDT wallets (the capability header).

    Raises:
        InvalidInput: The account is being moved, its move failed, or the wallet that counts is missing.

    """
    usd, usdt = account.wallet_of("USD"), account.wallet_of("USDT")
    others = [each for each in account.wallets if not each.external and each.currency == "BTC"]
    external = [each for each in account.wallets if each.external]
    if not _has_moved(account.migration, state):
        if usd is None:
            raise InvalidInput("Legacy USD Cash Wallet is missing for this account.")
        return Presentation([*others, usd, *external], usd, usd, usd)
    if usdt is None:
        raise InvalidInput("USDT Cash Wallet is missing for this account.")
    if capable:
        return Presentation([*others, usdt, *external], usdt, usd, usdt)
    if usd is None:
        raise InvalidInput("Legacy USD Cash Wallet is missing for this account.")
    return Presentation([*others, usd, *external], usd, usd, usdt)


def _has_moved(migration: MigrationState, state: CutoverState) -> bool:
    if state != "IN_PROGRESS":
        return state == "COMPLETE"
    if migration == "MOVING":
        raise InvalidInput("Cash Wallet cutover is in progress. Please try again shortly.")
    if migration == "FAILED":
        raise InvalidInput("Cash Wallet migration needs support review.")
    return migration == "COMPLETE"
