"""Who asks, how, and what their operation may touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from graphql import GraphQLError
from strawberry.types import Info as StrawberryInfo

from flash_driver.sandbox.bank.refusals import InvalidInput, Refused, UncodedRefusal

if TYPE_CHECKING:
    from flash_driver.sandbox.bank.bank import Bank
    from flash_driver.sandbox.bank.invoices import Invoices
    from flash_driver.sandbox.bank.ledger import Account, Wallet
    from flash_driver.sandbox.bank.payments import Payments
    from flash_driver.sandbox.bank.traffic import Transport

__all__ = ["Context", "Info", "thrown"]


def thrown(refusal: Refused) -> GraphQLError:
    """Make the top-level error that a refusal is where the operation has no payload for it."""
    return GraphQLError(refusal.message, extensions={"code": refusal.code or "INTERNAL_SERVER_ERROR"})


@dataclass(slots=True)
class Context:
    """The circumstances of one operation.

    Attributes:
        account: Who asks; None for an anonymous client.
        capable: Whether the client knows of USDT wallets (the capability header).
        refusal: What an armed fault wants the operation's payload to say.

    """

    bank: Bank
    invoices: Invoices
    sends: Payments
    transport: Transport
    account: Account | None = None
    capable: bool = False
    refusal: Refused | None = None

    def authenticated(self) -> Account:
        """Give the account that asks, or raise Flash's error for nobody."""
        if self.account is not None:
            return self.account
        if self.transport == "http":
            raise GraphQLError("Not authorized", extensions={"code": "NOT_AUTHORIZED"})
        raise GraphQLError("Not authenticated", extensions={"code": "NOT_AUTHENTICATED"})

    def own_wallet(self, wallet_id: str) -> Wallet:
        """Find a wallet of the account that asks; anybody else's is refused without a code."""
        wallet = self.authenticated().wallet(wallet_id)
        if wallet is None:
            raise UncodedRefusal("Invalid walletId for account.")
        return wallet

    def routed(self, wallet: Wallet) -> Wallet:
        """Follow a legacy USD wallet to where its money is now."""
        if self.bank.options.cutover == "IN_PROGRESS":
            raise InvalidInput("The cash wallet is being moved, please try again later")
        return self.bank.settlement_wallet(self.bank.ledger.accounts[wallet.account_id], wallet)


Info: TypeAlias = StrawberryInfo[Context, None]
