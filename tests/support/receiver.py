"""A server that webhooks are sent to: remembers what came, and answers as it is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from tests.support.serving import serving_any_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Received", "Receiver"]


@dataclass(frozen=True)
class Received:
    """One request.

    Attributes:
        peer: The address that it came from: the same for what came over one connection.

    """

    peer: object
    path: str
    signature: str
    raw: bytes
    body: dict[str, Any]


@dataclass
class Receiver:
    """What came, and how it is answered.

    Attributes:
        answers: The statuses of the next answers; then 200. Zero hangs up.
        never: While given and not set, nothing is answered.

    """

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    never: asyncio.Event | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[Self]:
        """Serve while the block runs."""
        receiver = cls()
        async with serving_any_path(receiver._take) as port:
            receiver.url = f"http://127.0.0.1:{port}/hook"
            yield receiver

    async def until(self, count: int) -> list[Received]:
        """Wait until that many requests have come."""
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def _take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")
        taken = Received(peer, request.path, request.headers["BTCPay-Sig"], raw, await request.json())
        async with self.changed:
            self.received.append(taken)
            self.changed.notify_all()
        if self.never is not None:
            await self.never.wait()
        status = self.answers.pop(0) if self.answers else 200
        if status == 0:
            request.transport.abort()
        headers = {"Location": "/elsewhere"} if 300 <= status < 400 else None
        return web.Response(status=status or 200, headers=headers)
