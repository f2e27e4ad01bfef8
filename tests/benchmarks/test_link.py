"""The link that takes its time, spoken to directly."""

from __future__ import annotations

import asyncio

import pytest

from tests.benchmarks.children import Child

ONE_WAY = 0.03


@pytest.mark.parametrize("size", [1, 1_000_000])
async def test_bytes_arrive_whole_in_order_and_not_before_their_time(size: int) -> None:
    """What goes there and back is the same and takes at least both ways, at first a round trip more; the end passes."""
    sent, ended = bytes(range(256)) * (size // 256 + 1), asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
        await writer.wait_closed()
        ended.set()

    clock = asyncio.get_running_loop().time
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with Child("tests.benchmarks.link", str(port), "--one-way-seconds", str(ONE_WAY)) as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", (await asyncio.to_thread(link.hear))["port"])
            for round_trips in (2, 1):
                began = clock()
                writer.write(sent)
                assert await reader.readexactly(len(sent)) == sent
                assert clock() - began >= 2 * ONE_WAY * round_trips
            writer.close()
            await writer.wait_closed()
            await ended.wait()
