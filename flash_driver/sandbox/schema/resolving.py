"""What all mutations have in common: checking input, finding wallets, and telling refusals in the payload."""

# ruff: noqa: A002 - Flash calls the argument of its operations `input`

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final, NoReturn, TypeVar

from flash_driver.sandbox.bank.ledger import Wallet
from flash_driver.sandbox.bank.refusals import InvalidInput, Refused, UncodedRefusal
from flash_driver.sandbox.schema.context import Context, Info, thrown
from flash_driver.sandbox.schema.scalars import malformed
from flash_driver.sandbox.schema.types import Error, GraphQLApplicationError

__all__ = ["in_dollars", "in_satoshis", "lightning_node_offline", "not_implemented", "recipient", "telling", "told"]

_Payload = TypeVar("_Payload")
_Resolver = Callable[[Any, Info, Any], Awaitable[_Payload]]

_LEGACY_NODE: Final = "Offchain action error: lightning node is offline"


def telling(refused: Callable[[Refused], _Payload]) -> Callable[[_Resolver[_Payload]], _Resolver[_Payload]]:
    """Let a mutation check its input first, and tell refusals in the payload that `refused` makes."""

    def decorate(resolver: _Resolver[_Payload]) -> _Resolver[_Payload]:
        @wraps(resolver)
        async def guarded(self: object, info: Info, input: Any) -> _Payload:
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


def not_implemented() -> NoReturn:
    """Answer as Flash does for what only its Bitcoin wallets could: at the top level."""
    raise thrown(Refused("Flash does not support BTC wallets."))


def lightning_node_offline() -> Refused:
    """Make the error of operations that still go to a node which Flash no longer runs."""
    return Refused(_LEGACY_NODE, "LND_OFFLINE")


def recipient(context: Context, wallet_id: str) -> Wallet:
    """Find anybody's wallet."""
    wallet = context.bank.ledger.wallets.get(wallet_id)
    if wallet is None:
        raise Refused("Wallet does not exist", "NOT_FOUND")
    return wallet


def in_dollars(wallet: Wallet) -> Wallet:
    """Insist on a wallet that the custodian keeps in dollars."""
    if wallet.currency == "BTC" or wallet.external:
        raise InvalidInput("Invalid wallet: the currency must be USD or USDT")
    return wallet


def in_satoshis(context: Context, wallet: Wallet) -> Wallet:
    """Insist on a BTC wallet, in a sandbox that has working ones."""
    if not context.bank.options.btc_wallet:
        not_implemented()
    if wallet.currency != "BTC":
        raise InvalidInput("Invalid wallet: the currency must be BTC")
    return wallet
