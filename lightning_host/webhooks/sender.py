"""Sends what is queued for webhooks, at least once each: again after ever longer pauses until it is answered with 2xx.

Each replica sends; a delivery is claimed before it is sent, and claimed anew by another replica if the first one dies
with it. The receiver tells repetitions by `deliveryId`.

What is over is kept for a while, so that it can be looked at and sent again, and then deleted, little by little.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import aiohttp
from sqlalchemy.exc import SQLAlchemyError

from lightning_host.webhooks.network import ForbiddenAddressError, webhook_connector
from lightning_host.webhooks.table import WebhookTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lightning_host.host import Host
    from lightning_host.stores import Store
    from lightning_host.webhooks.records import Delivery, Webhook

__all__ = ["WebhookSender", "pauses", "signature"]

_log: Final = logging.getLogger("lightning_host")
_TICK_SECONDS: Final = 1.0
_SEND_SECONDS: Final = 10.0
_CLAIM_SECONDS: Final = 15.0  # longer than an attempt may take
_AT_ONCE: Final = 20
_SWEEP_SECONDS: Final = 3600.0
_SWEPT_AT_ONCE: Final = 500
_ATTEMPTS: Final = 10
_LONGEST_PAUSE: Final = 6 * 3600.0
_GROWTH: Final = 6


def pauses(first: float) -> list[float]:
    """Return how long to wait after each failed attempt: with 10 s first, ten attempts within a day and a half."""
    return [min(first * _GROWTH**number, _LONGEST_PAUSE) for number in range(_ATTEMPTS - 1)]


def signature(webhook: Webhook, body: bytes) -> str:
    """Return the value of `BTCPay-Sig`: the HMAC-SHA-256 of the body under the webhook's secret, as BTCPay makes it."""
    return f"sha256={hmac.new(webhook.secret.reveal().encode(), body, hashlib.sha256).hexdigest()}"


class WebhookSender:
    """Sends for one process."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._rows = WebhookTable(host.database)
        self._pauses = pauses(host.settings.webhook_first_pause)
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send while the block runs."""
        tasks = [asyncio.create_task(self._follow(store)) for store in self._host.stores]
        tasks.append(asyncio.create_task(self._run(), name="send webhooks"))
        tasks.append(asyncio.create_task(self._sweep(), name="sweep webhooks"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, store: Store) -> None:
        while True:
            async with self._host.settlements.subscribe(store.id) as settled:
                async for _ in settled:
                    self._wake.set()
            await asyncio.sleep(_TICK_SECONDS)  # the subscription was cut off, or the host is closing

    async def _run(self) -> None:
        private = self._host.settings.webhook_private_addresses
        timeout = aiohttp.ClientTimeout(total=_SEND_SECONDS)
        connector = webhook_connector(private=private)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
            while True:
                self._wake.clear()
                ended: list[float] = []
                try:
                    claimed = await self._rows.claim(_CLAIM_SECONDS, limit=_AT_ONCE)
                    ended = await asyncio.gather(*(self._deliver(session, delivery) for delivery in claimed))
                except (SQLAlchemyError, OSError):
                    _log.warning("webhooks can't be read from the database; trying again")
                if len(ended) < _AT_ONCE:
                    await self._wait(min(ended, default=_TICK_SECONDS))

    async def _sweep(self) -> None:
        """Delete old deliveries now and then; a full sweep is followed by another at once, and others get a turn."""
        keep = timedelta(days=self._host.settings.webhook_keep_days)
        while True:
            swept = 0
            try:
                swept = await self._rows.prune(keep, limit=_SWEPT_AT_ONCE)
            except (SQLAlchemyError, OSError):
                _log.warning("old deliveries of webhooks can't be deleted from the database; trying again")
            await asyncio.sleep(_TICK_SECONDS if swept == _SWEPT_AT_ONCE else _SWEEP_SECONDS)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, _TICK_SECONDS)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _deliver(self, session: aiohttp.ClientSession, delivery: Delivery) -> float:
        """Make one attempt; gives how long the sender may sleep as far as this delivery goes."""
        webhook = await self._rows.find(delivery.webhook)
        if webhook is None:  # removed while a settlement queued this one: nobody is there to be told
            await self._rows.finish(delivery, http_status=None, problem="the webhook was removed", pause=None)
            return _TICK_SECONDS
        http_status, problem = await self._send(session, webhook, delivery)
        pause = self._pauses[delivery.attempts] if delivery.attempts < len(self._pauses) else None
        await self._rows.finish(delivery, http_status=http_status, problem=problem, pause=pause)
        if problem is not None:
            after = "given up" if pause is None else f"again in {pause:.0f} s"
            _log.warning("webhook %s of store %s: %s; %s", webhook.id, webhook.store, problem, after)
        return _TICK_SECONDS if problem is None or pause is None else pause

    @staticmethod
    async def _send(
        session: aiohttp.ClientSession, webhook: Webhook, delivery: Delivery
    ) -> tuple[int | None, str | None]:
        """Make one attempt; gives what it was answered, and what was wrong, if anything."""
        body = delivery.body.encode()
        headers = {"Content-Type": "application/json", "BTCPay-Sig": signature(webhook, body)}
        try:
            async with session.post(webhook.url, data=body, headers=headers, allow_redirects=False) as response:
                # Only the status counts: the answer's body is not read, however long it may be.
                good = 200 <= response.status < 300
                return response.status, None if good else f"was answered {response.status}"
        except aiohttp.ClientConnectorError as error:
            private = isinstance(error.os_error, ForbiddenAddressError)
            return None, "leads to a private address" if private else "can't be connected to"
        except ForbiddenAddressError:
            return None, "leads to a private address"
        except TimeoutError:
            return None, f"did not answer within {_SEND_SECONDS:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return None, f"failed with {type(error).__name__}"
