"""Starts the server in tests/peers/server: graphql-ws, ws and graphql, as Flash runs them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from flash_driver.sandbox.bank.signer import InvoiceSigner, SignedInvoice
from flash_driver.transports.websocket.handshake import Endpoint
from tests.support.locks import alone
from tests.support.sockets import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["NodePeer", "install", "running"]

HOME: Final = Path(__file__).parents[1] / "peers" / "server"
TOKEN: Final = "ory_st_peer"
_LOCK: Final = Path(__file__).parents[2] / ".cache" / "peer"
_INSTALL_SECONDS: Final = 200


class NodePeer:
    """A running server."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.server = f"http://127.0.0.1:{port}/graphql"
        self.websocket = f"ws://127.0.0.1:{port}/graphql"
        self.connection_string = f"type=flash;server={self.server};token={TOKEN};allowinsecure=true"
        self._control = f"http://127.0.0.1:{port}/control"
        self._session = session
        self._signer = InvoiceSigner()

    def endpoint(self, authorization: str = f"Bearer {TOKEN}") -> Endpoint:
        """Return where to connect, and with which credential."""
        bearer = {"Authorization": authorization}
        return Endpoint(self.websocket, bearer, bearer)

    async def hand_in(self, *msats: int) -> list[SignedInvoice]:
        """InvoiceSigner real BOLT11 invoices that the server's next creations answer with."""
        signed = [
            self._signer.sign(msat=msat, description="coffee", now=datetime.now(UTC), expiry=timedelta(seconds=60))
            for msat in msats
        ]
        rows = [{"paymentRequest": each.payment_request, "paymentHash": each.payment_hash} for each in signed]
        await self._post("invoices", {"invoices": rows})
        return signed

    async def pay(self, payment_hash: str) -> None:
        """Settle an invoice."""
        await self._post("pay", {"paymentHash": payment_hash})

    async def seen(self) -> dict[str, Any]:
        """Return what the server saw."""
        async with self._session.get(f"{self._control}/seen") as response:
            return dict(await response.json())

    async def operations(self, field: str) -> dict[str, int]:
        """Return how often a root field reached the server, by transport (zero is left out)."""
        counts = (await self.seen())["operations"].get(field, {})
        return {transport: count for transport, count in counts.items() if count}

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        async with self._session.post(f"{self._control}/{path}", json=body) as response:
            assert response.status == 200


def install() -> str:
    """Install the server's packages once, and return where Node is.

    Where that can't be done, tests are skipped; but they fail where the environment variable CI is set, because there
    they would be missed.
    """
    unfit = pytest.fail if os.environ.get("CI") else pytest.skip
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        unfit("Node.js and npm are needed for a peer that nobody here wrote")
    wanted = json.loads((HOME / "package.json").read_text())["dependencies"]
    with alone(_LOCK):
        if wanted == _installed(wanted):
            return node
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        done = subprocess.run(command, cwd=HOME, capture_output=True, check=False, timeout=_INSTALL_SECONDS)
    if wanted != _installed(wanted):
        unfit(f"npm could not install the peer's packages (exit status {done.returncode})")
    return node


def _installed(names: dict[str, str]) -> dict[str, str]:
    manifests = {name: HOME / "node_modules" / name / "package.json" for name in names}
    return {name: json.loads(path.read_text())["version"] for name, path in manifests.items() if path.exists()}


@asynccontextmanager
async def running(node: str, **options: object) -> AsyncIterator[NodePeer]:
    """Run the server; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        node,
        str(HOME / "server.mjs"),
        json.dumps({"token": TOKEN, **options}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with within():
            ready = json.loads(await process.stdout.readline())
        async with aiohttp.ClientSession() as session:
            yield NodePeer(ready["port"], session)
    finally:
        process.stdin.close()
        try:
            async with within():
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
