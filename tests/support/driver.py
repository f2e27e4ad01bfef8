"""A workbench for tests of the driver: sandboxes and clients, each with a pool of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connection_strings import ConnectionString
from flash_driver.accounts.pool import Pool
from flash_driver.client import FlashLightningClient
from flash_driver.sandbox import Sandbox, SandboxOptions
from flash_driver.settings.account import FlashSettings
from flash_driver.settings.process import ProcessSettings

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from flash_driver.accounts.timing import Timing

__all__ = ["Bench", "made", "operations"]


class Bench:
    """Starts what a test needs; all of it ends with the test.

    Args:
        stack: Ends what was started.
        ws_mutations: What becomes of a query or mutation on the socket, unless a test says so itself.

    """

    def __init__(self, stack: AsyncExitStack, ws_mutations: str = "accept") -> None:
        self._stack = stack
        self._defaults: dict[str, Any] = {"rate_limit": "off", "ws_mutations": ws_mutations}

    async def sandbox(self, **options: Any) -> Sandbox:
        """Start a sandbox; the invoice rate limit is off unless asked for."""
        return await self._stack.enter_async_context(Sandbox(SandboxOptions(**{**self._defaults, **options})))

    async def client(
        self,
        sandbox: Sandbox | str,
        pool: Pool | None = None,
        process: ProcessSettings | None = None,
        timing: Timing | None = None,
        **keys: str,
    ) -> FlashLightningClient:
        """Make a client for a sandbox or connection string, with further keys (`_` for `-`), and no invoice budget.

        A pool that is given has a timing of its own.
        """
        text = sandbox if isinstance(sandbox, str) else sandbox.connection_string
        parsed = ConnectionString.parse(text)
        values = {**parsed.values, **{key.replace("_", "-"): value for key, value in keys.items()}}
        string = ConnectionString(parsed.type, values)
        settings = FlashSettings.from_connection_string(string)
        made = FlashLightningClient(settings, process or ProcessSettings(invoice_budget=None), pool or Pool(timing))
        return await self._stack.enter_async_context(made)


def operations(sandbox: Sandbox, field: str) -> dict[str, int]:
    """Return how often a root field reached the server, by transport (zero is left out)."""
    counts = sandbox.ledger_snapshot()["operations"].get(field, {})
    return {transport: count for transport, count in counts.items() if transport in ("websocket", "http") and count}


def made(sandbox: Sandbox, msat: int) -> list[dict[str, Any]]:
    """Return the invoices over this very amount, as the ledger lists them; others may have taught the rate."""
    return [invoice for invoice in sandbox.ledger_snapshot()["invoices"] if invoice["msat"] == msat]
