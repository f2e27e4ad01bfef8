"""What tests of checkouts do again and again: open one, look at its page, hear its stream."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.lightning_host.hosts import RunningHost

__all__ = ["CHECKOUTS", "KEY", "PageStream", "browser", "open_checkout", "press_pay", "stream", "token_in"]

KEY = {"Authorization": "token api-key-of-the-shop"}
CHECKOUTS = "/api/v1/stores/shop/checkouts"


class PageStream:
    """The stream of states that a page hears."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def state(self) -> dict[str, Any]:
        """Wait for the next state."""
        async with asyncio.timeout(20):
            event = b""
            async for line in self._response.content:
                if line.startswith(b"event: "):
                    event = line.strip()
                if line.startswith(b"data: ") and event == b"event: state":
                    told: dict[str, Any] = json.loads(line[6:])
                    return told
        raise AssertionError("the stream ended")

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Wait for a state with these values."""
        while True:
            state = await self.state()
            if all(state[name] == value for name, value in wanted.items()):
                return state


async def open_checkout(host: RunningHost, amount: str = "21000000", **fields: Any) -> dict[str, Any]:
    """Open a checkout as a shop does."""
    status, checkout = await host.request("POST", CHECKOUTS, json={"amount": amount, **fields}, headers=KEY)
    assert status == 200, checkout
    assert isinstance(checkout, dict)
    return checkout


@asynccontextmanager
async def stream(host: RunningHost, checkout_id: str) -> AsyncIterator[PageStream]:
    """Hear a checkout's stream while the block runs."""
    async with host.session.get(f"{host.url}/checkout/{checkout_id}/events") as response:
        assert response.status == 200
        yield PageStream(response)


def token_in(html: str) -> str:
    """Read the token of the first form of a page."""
    found = re.search(r'name="form_token" value="([^"]+)"', html)
    assert found is not None, html
    return found[1]


@asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session that keeps cookies as a browser does, also those of addresses without a name."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def press_pay(host: RunningHost, checkout_id: str) -> int:
    """Press the sandbox's button as a browser does; gives the status of the answer."""
    url = f"{host.url}/checkout/{checkout_id}"
    async with browser() as session:
        async with session.get(url) as page:
            form = {"form_token": token_in(await page.text())}
        async with session.post(f"{url}/pay", data=form, allow_redirects=False) as answer:
            return answer.status
