"""The least that moving an operation costs on picows, which reads and writes frames in C."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from flash_driver.transports.websocket.protocol import SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

__all__ = ["floor"]


@contextlib.asynccontextmanager
async def floor(
    url: str, headers: Mapping[str, str], init: bytes, text: bytes
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Yield a call that sends one text and waits for its answer: no JSON, ids or deadline.

    Args:
        url: Where the server is.
        headers: The credential.
        init: The first message, which the server acknowledges.
        text: What each call sends; an answer to it is followed by a `complete`.

    """
    offered = {**headers, "Sec-WebSocket-Protocol": SUBPROTOCOL}
    transport, reader = await ws_connect(_Reader, url, extra_headers=offered, max_redirects=0)
    assert isinstance(reader, _Reader)

    async def ask(message: bytes) -> None:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reader.waiting.append(answered)
        transport.send(WSMsgType.TEXT, message)
        await answered

    try:
        await ask(init)
        reader.acknowledged = True
        yield lambda: ask(text)
    finally:
        transport.disconnect(graceful=False)
        await transport.wait_disconnected()


class _Reader(WSListener):
    """Tells the caller that has waited longest of each answer."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.acknowledged = False
        self._over = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002 - as picows calls it
        """Read a message, with the copy of its text that every reader makes."""
        frame.get_payload_as_utf8_text()
        if self.acknowledged:
            self._over = not self._over
        if not (self.acknowledged and self._over):  # a `complete` follows each answer
            self.waiting.popleft().set_result(None)
