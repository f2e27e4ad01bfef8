"""What all mutations have in common: checking input, finding wallets, and telling refusals in the payload."""

# ruff: noqa: A002 - Flash calls the argument of its operations `input`

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final, NoReturn, TypeVar

from flash_driver.sandbox.bank.ledger import Wallet
from flash_driver.sandbox.bank.refusals import InvalidInput, Refused, UncodedRefusal, unexpected
from flash_driver.sandbox.schema.context import Context, Info, thrown
from flash_driver.sandbox.schema.scalars import malformed
from flash_driver.sandbox.schema.types import Error, GraphQLApplicationError

__all__ = [
    "in_dollars",
    "in_satoshis",
    "lightning_node_offline",
    "no_bitcoin",
    "not_implemented",
    "recipient",
    "telling",
    "told",
]

_Payload = TypeVar("_Payload")
_Resolver = Callable[[Any, Info, Any], Awaitable[_Payload]]

_LEGACY_NODE: Final = (
    "Offchain action failed, please try again in a few minutes. If the problem persists, please contact support. If "
    "you are on regtest, it might because blocks need to be generated so that lnd can be considered active."
)


def telling(
    refused: Callable[[Refused], _Payload], scope: str | None = None
) -> Callable[[_Resolver[_Payload]], _Resolver[_Payload]]:
    """Let a mutation check who asks and what for, and tell refusals in the payload that `refused` makes.

    Args:
        refused: Makes the payload of a refusal.
        scope: What an API key needs for it; None for what is public.

    """

    def decorate(resolver: _Resolver[_Payload]) -> _Resolver[_Payload]:
        @wraps(resolver)
        async def guarded(self: object, info: Info, input: Any) -> _Payload:
            if scope is not None:
                info.context.authenticated()
                info.context.authorise(scope)
            try:
                _check(info.context, input)
                return await resolver(self, info, input)
            except Refused as refusal:
                return refused(refusal)

        return guarded

    return decorate


def _check(context: Context, values: object) -> None:
    """Refuse malformed values, and whatever an armed fault says."""
    for value in vars(values).values():
        if complaint := malformed(value):
            raise UncodedRefusal(complaint.message, complaint.code)
    if context.refusal is not None:
        raise context.refusal


def told(refusal: Refused) -> list[Error]:
    """Make a payload's list of errors."""
    return [GraphQLApplicationError.of(refusal)]


def no_bitcoin() -> Refused:
    """Make the error of what only Bitcoin wallets could do."""
    return Refused("Flash does not support BTC wallets.")


def not_implemented() -> NoReturn:
    """Answer with that error at the top level."""
    raise thrown(no_bitcoin())


def lightning_node_offline() -> Refused:
    """Make the error of operations that still go to a node which Flash no longer runs."""
    return Refused(_LEGACY_NODE, "LND_OFFLINE")


def recipient(context: Context, wallet_id: str) -> Wallet:
    """Find anybody's wallet."""
    wallet = context.bank.ledger.wallets.get(wallet_id)
    if wallet is None:
        raise Refused(unexpected("CouldNotFindWalletFromIdError"), "UNEXPECTED_CLIENT_ERROR")
    return wallet


def in_dollars(wallet: Wallet) -> Wallet:
    """Insist on a wallet that the custodian keeps in dollars."""
    if wallet.currency == "BTC" or wallet.external:
        raise InvalidInput("Unsupported operation for wallet's currency.")
    return wallet


def in_satoshis(context: Context, wallet: Wallet) -> Wallet:
    """Insist on a BTC wallet, in a sandbox that has working ones."""
    if not context.bank.options.btc_wallet:
        raise no_bitcoin()
    if wallet.currency != "BTC":
        raise InvalidInput("Unsupported operation for wallet's currency.")
    return wallet
