"""Who asks, how, and what their operation may touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from graphql import GraphQLError
from strawberry.types import Info as StrawberryInfo

from flash_driver.sandbox.bank.refusals import InvalidInput, Refused, UncodedRefusal, unexpected

if TYPE_CHECKING:
    from flash_driver.sandbox.bank.api_keys import ApiKey
    from flash_driver.sandbox.bank.bank import Bank
    from flash_driver.sandbox.bank.cutover import Presentation
    from flash_driver.sandbox.bank.invoices import Invoices
    from flash_driver.sandbox.bank.ledger import Account, Wallet
    from flash_driver.sandbox.bank.payments import Payments
    from flash_driver.sandbox.bank.phone_login import PhoneLogin
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
        key: The API key that the request came with.
        capable: Whether the client knows of USDT wallets (the capability header).
        refusal: What an armed fault wants the operation's payload to say.

    """

    bank: Bank
    invoices: Invoices
    sends: Payments
    logins: PhoneLogin
    transport: Transport
    account: Account | None = None
    key: ApiKey | None = None
    capable: bool = False
    refusal: Refused | None = None

    def authorise(self, scope: str | None, field: str = "") -> None:
        """Check that an API key may do something; sessions may do everything.

        Args:
            scope: What the key needs; None where keys are never admitted.
            field: What is asked for, for the refusal.

        Raises:
            GraphQLError: The key lacks the scope.

        """
        if self.key is None:
            return
        if scope is None:
            raise GraphQLError(f"API keys cannot access {field}")
        if not self.key.grants(scope):
            raise GraphQLError(f"API key missing required scope: {scope}")

    def authenticated(self) -> Account:
        """Give the account that asks, or raise Flash's error for nobody."""
        if self.account is not None:
            return self.account
        if self.transport == "http":
            raise GraphQLError("Not authorized", extensions={"code": "NOT_AUTHORIZED"})
        raise GraphQLError("Not authenticated", extensions={"code": "NOT_AUTHENTICATED"})

    def own_wallet(self, wallet_id: str) -> Wallet:
        """Find a wallet of the account that asks; another is refused without a code (flash-server.md 3.4)."""
        wallet = self.authenticated().wallet(wallet_id)
        if wallet is None:
            known = wallet_id in self.bank.ledger.wallets
            name = "InvalidWalletForAccountError" if known else "CouldNotFindWalletFromIdError"
            raise UncodedRefusal(unexpected(name))
        return wallet

    def presentation(self, account: Account) -> Presentation:
        """Show an account's wallets to this client, or raise the top-level error of an account that is being moved."""
        try:
            return self.bank.present(account, capable=self.capable)
        except InvalidInput as refusal:
            raise thrown(refusal) from refusal

    def routed(self, wallet: Wallet) -> Wallet:
        """Follow a legacy USD wallet to where its money is now."""
        account = self.bank.ledger.accounts[wallet.account_id]
        return self.bank.present(account, capable=self.capable).behind(wallet)


Info: TypeAlias = StrawberryInfo[Context, None]
