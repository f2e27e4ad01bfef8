"""Makes the driver's pauses short, so that a test sees in a second what takes minutes in a shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_driver.payments.persistence import Persistence
from flash_driver.settlements.backoff import Backoff, Spacing
from flash_driver.settlements.schedule import Pace
from flash_driver.transports.websocket.handshake import Limits

if TYPE_CHECKING:
    from flash_driver.accounts.account import Account
    from flash_driver.client import FlashLightningClient

__all__ = ["account_of", "hasten"]


def account_of(client: FlashLightningClient) -> Account:
    """Return what a client shares with the others of its account."""
    return client._account()


def hasten(
    client: FlashLightningClient,
    *,
    limits: Limits | None = None,
    patience: Backoff | None = None,
    pace: Pace | None = None,
    persistence: Persistence | None = None,
) -> FlashLightningClient:
    """Shorten the pauses of a client's account; what is given replaces what is otherwise chosen here."""
    account = account_of(client)
    if account.socket is not None:
        short = Limits(
            ping_interval=0.5, ping_timeout=2.0, suspicion_after=0.4, suspicion_timeout=0.8, close_timeout=0.2
        )
        account.socket._limits = limits or short
        for managed in account.socket._managed:
            managed._limits = limits or short
    asking, hearing = account.watcher._polling, account.watcher._feed
    asking._patience = hearing._patience = account.watcher._patience = patience or Backoff(
        connect=3.0,
        ask=3.0,
        backoff=0.05,
        longest_backoff=0.3,
        trouble=0.03,
        longest_trouble=0.2,
        longest_closure=0.3,
        stable=0.5,
        refusal=0.3,
        reload=1.0,
    )
    asking._pace = pace or Pace(quick=0.2, heard=0.5, slowest=0.5, retry=0.05, slowest_retry=0.2)
    asking._spacing = Spacing(usual=0.002, least=0.002)
    payments = account.payments
    payments._sending._persistence = payments._resolving._persistence = persistence or Persistence(
        pauses=(0.05, 0.1, 0.2, 0.3), sender_lives=2.0, look=0.05, later=(0.2, 0.5, 1.0)
    )
    return client
