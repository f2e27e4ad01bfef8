"""What a server showed to a token, as `flash-driver journal show` tells it; no token is part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flash_driver.cli.values import shown_time, time_json
from flash_driver.journal.learned import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from flash_driver.journal.learned import Learned

__all__ = ["learned_json", "shown_learned"]

_DOES: Final = {
    Standing.WORKS: "carries requests out",
    Standing.DECLINES: "declines requests",
    Standing.FAILS: "refused the token or did not get through",
}


def learned_json(learned: Learned) -> dict[str, Any]:
    """Write it for a program, which judges by the times what is too old."""
    account = learned.account
    return {
        "seen_at": time_json(learned.at),
        "default_wallet": account.default_wallet_id,
        "wallets": [
            {"id": wallet.id, "currency": wallet.currency, "external": wallet.is_external} for wallet in account.wallets
        ],
        "network": account.network,
        "ways": {
            name: {"standing": way.standing.value, "seen_at": time_json(way.at)}
            for name, way in sorted(learned.ways.items())
        },
        "slow_handshake_at": time_json(learned.slow_at),
    }


def shown_learned(learned: Learned, now: datetime) -> Iterator[str]:
    """Write it for a person, line by line, and say what the driver does not use any more."""
    used = learned.at_present(now)

    def seen(at: datetime, *, is_used: bool) -> str:
        return shown_time(at) + ("" if is_used else " (too old to be used)")

    account = learned.account
    yield f"what the server showed to one token, {seen(learned.at, is_used=used is not None)}:"
    for wallet in account.wallets:
        default = ", the default" if wallet.id == account.default_wallet_id else ""
        yield f"  wallet {wallet.id}: {wallet.currency}{', external' if wallet.is_external else ''}{default}"
    yield f"  network: {account.network or 'not told'}"
    for name, way in sorted(learned.ways.items()):
        yield f"  {name} {_DOES[way.standing]}, {seen(way.at, is_used=used is not None and name in used.ways)}"
    if learned.slow_at is not None:
        is_used = used is not None and used.slow_at is not None
        yield f"  the WebSocket was slow to connect, {seen(learned.slow_at, is_used=is_used)}"
