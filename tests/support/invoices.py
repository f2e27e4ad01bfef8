"""Terms of invoices, and what became of them, for tests of the money."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from connection_strings import CreateInvoiceParams, LightMoney
from tests.support.driver import operations

if TYPE_CHECKING:
    from decimal import Decimal

    from flash_driver.client import FlashLightningClient
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.sandbox import Sandbox

__all__ = ["ANY", "BEHALF", "METADATA", "SATS", "USD", "created", "lnurl", "of_sat", "orphans"]

USD, BEHALF, ANY, SATS = (
    "lnUsdInvoiceCreate",
    "lnUsdInvoiceCreateOnBehalfOfRecipient",
    "lnNoAmountInvoiceCreate",
    "lnInvoiceCreate",
)
METADATA = json.dumps([["text/identifier", "shop@example.org"], ["text/plain", "Pay to shop"]])


def of_sat(sat: int | Decimal, description: str = "coffee", **more: Any) -> CreateInvoiceParams:
    """Make terms over that many satoshi."""
    return CreateInvoiceParams(LightMoney.from_sat(sat), description, **more)


def lnurl(msat: int) -> CreateInvoiceParams:
    """Make terms as an LNURL-pay server does: this amount and no other."""
    return CreateInvoiceParams(LightMoney.from_msat(msat), METADATA, description_hash_only=True)


def created(sandbox: Sandbox) -> int:
    """Count the requests for invoices over an amount, with a description hash or without."""
    return sum(sum(operations(sandbox, name).values()) for name in (USD, BEHALF))


async def orphans(client: FlashLightningClient) -> list[InvoiceRecord]:
    """Return what the journal keeps of invoices that no host got."""
    return await client._account().journal.list_orphans()
