"""Several sockets for one token: when a further one is opened, and who goes where."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import PROBE
from flash_driver.flash_api.outcomes import Answer, Evidence
from flash_driver.transports.base import perform
from flash_driver.transports.websocket.handshake import Limits
from flash_driver.transports.websocket.transport import SocketTransport
from tests.support.sockets import Peer, Served, served, within
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CROWD = 64
LONG = 20.0


class Holding:
    """A server that keeps every question until it is told to answer."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.answering = asyncio.Event()

    async def serve(self, peer: Peer) -> None:
        """Acknowledge, note the questions, and answer them when it is time."""
        number = len(self.asked)
        self.asked.append(0)
        await peer.acknowledge()
        ids = asyncio.Queue[str]()

        async def answer() -> None:
            await self.answering.wait()
            while True:
                await peer.answer(await ids.get(), socket=number)

        answering = asyncio.create_task(answer())
        try:
            while True:
                operation_id, _ = await peer.operation()
                self.asked[number] += 1
                ids.put_nowait(operation_id)
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)


@asynccontextmanager
async def pooled(size: int) -> AsyncIterator[tuple[SocketTransport, Holding, Served]]:
    """Make a transport with that many sockets, to a server that holds its answers back."""
    holding = Holding()
    async with served(holding.serve) as server:
        transport = SocketTransport(server.endpoint(), Limits(close_timeout=0.2), size=size)
        try:
            yield transport, holding, server
        finally:
            await transport.aclose()


def ask(transport: SocketTransport, count: int) -> list[asyncio.Task[Evidence]]:
    """Ask that many questions at once."""
    return [asyncio.create_task(perform(transport, PROBE(), Deadline.after(LONG))) for _ in range(count)]


async def test_one_socket_is_enough_until_it_is_crowded() -> None:
    """A further socket is opened only when many operations wait on the one there is, and takes those that follow."""
    async with pooled(3) as (transport, holding, server):
        first = ask(transport, CROWD)
        await until(lambda: holding.asked == [CROWD])
        over = ask(transport, 1)
        await until(lambda: len(server.peers) == 2 and server.peers[1].acknowledged.is_set())
        await until(lambda: transport._managed[1].connected)
        second = ask(transport, 10)
        await until(lambda: holding.asked == [CROWD + 1, 10])
        holding.answering.set()
        async with within():
            answers = await asyncio.gather(*first, *over, *second)
    assert answers == [Answer({"socket": 0})] * (CROWD + 1) + [Answer({"socket": 1})] * 10


async def test_no_more_sockets_than_permitted() -> None:
    """Beyond the limit those that are open share what comes."""
    async with pooled(2) as (transport, holding, server):
        await transport.connection(Deadline.after(LONG))
        asked = ask(transport, CROWD + 1)
        await until(lambda: len(transport._managed) == 2 and transport._managed[1].connected)
        asked += ask(transport, 3 * CROWD)
        await until(lambda: sum(holding.asked) == 4 * CROWD + 1)
        assert len(server.peers) == 2
        assert max(holding.asked) - min(holding.asked) <= CROWD
        holding.answering.set()
        async with within():
            assert len(await asyncio.gather(*asked)) == 4 * CROWD + 1


async def test_a_crowd_makes_do_where_no_further_socket_is_to_be_had() -> None:
    """A server that takes one socket only is asked for a second once, not by each of the limit."""
    holding = Holding()

    async def one_only(peer: Peer) -> None:
        if len(server.peers) > 1:
            await peer.socket.close(1013)
        else:
            await holding.serve(peer)

    async with served(one_only) as server:
        transport = SocketTransport(server.endpoint(), Limits(close_timeout=0.2), size=4)
        await transport.connection(Deadline.after(LONG))
        asked = ask(transport, CROWD + 1)
        await until(lambda: len(server.peers) == 2)
        await until(lambda: transport._managed[1]._failed_at is not None)
        asked += ask(transport, 50)
        await until(lambda: holding.asked == [CROWD + 51])
        holding.answering.set()
        async with within():
            assert await asyncio.gather(*asked) == [Answer({"socket": 0})] * (CROWD + 51)
        assert len(server.peers) <= 4
        await transport.aclose()


async def test_widening_never_narrows() -> None:
    """Who asks for fewer sockets than others leaves theirs alone."""
    async with pooled(1) as (transport, _, _):
        transport.widen(3)
        transport.widen(2)
        assert len(transport._managed) == 3
