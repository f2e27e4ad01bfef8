"""A workbench for tests of the host: hosts on loopback, each with a database and an HTTP session of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from connection_strings import LightningClientFactory, Secret
from lightning_host.server.serve import serving
from lightning_host.settings import HostSettings
from tests.lightning_host.fake_driver import FakeHandler, FakeNode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from flash_driver.sandbox import Sandbox

__all__ = ["API_KEY", "PASSWORD", "HostBench", "RunningHost", "eventually"]

API_KEY = "api-key-of-the-shop"
PASSWORD = "password-of-phoenixd"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something that only can be asked for is so; bounded."""
    async with asyncio.timeout(40):
        while not await condition():  # noqa: ASYNC110 - asks another process or a database, which set no event
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class RunningHost:
    """A host that serves, and a session to talk to it."""

    settings: HostSettings
    session: aiohttp.ClientSession
    stack: AsyncExitStack

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.settings.port}"

    async def stop(self) -> None:
        """Stop serving."""
        await self.stack.aclose()

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Make a request; gives status and JSON (or text)."""
        async with self.session.request(method, f"{self.url}{path}", **options) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """GET a path."""
        return await self.request("GET", path, **options)

    async def greenfield(self, method: str, path: str, body: Any = None, *, key: str = API_KEY) -> tuple[int, Any]:
        """Call the Greenfield API of the shop."""
        base = f"/api/v1/stores/shop/lightning/BTC{path}"
        return await self.request(method, base, json=body, headers={"Authorization": f"token {key}"})

    async def phoenixd(self, method: str, path: str, form: Any = None, *, password: str = PASSWORD) -> tuple[int, Any]:
        """Call the phoenixd-compatible API."""
        auth = {"Authorization": aiohttp.encode_basic_auth("", password)}
        return await self.request(method, path, data=form, headers=auth)

    async def healthy(self) -> None:
        """Wait until the host hears of settlements."""

        async def all_listening() -> bool:
            return (await self.get("/health"))[0] == 200

        await eventually(all_listening)


class HostBench:
    """Starts hosts; all of them end with the test."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    async def host(
        self, wallet: Sandbox | FakeNode, *, database: str | None = None, wait: bool = True, **settings: Any
    ) -> RunningHost:
        """Start a host in front of a sandbox or a fake node; gives it once it hears of settlements."""
        string = f"type=fake;node={wallet.name}" if isinstance(wallet, FakeNode) else wallet.connection_string
        factory = LightningClientFactory([FakeHandler]) if isinstance(wallet, FakeNode) else LightningClientFactory()
        return await self.host_of(string, factory, database=database, wait=wait, **settings)

    async def host_of(
        self,
        string: str,
        factory: LightningClientFactory | None = None,
        *,
        database: str | None = None,
        wait: bool = True,
        **settings: Any,
    ) -> RunningHost:
        """Start a host with a connection string, and the drivers that are installed unless given others."""
        given = HostSettings(
            **{
                "connection_string": string,
                "port": 0,
                "api_key": API_KEY,
                "phoenixd_password": PASSWORD,
                "database_url": database or self.sqlite(),
                **settings,
            }
        )
        stack = await self._stack.enter_async_context(AsyncExitStack())
        bound = await stack.enter_async_context(serving(given, factory))
        running = RunningHost(bound, await stack.enter_async_context(aiohttp.ClientSession()), stack)
        if wait:
            await running.healthy()
        return running

    def sqlite(self, name: str = "host") -> str:
        """Return the URL of a SQLite database of this test."""
        return f"sqlite+aiosqlite:///{self._folder / name}.sqlite3"

    def secret(self, name: str = "host") -> Secret:
        """Return the same URL as a secret."""
        return Secret(self.sqlite(name))
