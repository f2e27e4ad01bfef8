"""What tests of the watcher have in common."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from connection_strings import CreateInvoiceParams, LightMoney
from flash_driver.journal.urls import JournalUrl
from flash_driver.settings.process import ProcessSettings
from flash_driver.settlements.health import Listening
from flash_driver.settlements.schedule import Pace
from flash_driver.transports.websocket.handshake import Limits
from tests.support.driver import operations
from tests.support.waiting import until

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from flash_driver.settlements.listeners import FlashInvoiceListener

__all__ = ["COFFEE", "SELDOM", "STATUS", "STEADY", "asked", "hearing", "paid", "short_grace"]

STATUS: Final = "lnInvoicePaymentStatus"
COFFEE: Final = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")
STEADY: Final = Limits(ping_interval=3600.0, ping_timeout=3600.0)
"""Keeps a socket up on a machine that is busy with other things."""
SELDOM: Final = Pace(quick=60.0, heard=60.0)
"""Asks so seldom that what is found in time was heard, or asked for a reason."""


def short_grace() -> ProcessSettings:
    """Return settings with a grace time that a test can wait for."""
    return ProcessSettings(journal_url=JournalUrl.parse("memory:"), invoice_budget=None, expiry_grace_seconds=1)


async def paid(listener: FlashInvoiceListener) -> str:
    """Wait for the next paid invoice."""
    async with asyncio.timeout(40):
        return (await listener.wait_invoice()).id


async def hearing(client: FlashLightningClient) -> None:
    """Wait until the client hears."""
    await until(lambda: client.health.listening is Listening.HEARING)


def asked(sandbox: Sandbox) -> int:
    """Return how often the server was asked how an invoice stands."""
    return sum(operations(sandbox, STATUS).values())
