"""Runs a command that needs a client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from connection_strings.factory import LightningClientFactory
from flash_driver.cli.logs import log_to
from flash_driver.cli.source import connection_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from connection_strings.lightning import LightningClient
    from flash_driver.cli.failures import Exit
    from flash_driver.cli.output import Output
    from flash_driver.client import FlashLightningClient

__all__ = ["flash_client", "run_with_client"]


def run_with_client(
    output: Output, given: str | None, file: str | None, work: Callable[[LightningClient], Awaitable[Exit]]
) -> Exit:
    """Make a client of the connection string, let `work` use it, and close it.

    Raises:
        BadUsage: There is no connection string.
        LightningError: What the client raised.

    """
    text = connection_text(given, file, output)

    async def run() -> Exit:
        async with LightningClientFactory().create(text) as client:
            return await work(client)

    with log_to(output):
        return asyncio.run(run())


def flash_client(client: LightningClient) -> FlashLightningClient | None:
    """Return the client as Flash's, which can do more than the contract says; None for one of another driver."""
    from flash_driver.client import FlashLightningClient  # noqa: PLC0415 - the driver is loaded by the factory

    return client if isinstance(client, FlashLightningClient) else None
