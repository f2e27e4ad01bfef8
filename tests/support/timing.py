"""Short pauses, so that a test sees in a second what takes minutes in a shop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from flash_driver.accounts.timing import Timing
from flash_driver.payments.attempt import Persistence
from flash_driver.settlements.timing import Backoff, Pace, Spacing, WatchTiming
from flash_driver.transports.session import SessionTiming
from flash_driver.transports.websocket.handshake import Limits

if TYPE_CHECKING:
    from typing import Any

    from flash_driver.accounts.account import Account
    from flash_driver.client import FlashLightningClient
    from flash_driver.settlements.watched import WatchedAccount

__all__ = ["SELDOM", "SHORT", "STEADY", "account_of", "short", "watched_of"]

SHORT: Final = Timing(
    connections=Limits(
        ping_interval=0.5, ping_timeout=2.0, suspicion_after=0.4, suspicion_timeout=0.8, close_timeout=0.2
    ),
    session=SessionTiming(apart=0.3, again=0.3),
    watching=WatchTiming(
        pace=Pace(
            polling=0.2,
            subscribed=0.5,
            young=0.5,
            slowest=0.5,
            fruitless=Backoff(0.05, 0.2),
            late=0.3,
            slowest_late=0.5,
        ),
        spacing=Spacing(usual=0.002, least=0.002),
        api_key_spacing=Spacing(usual=0.002, least=0.002),
        connect=3.0,
        ask=3.0,
        reconnect=Backoff(0.05, 0.3),
        trouble=Backoff(0.03, 0.2),
        longest_closure=0.3,
        stable=0.5,
        refusal=0.3,
        token=30.0,
        token_seldom=30.0,
        token_doubted=0.3,
        identify=0.05,
        journal=0.05,
        amount_patience=0.5,
        receipts=Backoff(0.05, 0.2),
    ),
    payments=Persistence(
        pauses=(0.05, 0.1, 0.2, 0.3),
        margin=0.3,
        look=0.05,
        watch=0.2,
        early=(0.2, 0.4, 0.8, 5.0),
        later=(0.2, 0.5, 1.0),
    ),
)
"""The pauses of most tests."""
STEADY: Final = Limits(ping_interval=3600.0, ping_timeout=3600.0, suspicion_after=3600.0, suspicion_timeout=3600.0)
"""Keeps a socket up on a machine that is busy with other things."""
SELDOM: Final = Pace(polling=60.0, subscribed=60.0, late=3600.0)
"""Asks so seldom that what is found in time was announced, or asked for a reason."""


def short(*, connections: Limits | None = None, payments: Persistence | None = None, **watching: Any) -> Timing:
    """Return short pauses, some of them others: `watching` changes fields of `WatchTiming`."""
    return Timing(
        connections=connections or SHORT.connections,
        session=SHORT.session,
        watching=replace(SHORT.watching, **watching),
        payments=payments or SHORT.payments,
    )


def account_of(client: FlashLightningClient) -> Account:
    """Return what a client shares with the others of its account."""
    return client._account()


def watched_of(client: FlashLightningClient) -> WatchedAccount:
    """Return what the account's watcher uses, which all connection strings of one token share."""
    return account_of(client).listeners.watcher._account
