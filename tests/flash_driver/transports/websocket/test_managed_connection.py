"""One connection that is kept: what opens it, who shares it, what closes it. More of it in test_websocket.py."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import PROBE
from flash_driver.flash_api.outcomes import Answer
from flash_driver.transports.websocket.handshake import ConnectionFailed, Limits
from flash_driver.transports.websocket.transport import ManagedConnection
from tests.support.sockets import Peer, served, within
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.sockets import Served


def soon() -> Deadline:
    """Return a deadline that a working driver never sees."""
    return Deadline.after(20)


@asynccontextmanager
async def managed_to(server: Served, limits: Limits | None = None) -> AsyncIterator[ManagedConnection]:
    """Make a managed, and close it after the block."""
    managed = ManagedConnection(server.endpoint(), limits or Limits(close_timeout=0.2))
    try:
        yield managed
    finally:
        await managed.aclose()


async def test_all_who_need_it_share_one_attempt() -> None:
    """Many who come at once open one connection, and one who leaves takes it from nobody."""
    async with served(Peer.serve_for_ever) as server, managed_to(server) as managed:
        asking = [asyncio.create_task(managed.connection(soon())) for _ in range(20)]
        await asyncio.sleep(0)
        asking[0].cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        connections = {id(await task) for task in asking[1:]}
        assert len(connections) == len(server.peers) == managed.times_connected == 1
        assert managed.connected
        assert managed.ready() is await managed.connection(soon())


async def test_opening_ahead_makes_it_ready() -> None:
    """A caller that expects others opens the connection for it, once."""
    async with served(Peer.serve_for_ever) as server, managed_to(server) as managed:
        for _ in range(3):
            managed.open_ahead()
        await until(lambda: managed.connected)
        managed.open_ahead()
        assert len(server.peers) == 1


async def test_opening_ahead_is_not_tried_again_at_once() -> None:
    """A connection that others can do without is not knocked for again and again; one that is needed is."""

    async def refuse(peer: Peer) -> None:
        await peer.socket.close(1013)

    async with served(refuse) as server, managed_to(server) as managed:
        managed.open_ahead()
        await until(lambda: managed._failed_at is not None)
        managed.open_ahead()
        await asyncio.sleep(0.05)
        assert len(server.peers) == 1
        with pytest.raises(ConnectionFailed, match="closed with code 1013"):
            await managed.connection(soon())
        assert len(server.peers) == 2


async def test_counts_what_is_in_flight() -> None:
    """How crowded it is shows in the operations that wait for their answers."""

    async def late(peer: Peer) -> None:
        await peer.acknowledge()
        ids = [(await peer.operation())[0] for _ in range(3)]
        await peer.socket.recv()
        for operation_id in ids:
            await peer.answer(operation_id, a=1)
        await peer.socket.wait_closed()

    async with served(late) as server, managed_to(server) as managed:
        assert managed.in_flight == 0
        connection = await managed.connection(soon())
        asking = [asyncio.create_task(connection.request(PROBE().written, soon())) for _ in range(3)]
        await until(lambda: managed.in_flight == 3)
        subscription = await connection.subscribe(PROBE().written, soon())
        async with within():
            assert await asyncio.gather(*asking) == [Answer({"a": 1})] * 3
        assert managed.in_flight == 0
        await subscription.aclose()


async def test_unused_it_closes_by_itself() -> None:
    """After a while without use the socket is closed, and the next use opens another."""
    async with served(Peer.serve_for_ever) as server, managed_to(server, Limits(idle_timeout=0.1)) as managed:
        await managed.connection(soon())
        await until(lambda: not managed.connected)
        await managed.connection(soon())
        assert managed.times_connected == 2
