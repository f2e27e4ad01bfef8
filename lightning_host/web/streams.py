"""Server-sent events: pages that hear of a payment without asking again.

A stream carries whole states, never differences: a client that misses some, or comes back, needs only the last one. So
nothing piles up for a slow client; one that takes nothing for a while is cut off, and its browser comes back by itself.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from lightning_host.client_address import client_key
from lightning_host.web.concurrency_limit import RETRY_SECONDS, ConcurrencyLimit, TooMany
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from lightning_host.client_address import Network

__all__ = ["STREAMS", "EventStream", "EventStreams"]

_HEARTBEAT_SECONDS: Final = 15.0
_WRITE_SECONDS: Final = 10.0
_RETRY_MS: Final = 2_000
_TOO_MANY: Final = {
    TooMany.OF_CLIENT: "too many pages are open at your address; try again soon",
    TooMany.IN_ALL: "too many pages are open; try again soon",
}


class EventStream:
    """One open stream to one page.

    Attributes:
        response: What the handler returns at the end.

    """

    def __init__(self, response: web.StreamResponse, request: web.Request, write_seconds: float) -> None:
        self.response = response
        self._request = request
        self._write_seconds = write_seconds

    async def send(self, event: str, data: dict[str, Any]) -> None:
        """Send an event.

        Raises:
            ConnectionError: The client has gone, or takes nothing.

        """
        await self._write(f"event: {event}\ndata: {json.dumps(data)}\n\n")

    async def until(self, change: asyncio.Event) -> None:
        """Wait for a change, with a sign of life now and then so that proxies keep the connection."""
        while True:
            try:
                async with asyncio.timeout(_HEARTBEAT_SECONDS):
                    await change.wait()
            except TimeoutError:
                await self._write("event: alive\ndata: {}\n\n")  # a page sees by it that the host is there
            else:
                return

    async def _write(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._write_seconds):
                await self.response.write(text.encode())
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("the client takes nothing") from None


class EventStreams:
    """The streams of one process, bounded in number.

    Args:
        limit: How many there may be at once, in all and of one client.
        proxies: Who is believed when it tells whose request it is.
        write_seconds: How long a client may take nothing before it is cut off.

    """

    def __init__(
        self, limit: ConcurrencyLimit, proxies: Sequence[Network] = (), *, write_seconds: float = _WRITE_SECONDS
    ) -> None:
        self._limit = limit
        self._proxies = proxies
        self._write_seconds = write_seconds
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def open_count(self) -> int:
        """How many are open."""
        return len(self._tasks)

    def close(self) -> None:
        """End every stream: the host closes, and browsers go to another replica."""
        for task in self._tasks:
            task.cancel()

    @asynccontextmanager
    async def open(self, request: web.Request) -> AsyncIterator[EventStream]:
        """Begin a stream; it is open while the block runs.

        Raises:
            ProblemError: The client has too many (429), or there are too many (503).

        """
        client = client_key(request, self._proxies)
        refused = self._limit.enter(client)
        if refused is not None:
            wait = {"Retry-After": str(RETRY_SECONDS)}
            raise ProblemError.make(refused.value, "too-many-streams", _TOO_MANY[refused], headers=wait)
        task = asyncio.current_task()
        assert task is not None, "a request is handled in a task"  # noqa: S101 - says so to the type checker
        self._tasks.add(task)
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
            await response.prepare(request)
            stream = EventStream(response, request, self._write_seconds)
            await stream._write(f"retry: {_RETRY_MS}\n\n")  # noqa: SLF001 - of this very module
            yield stream
        finally:
            self._tasks.discard(task)
            self._limit.leave(client)


STREAMS: Final = web.AppKey("streams", EventStreams)
"""Where an application keeps its streams."""
