"""What tests of the watcher have in common."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from connection_strings import CreateInvoiceParams, LightMoney
from flash_driver.settings.process import ProcessSettings
from flash_driver.settlements.health import Listening
from tests.support.driver import operations
from tests.support.waiting import until

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from flash_driver.settlements.listeners import FlashInvoiceListener

__all__ = ["COFFEE", "STATUS", "asked", "hearing", "paid", "short_grace"]

STATUS: Final = "lnInvoicePaymentStatus"
COFFEE: Final = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")


def short_grace(**more: Any) -> ProcessSettings:
    """Return settings with a grace time that a test can wait for."""
    return ProcessSettings.model_validate(
        {"journal_url": "memory:", "invoice_budget": None, "expiry_grace_seconds": 1, **more}
    )


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
