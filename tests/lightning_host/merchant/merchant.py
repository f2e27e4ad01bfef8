"""A browser of a merchant, for tests: logs in, reads pages, sends their forms."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.lightning_host.hosts import API_KEY, eventually
from tests.support.checkouts import browser, open_checkout, token_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from connection_strings import LightMoney
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import RunningHost

__all__ = ["READ_KEY", "Merchant", "logged_in", "paid", "sold", "zone_at_noon"]

READ_KEY = "key-that-only-reads"


class Merchant:
    """One browser."""

    def __init__(self, host: RunningHost, session: aiohttp.ClientSession) -> None:
        self.host = host
        self.session = session

    async def get(self, path: str, **query: str) -> tuple[int, str]:
        """Read a page."""
        async with self.session.get(f"{self.host.url}{path}", params=query, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **form: str) -> tuple[int, str]:
        """Send a form; gives status and where it leads."""
        url = f"{self.host.url}{path}"
        async with self.session.post(url, data=form, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location", "")

    async def log_in(self, key: str, *, changes: bool = False) -> int:
        """Send the form to log in; gives the status of the answer."""
        _, page = await self.get("/merchant")
        form = {"form_token": token_in(page), "key": key, **({"changes": "yes"} if changes else {})}
        return (await self.post("/merchant", **form))[0]


@asynccontextmanager
async def logged_in(host: RunningHost, key: str = API_KEY, *, changes: bool = False) -> AsyncIterator[Merchant]:
    """Give a browser that is logged in."""
    async with browser() as session:
        merchant = Merchant(host, session)
        assert await merchant.log_in(key, changes=changes) == 303
        yield merchant


async def paid(host: RunningHost, node: FakeNode, payment_hash: str, amount: LightMoney | None = None) -> None:
    """Pay an invoice, and wait until the host has recorded it."""
    before = (await host.get("/metrics"))[1]
    await node.pay(payment_hash, amount)

    async def recorded() -> bool:
        return _settled((await host.get("/metrics"))[1]) > _settled(before)

    await eventually(recorded)


async def sold(host: RunningHost, node: FakeNode, amount: str = "21000000", **fields: str) -> str:
    """Open a checkout and pay it; gives its id."""
    checkout = await open_checkout(host, amount, **fields)
    await paid(host, node, checkout["paymentHash"])
    return str(checkout["id"])


def zone_at_noon() -> str:
    """Return a time zone in which it is about noon: no day and no month ends while a test runs."""
    ahead = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "UTC"


def _settled(metrics: str) -> float:
    lines = [line for line in metrics.splitlines() if line.startswith("lightning_host_settlements_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
