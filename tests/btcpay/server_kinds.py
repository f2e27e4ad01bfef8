"""Many kinds of Flash server behind one host, with a store of BTCPay for each: a further kind costs a sandbox only."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flash_driver.sandbox import Sandbox, SandboxOptions
from tests.btcpay.shop import Shop, wait_until_healthy
from tests.lightning_host.programs import host_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.btcpay.kit import BtcPay

__all__ = ["BUDGET", "KINDS", "Kind", "open_shops"]

BUDGET: Final = 5
"""How many invoices in two minutes the host asks each server for."""

_START_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Kind:
    """A kind of server, and how a merchant is connected to it.

    Attributes:
        options: How the sandbox behaves.
        more: What is appended to the connection string.
        api_key: Whether the credential is an API key instead of a session token.

    """

    options: SandboxOptions
    more: str = ""
    api_key: bool = False

    def connection_string(self, sandbox: Sandbox) -> str:
        """Return the line that the host is configured with."""
        credential = sandbox.api_key if self.api_key else sandbox.token
        return f"type=flash;server={sandbox.server};token={credential};allowinsecure=true{self.more}"


KINDS: Final = {
    "accept-bearer": Kind(SandboxOptions(ws_mutations="accept", http_bearer="accept")),
    "accept-reject": Kind(SandboxOptions(ws_mutations="accept", http_bearer="reject")),
    "decline-bearer": Kind(SandboxOptions(ws_mutations="decline", http_bearer="accept")),
    "decline-reject": Kind(SandboxOptions(ws_mutations="decline", http_bearer="reject")),
    "close-bearer": Kind(SandboxOptions(ws_mutations="close", http_bearer="accept")),
    "close-reject": Kind(SandboxOptions(ws_mutations="close", http_bearer="reject")),
    "api-key": Kind(SandboxOptions(), api_key=True),
    "usdt": Kind(SandboxOptions(wallets=("USDT",))),
    "btc": Kind(SandboxOptions(btc_wallet=True), more=";currency=BTC"),
    "custodian-1s": Kind(SandboxOptions(custodian_seconds=1)),
    "custodian-4s": Kind(SandboxOptions(custodian_seconds=4)),
    "small-budget": Kind(SandboxOptions()),
    "blocks": Kind(SandboxOptions(rate_limit="1/120")),
}
"""Every kind by its name, which is its store's at the host, too."""


@contextmanager
def open_shops(btcpay: BtcPay, folder: Path) -> Iterator[dict[str, Shop]]:
    """Start a sandbox for each kind, and one host in front of all of them; gives the shops by kind."""
    with ExitStack() as stack:
        sandboxes = stack.enter_context(_running(kind.options for kind in KINDS.values()))
        stores = {
            name: {
                "connection_string": kind.connection_string(sandbox),
                "phoenixd_password": f"phoenixd-password-of-{name}",
            }
            for (name, kind), sandbox in zip(KINDS.items(), sandboxes, strict=True)
        }
        first, *_ = stores.values()
        host = host_program(
            folder,
            first["connection_string"],
            LIGHTNING_HOST_STORES=json.dumps(stores),
            FLASH_INVOICE_BUDGET=f"{BUDGET}/120",
        )
        del host.environment["LIGHTNING_HOST_CONNECTION_STRING"]
        stack.enter_context(host.running())
        wait_until_healthy(host.url)

        def open_shop(name: str, sandbox: Sandbox) -> Shop:
            store = btcpay.new_store(host.url, stores[name]["phoenixd_password"])
            return Shop(btcpay, store, sandbox.control, [host])

        with ThreadPoolExecutor(4) as threads:
            shops = list(threads.map(open_shop, KINDS, sandboxes))
        yield dict(zip(KINDS, shops, strict=True))


@contextmanager
def _running(options: Iterable[SandboxOptions]) -> Iterator[list[Sandbox]]:
    """Run sandboxes on an event loop of their own, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandboxes")
    thread.start()

    sandboxes = [Sandbox(each) for each in options]

    async def start() -> None:
        for sandbox in sandboxes:
            await sandbox.start()

    async def stop() -> None:
        for sandbox in sandboxes:
            await sandbox.aclose()

    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result(_START_SECONDS)
        yield sandboxes
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(_START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
