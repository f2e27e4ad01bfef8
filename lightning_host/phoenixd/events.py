"""`/websocket`: tells of each settled invoice, those first that came while no client was connected.

A store's clients share one mark: the number of the last settlement that a client certainly has. It moves when a client
has answered the ping behind a message, for what was written into a dead connection was told to nobody. So a settlement
may be told more than once: after a connection that broke before its pong, and to a second client of the same store,
which hears again what the first one has not confirmed. LNbits takes repetitions, BTCPay ignores them.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from lightning_host.host import HOST
from lightning_host.phoenixd.invoices import PURPOSE
from lightning_host.phoenixd.table import PhoenixdTable
from lightning_host.phoenixd.values import settled_event
from lightning_host.web.api_access import offered_protocols
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from lightning_host.settlements.subscription import Subscription
    from lightning_host.stores import Store

__all__ = ["tell_events"]

_HEARTBEAT_SECONDS: Final = 20.0
_LARGEST_MESSAGE: Final = 4096


async def tell_events(request: web.Request, store: Store) -> web.WebSocketResponse:
    """Tell of settled invoices until the client hangs up, or this replica can't tell any more."""
    host = request.app[HOST]
    if not host.settlements.telling:
        raise ProblemError.make(503, "not-ready", "this replica can't tell of settlements now; try again")
    marks = PhoenixdTable(host.database)
    socket = web.WebSocketResponse(
        heartbeat=_HEARTBEAT_SECONDS,
        autoping=False,
        max_msg_size=_LARGEST_MESSAGE,
        # One may be the password: aiohttp logs what a client offers where none is chosen, and a browser hangs up.
        protocols=offered_protocols(request),
    )
    told = await marks.told(store)
    if told is None:
        told = await host.settlements.last_number()
        await marks.keep_told(store, told)
    async with host.settlements.subscribe(store.id, purpose=PURPOSE, after=told) as settled:
        await socket.prepare(request)
        pinged: set[bytes] = set()
        telling = asyncio.create_task(_tell(socket, settled, pinged), name=f"tell phoenixd clients of {store.id}")
        try:
            async for message in socket:  # clients say nothing but this; it ends when they hang up
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.PONG and bytes(message.data) in pinged:
                    number = int(message.data)
                    pinged.difference_update([each for each in pinged if int(each) <= number])
                    # To its end even when the client hangs up now.
                    await host.background.run(marks.keep_told(store, number))
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
    return socket


async def _tell(socket: web.WebSocketResponse, settled: Subscription, pinged: set[bytes]) -> None:
    """Send each settlement, and behind the last of those at hand a ping that carries its number; `pinged` gets it."""
    try:
        async for settlement in settled:
            await socket.send_str(json.dumps(settled_event(settlement)))
            if not settled.more:
                number = str(settlement.number).encode()
                pinged.add(number)
                await socket.ping(number)
    finally:
        await socket.close(code=1001, message=b"connect again, perhaps to another replica")
