"""Whose request it is: seen by a real server, over connections from several addresses of the loopback network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp
import pytest
from aiohttp import web

from lightning_host.client_address import client_key, read_address, read_networks
from tests.support.serving import serving_any_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Ask = Callable[..., Awaitable[str]]

PROXIES: Final = read_networks("127.0.0.1, 10.0.0.0/8")


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Give a function that asks a server whom it takes the client for."""

    async def tell(request: web.Request) -> web.Response:
        return web.Response(text=client_key(request, PROXIES))

    async with serving_any_path(tell) as port:
        url = f"http://127.0.0.1:{port}/"

        async def ask_from(address: str, *forwarded: str) -> str:
            connector = aiohttp.TCPConnector(local_addr=(address, 0))
            sent = [("X-Forwarded-For", line) for line in forwarded]
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get(url, headers=sent) as response,
            ):
                return await response.text()

        yield ask_from


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ((), "127.0.0.1"),
        (("192.0.2.7",), "192.0.2.7"),
        (("192.0.2.7:1234",), "192.0.2.7"),
        (("198.51.100.1, 192.0.2.7",), "192.0.2.7"),
        (("192.0.2.7, 10.1.1.1 ,10.2.2.2",), "192.0.2.7"),
        (("198.51.100.1", "192.0.2.7, 10.1.1.1"), "192.0.2.7"),
        (("10.1.1.1, 10.2.2.2",), "10.1.1.1"),
        (("192.0.2.7, unknown",), "127.0.0.1"),
        (("192.0.2.7, <script>, 10.1.1.1",), "10.1.1.1"),
        (("",), "127.0.0.1"),
        (("192.0.2.7," * 5 + "10.1.1.1," * 30,), "127.0.0.1"),
        (("2001:db8:1:2:3:4:5:6",), "2001:db8:1:2::/64"),
        (("[2001:db8:1:2:aaaa::1]:443",), "2001:db8:1:2::/64"),
        (("::ffff:192.0.2.7",), "192.0.2.7"),
    ],
)
async def test_trusted_proxy_is_believed(ask: Ask, forwarded: tuple[str, ...], client: str) -> None:
    """From the right, past trusted proxies, the first other address is the client; what is none ends the search."""
    assert await ask("127.0.0.1", *forwarded) == client


async def test_anybody_else_is_not_believed(ask: Ask) -> None:
    """A client that is no trusted proxy can't make itself another one."""
    assert await ask("127.0.0.2", "192.0.2.7") == "127.0.0.2"
    assert await ask("127.0.0.2", "127.0.0.1") == "127.0.0.2"


@pytest.mark.parametrize("text", ["", "nobody", "1.2.3", "1.2.3.4.5", "[::1", "::1::", "1.2.3.4:5:6", "127.1"])
def test_what_is_no_address(text: str) -> None:
    """Anything but an address, perhaps with a port, is none; an open bracket harms nobody."""
    assert read_address(text) in (None, read_address("::1"))
